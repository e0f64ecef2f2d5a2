//! Continuous writes, each to its own key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::{Agent, until};

const BUCKET: &str = "load";
const EVERY: Duration = Duration::from_millis(10);
const ANOTHER_AFTER: Duration = Duration::from_secs(1);

/// Clients that write `load/0`, `load/1`, … through the agents of a region. Each value is its
/// number.
#[derive(Debug)]
pub struct Load {
    next: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

/// The outcomes of the writes.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// The numbers of the acknowledged writes.
    pub acknowledged: Vec<u64>,
    /// How many writes were refused, and did not happen.
    pub refused: u64,
    /// How many writes had no answer, or one that leaves their outcome open.
    pub unknown: u64,
}

impl Load {
    /// Starts `clients` clients, each with one write in flight.
    #[must_use]
    pub fn start(agents: &[Agent], clients: usize) -> Self {
        let mut load = Self {
            next: Arc::default(),
            ended: Arc::default(),
            clients: JoinSet::new(),
        };
        for agent in agents.iter().cycle().take(clients) {
            let client = write(agent.clone(), Arc::clone(&load.next), Arc::clone(&load.ended));
            load.clients.spawn(client);
        }
        load
    }

    /// The number of the first write that has not been sent.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    /// Waits until `agent` returns a write that is sent after this call. A refused write is never
    /// seen, so after a second the next write is tried.
    ///
    /// # Errors
    /// When no such write is seen within `bound`.
    pub async fn seen_by(&self, agent: &Agent, bound: Duration) -> anyhow::Result<()> {
        let (mut number, mut since) = (self.next(), Instant::now());
        let seen = until("a write that is sent after this is seen", bound, || {
            if since.elapsed() > ANOTHER_AFTER {
                (number, since) = (self.next(), Instant::now());
            }
            async move { agent.value(BUCKET, &number.to_string()).await?.ok() }
        });
        seen.await.map(|_| ())
    }

    /// Stops the writes.
    ///
    /// # Errors
    /// When a client has failed.
    pub async fn end(mut self) -> anyhow::Result<Tally> {
        self.ended.store(true, Ordering::SeqCst);
        let mut tally = Tally::default();
        while let Some(client) = self.clients.join_next().await {
            let client = client?;
            tally.acknowledged.extend(client.acknowledged);
            tally.refused += client.refused;
            tally.unknown += client.unknown;
        }
        Ok(tally)
    }
}

async fn write(agent: Agent, next: Arc<AtomicU64>, ended: Arc<AtomicBool>) -> Tally {
    let mut pace = interval(EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tally = Tally::default();
    while !ended.load(Ordering::SeqCst) {
        pace.tick().await;
        let number = next.fetch_add(1, Ordering::SeqCst);
        let text = number.to_string();
        match agent.put(BUCKET, &text, "?timeout=5s", &text).await {
            Ok(answer) if answer.status == 200 => tally.acknowledged.push(number),
            Ok(answer) if answer.status != 504 => tally.refused += 1,
            _ => tally.unknown += 1,
        }
    }
    tally
}

impl Tally {
    /// Checks that every acknowledged write is on the agent, with its value.
    ///
    /// # Errors
    /// When one is not, or nothing was acknowledged; the error names the first one missing.
    pub async fn all_on(&self, agent: &Agent) -> anyhow::Result<()> {
        ensure!(!self.acknowledged.is_empty(), "nothing was acknowledged");
        for number in &self.acknowledged {
            let text = number.to_string();
            let found = agent.value(BUCKET, &text).await?.ok()?;
            ensure!(found.text() == text, "write {number} is {}", found.text());
        }
        Ok(())
    }
}
