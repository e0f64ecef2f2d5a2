//! The events of a region: carried from each process to the region's journal, and read from there
//! (docs/events.md).
//!
//! The process that records an event keeps it in a ring of its
//! [`Class`](isthmus_runtime::events::Class). One task carries the events to the journal in order.
//! While the region's NATS is unreachable the task waits, and events that the rings drop are
//! counted. Code that records an event never waits for it. A class of events that others can
//! trigger repeatedly has a number of [places](isthmus_runtime::events::Slot) in the journal for
//! each run of a process: it replaces events of its own class and nothing else.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use isthmus_log::{
    AppendError, EntryName, Journal, JournalEntry, JournalName, JournalPage, LogError, PageFrom, Role,
};
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::time::Wall;
use isthmus_runtime::Process;
use isthmus_runtime::clock::Clock;
use isthmus_runtime::events::{Event, Events, Slot};
use isthmus_runtime::random::{self, NoRandomness};
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Maximum number of events in a response.
pub const PAGE: usize = 1000;
/// Maximum number of events that are read at once for a follower: each is a request, and all of
/// them must finish within [`ANSWER`].
const FOLLOWED: usize = 100;
/// Retry interval for an unanswered append, and polling interval of a follower.
const AGAIN: Duration = Duration::from_secs(1);
/// Time limit for carrying the last events when a process stops.
const LAST: Duration = Duration::from_secs(1);
/// Time limit for the journal's answer; after it the process returns its own events.
const ANSWER: Duration = Duration::from_secs(5);

/// The process that records events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Teller {
    /// The region.
    pub region: String,
    /// Its role.
    pub role: Role,
    /// The name of the process.
    pub process: String,
}

/// The events of a region as one process carries and reads them. Clones share everything.
#[derive(Debug, Clone)]
pub struct History {
    events: Events,
    clock: Clock,
    teller: Arc<Teller>,
    /// The prefix of the names of this run's entries.
    run: u64,
    journal: Arc<OnceLock<Arc<dyn Journal>>>,
    /// Whether the journal was created again, so that the events kept here must be carried again.
    again: Arc<AtomicBool>,
    lost: Counter,
}

impl History {
    /// The events of `process`, without a journal yet.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new<S>(process: &Process<S>, teller: Teller) -> Result<Self, NoRandomness> {
        let lost = Counter::default();
        process.metrics.register(|registry| {
            registry.register(
                "events_lost",
                "Events that did not reach the region's journal",
                lost.clone(),
            );
        });
        Ok(Self {
            events: process.events.clone(),
            clock: process.clock.clone(),
            teller: Arc::new(teller),
            run: random::bits()?,
            journal: Arc::default(),
            again: Arc::default(),
            lost,
        })
    }

    /// The process that records them.
    #[must_use]
    pub fn teller(&self) -> Teller {
        (*self.teller).clone()
    }

    /// Carries past and future events to `journal` until `stop`, and lets reads use it.
    ///
    /// # Errors
    /// None: an append to a journal that does not answer is retried for ever.
    pub async fn carry(self, journal: Arc<dyn Journal>, stop: CancellationToken) -> Result<(), Infallible> {
        let journal = self.journal.get_or_init(|| journal);
        let (mut recorded, mut carried) = (self.events.recorded(), 0);
        while !stop.is_cancelled() {
            recorded.mark_unchanged();
            let all = tokio::select! {
                () = stop.cancelled() => break,
                all = self.carry_after(&mut carried, journal) => all,
            };
            tokio::select! {
                () = stop.cancelled() => {}
                _ = recorded.changed(), if all => {}
                () = sleep(AGAIN), if !all => {}
            }
        }
        if timeout(LAST, self.carry_after(&mut carried, journal))
            .await
            .is_err()
        {
            tracing::warn!("the last events did not reach the region's journal");
        }
        Ok(())
    }

    /// The journal was created again: carries all events kept here once more, when the next event
    /// is recorded.
    pub fn carry_again(&self) {
        self.again.store(true, Ordering::Relaxed);
    }

    /// Carries the events after `carried`. Returns whether all of them are stored or have been
    /// given up.
    async fn carry_after(&self, carried: &mut u64, journal: &Arc<dyn Journal>) -> bool {
        if self.again.swap(false, Ordering::Relaxed) {
            let oldest = self.events.after(0).first().map_or(0, |event| event.sequence - 1);
            *carried = oldest.min(*carried);
        }
        for event in self.events.after(*carried) {
            self.lost.inc_by(event.sequence - *carried - 1);
            *carried = event.sequence - 1;
            match self.carry_one(&event, journal).await {
                Ok(()) => {}
                Err(error @ (AppendError::TooLarge { .. } | AppendError::Refused { .. })) => {
                    tracing::warn!(kind = event.kind, %error, "an event could not be stored");
                    self.lost.inc();
                }
                Err(error) => {
                    tracing::debug!(%error, "events wait for the region's journal");
                    return false;
                }
            }
            *carried = event.sequence;
        }
        true
    }

    async fn carry_one(&self, event: &Event, journal: &Arc<dyn Journal>) -> Result<(), AppendError> {
        let entry = Bytes::from(self.with_origin(event).to_string());
        let name = self.name(event);
        if event.slot.is_some() {
            return journal.replace(&JournalName::Events, &name, entry).await;
        }
        journal.append(&JournalName::Events, &name, entry).await.map(drop)
    }

    fn name(&self, event: &Event) -> EntryName {
        let of_run = match event.slot {
            Some(Slot { class, place }) => format!("{:016x}-{class}-{place}", self.run),
            None => format!("{:016x}-{}", self.run, event.sequence),
        };
        let fact = event.fact.as_ref().map(|fact| format!("{}-{fact}", event.kind));
        let named = fact.and_then(|fact| EntryName::parse(&fact).ok());
        named.unwrap_or_else(|| EntryName::parse(&of_run).expect("hexadecimal digits, '-', a-z and digits"))
    }

    /// An event with the process that recorded it.
    fn with_origin(&self, event: &Event) -> Value {
        let mut json = json!(event);
        json["region"] = self.teller.region.as_str().into();
        json["role"] = self.teller.role.as_str().into();
        json["process"] = self.teller.process.as_str().into();
        json
    }

    /// The events of this run of the process after `sequence`.
    #[must_use]
    pub fn of_process(&self, sequence: u64) -> Vec<Event> {
        self.events.after(sequence)
    }

    /// At most `limit` of the region's events that are not older than `since`, from a position in
    /// the journal on. While the journal does not answer, the events of this process with the
    /// reason.
    pub async fn of_region(&self, since: Duration, from: Option<Sequence>, limit: usize) -> Value {
        match self.page(since, from, limit).await {
            Ok(page) => json!({
                "source": "region",
                "events": page.entries.iter().filter_map(shown).collect::<Vec<_>>(),
                "next": (!page.is_last).then_some(page.next.0),
            }),
            Err(reason) => {
                let oldest = self.clock.now().wall.millis().saturating_sub(millis(since));
                let recorded = self.events.after(0);
                let kept = recorded.iter().filter(|event| event.at_ms >= oldest).take(limit);
                json!({
                    "source": "process",
                    "reason": reason.to_string(),
                    "events": kept.map(|event| self.with_origin(event)).collect::<Vec<_>>(),
                    "next": null,
                })
            }
        }
    }

    /// Follows the region's events from `since` ago on; poll it repeatedly.
    #[must_use]
    pub fn follow(&self, since: Duration) -> Follower {
        Follower {
            history: self.clone(),
            since,
            from: None,
            own: 0,
            state: None,
        }
    }

    /// A page of the journal.
    async fn page(
        &self,
        since: Duration,
        from: Option<Sequence>,
        limit: usize,
    ) -> Result<JournalPage, NoPage> {
        let journal = self.journal.get().ok_or(NoPage::NotReached)?;
        let page = timeout(ANSWER, read(journal, since, from, limit)).await;
        page.map_or(Err(NoPage::Silent), |page| Ok(page?))
    }
}

/// Why there is no page of the region's journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NoPage {
    #[error("the process has not reached the region's journal yet")]
    NotReached,
    #[error("the region's journal does not answer")]
    Silent,
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Follows the events of a region, and those of its own process while the journal does not answer.
#[derive(Debug)]
pub struct Follower {
    history: History,
    since: Duration,
    /// Where the next page of the journal starts.
    from: Option<Sequence>,
    /// The last event of its own process that it returned.
    own: u64,
    /// Whether the last page came from the region, or why not.
    state: Option<Result<(), NoPage>>,
}

impl Follower {
    /// Waits for new events: `{"source": "region", "events": [...]}`, oldest first, or `{"source":
    /// "process", "reason": ..., "events": [...]}` while the journal does not answer. An event may
    /// come from both sources; `process`, `sequence` and `at_ms` identify it.
    pub async fn next(&mut self) -> Value {
        loop {
            let page = self.history.page(self.since, self.from, FOLLOWED).await;
            let (from, events) = match &page {
                Ok(page) => {
                    self.from = Some(page.next);
                    (
                        "region",
                        page.entries.iter().filter_map(shown).collect::<Vec<_>>(),
                    )
                }
                Err(_) => {
                    let recorded = self.history.events.after(self.own);
                    self.own = recorded.last().map_or(self.own, |event| event.sequence);
                    let own = recorded.iter().map(|event| self.history.with_origin(event));
                    ("process", own.collect())
                }
            };
            let state = page.map(|_| ());
            if !events.is_empty() || self.state.as_ref() != Some(&state) {
                let reason = state.as_ref().err().map(ToString::to_string);
                self.state = Some(state);
                return json!({ "source": from, "reason": reason, "events": events });
            }
            sleep(AGAIN).await;
        }
    }
}

async fn read(
    journal: &Arc<dyn Journal>,
    since: Duration,
    from: Option<Sequence>,
    limit: usize,
) -> Result<JournalPage, LogError> {
    let from = match from {
        Some(sequence) => PageFrom::Sequence(sequence),
        None => {
            let now = journal.time(&JournalName::Events).await?.millis();
            PageFrom::Time(Wall::from_millis(now.saturating_sub(millis(since))))
        }
    };
    journal.page(&JournalName::Events, from, limit).await
}

/// An event as stored in the journal; `None` if this version can't parse it.
fn shown(entry: &JournalEntry) -> Option<Value> {
    let mut event: Value = serde_json::from_slice(&entry.entry).ok()?;
    let kept = event.as_object_mut()?;
    kept.insert("stored_ms".to_owned(), entry.stored_at.millis().into());
    Some(event)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
