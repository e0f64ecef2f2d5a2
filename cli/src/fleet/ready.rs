//! Waiting, within a bound, until processes say that they are ready.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{interval, sleep};

use super::child::{Event, Next};

const ASK_EVERY: Duration = Duration::from_millis(100);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const LOG_TAIL: usize = 4096;

/// A process that is waited for.
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
}

/// A process did not become ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The bound passed.
    #[error("{name} of {region} was not ready within {} s ({reason}); its output is in {}{}", within.as_secs(), log.display(), tail(log))]
    Late {
        /// Its region.
        region: String,
        /// Its name.
        name: String,
        /// The bound.
        within: Duration,
        /// What its readiness check said last.
        reason: String,
        /// Where its output is.
        log: PathBuf,
    },
    /// It ended and stays down.
    #[error("{name} of {region} ended {how}; its output is in {}{}", log.display(), tail(log))]
    Ended {
        /// Its region.
        region: String,
        /// Its name.
        name: String,
        /// How.
        how: String,
        /// Where its output is.
        log: PathBuf,
    },
}

fn tail(log: &PathBuf) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_TAIL)..]).into_owned();
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.map_or(String::new(), |line| format!(" and ends with: {}", line.trim()))
}

/// Waits until every check of every process answers 200.
pub async fn wait(
    awaited: Vec<Awaited>,
    within: Duration,
    events: &mut mpsc::Receiver<Event>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(), NotReady> {
    let start = Instant::now();
    let mut waiting: Vec<(Awaited, String)> = awaited
        .into_iter()
        .map(|one| (one, "no answer yet".to_owned()))
        .collect();
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
                progress(&event.to_string());
                if let Event::Died { region, name, how, next: Next::Down, log } = event {
                    return Err(NotReady::Ended { region, name, how, log });
                }
            }
            _ = ask.tick() => {
                waiting = still_waiting(waiting, start, progress).await;
            }
        }
    }
    Ok(())
}

async fn still_waiting(
    waiting: Vec<(Awaited, String)>,
    start: Instant,
    progress: &(dyn Fn(&str) + Sync),
) -> Vec<(Awaited, String)> {
    let client = reqwest::Client::new();
    let asked = waiting.into_iter().map(|(one, _)| async {
        let answer = ask(&client, &one.checks).await;
        (one, answer)
    });
    let mut still = Vec::new();
    for (one, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(()) => {
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

async fn ask(client: &reqwest::Client, checks: &[String]) -> Result<(), String> {
    for check in checks {
        match client.get(check).timeout(ANSWER_WITHIN).send().await {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => {
                let status = answer.status();
                let said = answer.text().await.unwrap_or_default();
                return Err(format!(
                    "{check} says {status}: {}",
                    said.lines().next().unwrap_or_default().trim()
                ));
            }
            Err(_) => return Err(format!("{check} does not answer")),
        }
    }
    Ok(())
}
