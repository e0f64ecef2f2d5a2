//! Waits, within a bound, until processes report that they are ready.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{interval, sleep};

use super::child::Event;
use super::last_words;
use super::restarts::{EverReady, Next};

const ASK_EVERY: Duration = Duration::from_millis(100);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A process to wait for.
#[derive(Clone, Debug)]
pub struct Awaited {
    /// Its region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// URLs that must answer 200.
    pub checks: Vec<String>,
    /// Where its output is.
    pub log: PathBuf,
    /// Records that it is ready.
    pub ever_ready: EverReady,
}

/// A process did not become ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It was not ready within the bound.
    #[error("{name} of {region} was not ready within {} s ({reason}); its output is in {}{}", within.as_secs(), log.display(), tail(log))]
    Late {
        /// Its region.
        region: String,
        /// Its name.
        name: String,
        /// The bound.
        within: Duration,
        /// The last result of its readiness check.
        reason: Unready,
        /// Where its output is.
        log: PathBuf,
    },
    /// It ended and stays down.
    #[error("{0}")]
    Ended(Event),
}

/// The result of a readiness check.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unready {
    /// The process was not asked yet.
    #[error("no answer yet")]
    NotAsked,
    /// The process gave no answer.
    #[error("{0} does not answer")]
    Silent(String),
    /// The process answered that it is not ready.
    #[error("{check} answered {status}: {text}")]
    Answers {
        /// Its URL.
        check: String,
        /// The status of its answer.
        status: reqwest::StatusCode,
        /// The first line of its answer.
        text: String,
    },
}

fn tail(log: &Path) -> String {
    last_words::since(log, 0).map_or(String::new(), |said| format!(" and ends with: {said}"))
}

/// Waits until every check of every process answers 200.
pub(super) async fn wait(
    awaited: Vec<Awaited>,
    within: Duration,
    events: &mut mpsc::Receiver<Event>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(), NotReady> {
    let start = Instant::now();
    let mut waiting: Vec<(Awaited, Unready)> =
        awaited.into_iter().map(|one| (one, Unready::NotAsked)).collect();
    let mut ask = interval(ASK_EVERY);
    let deadline = sleep(within);
    tokio::pin!(deadline);
    while !waiting.is_empty() {
        tokio::select! {
            () = &mut deadline => {
                let (Awaited { region, name, log, .. }, reason) = waiting.swap_remove(0);
                return Err(NotReady::Late { region, name, within, reason, log });
            }
            Some(event) = events.recv() => {
                if matches!(event.next, Next::Down | Next::GivenUp) {
                    return Err(NotReady::Ended(event));
                }
                progress(&event.to_string());
            }
            _ = ask.tick() => {
                waiting = still_waiting(waiting, start, progress).await;
            }
        }
    }
    Ok(())
}

async fn still_waiting(
    waiting: Vec<(Awaited, Unready)>,
    start: Instant,
    progress: &(dyn Fn(&str) + Sync),
) -> Vec<(Awaited, Unready)> {
    let client = reqwest::Client::new();
    let asked = waiting.into_iter().map(|(one, _)| async {
        let answer = ask(&client, &one.checks).await;
        (one, answer)
    });
    let mut still = Vec::new();
    for (one, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(()) => {
                one.ever_ready.note();
                let seconds = start.elapsed().as_secs_f32();
                progress(&format!(
                    "{} of {} is ready after {seconds:.1} s",
                    one.name, one.region
                ));
            }
            Err(reason) => still.push((one, reason)),
        }
    }
    still
}

async fn ask(client: &reqwest::Client, checks: &[String]) -> Result<(), Unready> {
    for check in checks {
        match client.get(check).timeout(ANSWER_WITHIN).send().await {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => {
                let status = answer.status();
                let said = answer.text().await.unwrap_or_default();
                return Err(Unready::Answers {
                    check: check.clone(),
                    status,
                    text: said.lines().next().unwrap_or_default().trim().to_owned(),
                });
            }
            Err(_) => return Err(Unready::Silent(check.clone())),
        }
    }
    Ok(())
}
