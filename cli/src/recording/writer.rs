//! One client that writes without pause and logs the outcome of each write.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::recent::Sight;
use super::{RecordError, Recorder, key};
use crate::client::http::HttpError;
use crate::client::kv::{self, Place, Terms};
use crate::history::HistoryEntry;

const DELETES_IN_100: u64 = 5;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// A client of one region. After a failure it continues with the region's next agent.
pub(super) struct Writer {
    pub(super) region: String,
    pub(super) bucket: String,
    pub(super) doors: Vec<String>,
    pub(super) door: usize,
    pub(super) keys: u64,
    pub(super) random: Rng,
}

impl Writer {
    pub(super) async fn write_until(mut self, until: Instant, recorder: Recorder) -> Result<(), RecordError> {
        while Instant::now() < until {
            let write = recorder.next_write.fetch_add(1, Ordering::Relaxed);
            let key = key(self.random.u64(..self.keys.max(1)));
            let value =
                (self.random.u64(..100) >= DELETES_IN_100).then(|| format!("{}-{write}", self.region));
            let invoke = HistoryEntry::Invoke {
                write,
                region: self.region.clone(),
                key: key.clone(),
                value: value.clone(),
                at_ms: recorder.at_ms(),
            };
            recorder.log(invoke).await?;
            let place = Place {
                bucket: self.bucket.clone(),
                key,
            };
            let door = self.doors.get(self.door).cloned().unwrap_or_default();
            let done = match value {
                Some(value) => {
                    kv::put(
                        &recorder.client,
                        &door,
                        &place,
                        value.into_bytes(),
                        "text/plain",
                        &Terms::default(),
                    )
                    .await
                }
                None => kv::delete(&recorder.client, &door, &place, &Terms::default()).await,
            };
            let at_ms = recorder.at_ms();
            match done {
                Ok(written) => {
                    recorder.recent.note(Sight {
                        key: place.key,
                        version: written.version.clone(),
                        session: written.session,
                    });
                    recorder
                        .log(HistoryEntry::Ok {
                            write,
                            version: written.version,
                            at_ms,
                        })
                        .await?
                }
                Err(error) => {
                    recorder.log(outcome(write, &error, at_ms)).await?;
                    self.door = (self.door + 1) % self.doors.len().max(1);
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
        }
        Ok(())
    }
}

/// A write that reached no agent, or was refused with a code, has failed. Every other one may have
/// happened.
fn outcome(write: u64, error: &HttpError, at_ms: u64) -> HistoryEntry {
    match error {
        HttpError::NoRequest(_) => HistoryEntry::Fail {
            write,
            reason: "not_sent".to_owned(),
            at_ms,
        },
        HttpError::NoAnswer { source, .. } if source.is_connect() => HistoryEntry::Fail {
            write,
            reason: "not_connected".to_owned(),
            at_ms,
        },
        HttpError::Refused { status, problem, .. }
            if !problem.code.is_empty() && !matches!(status, 408 | 500 | 504) =>
        {
            HistoryEntry::Fail {
                write,
                reason: problem.code.clone(),
                at_ms,
            }
        }
        HttpError::Refused { status, problem, .. } => HistoryEntry::Unknown {
            write,
            reason: format!("{status} {}", problem.code),
            at_ms,
        },
        HttpError::NoAnswer { source, .. } => {
            let reason = if source.is_timeout() {
                "timeout"
            } else {
                "broken connection"
            };
            HistoryEntry::Unknown {
                write,
                reason: reason.to_owned(),
                at_ms,
            }
        }
        HttpError::Unreadable { .. } => HistoryEntry::Unknown {
            write,
            reason: "unreadable answer".to_owned(),
            at_ms,
        },
    }
}
