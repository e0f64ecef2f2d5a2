//! Checks while a process runs that the region's streams still exist.
//!
//! Problem: somebody deletes a log, the leases, the events, an aside journal or a consumer that a
//! process reads through. Isthmus itself never does that, and its other work does not reveal it:
//! appends stay unanswered as they do while servers elect a leader.
//!
//! Sketch: each of them is checked every [`LOOK`]. A stream is reported as missing after three
//! answers in a row that say so, spaced further apart than any election lasts. If the process may
//! create streams it creates the stream again; otherwise it waits for the operator. A stream whose
//! creation time is later than before was deleted in between, however quickly.
//!
//! The content of the stream is lost. The processes store again what they still have in memory:
//! leases are taken again, and journals get the pending entries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use isthmus_replication::coordinates::Shard;
use isthmus_replication::time::Wall;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::absences::Absences;
use crate::ensure::journals;
use crate::{EnsureError, JournalName, LogError, LogSettings, Ports};

/// Interval between two checks of every stream.
const LOOK: Duration = Duration::from_secs(5);
/// Minimum time between counted answers that a stream is missing: three of them span the longest
/// election.
const ABSENCE_APART: Duration = Duration::from_secs(4);

/// A log gets more time: a log created in its place starts a new life.
const LOG_ABSENCE_APART: Duration = Duration::from_secs(10);

/// The streams and consumers that are missing at the moment. Clones share the list.
#[derive(Debug, Clone, Default)]
pub struct MissingStreams(Arc<Mutex<BTreeMap<String, EnsureError>>>);

/// A change of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamChange {
    /// The stream or a consumer that this process reads it through is missing.
    Missing {
        /// What is missing, with the fix.
        what: EnsureError,
        /// When it had been created; `None` for a consumer.
        was_made: Option<Wall>,
    },
    /// It exists again.
    Back {
        /// Its name.
        stream: String,
        /// When it was created; `None` if only a consumer was missing.
        made: Option<Wall>,
        /// The journal, if the stream is one.
        journal: Option<JournalName>,
    },
}

/// What is checked.
#[derive(Debug, Clone)]
enum Watched {
    Leases,
    Journal(JournalName),
    Log(Shard),
    Readers(Shard),
}

/// A checked stream or consumer, and its last known state.
#[derive(Debug)]
struct Place {
    watched: Watched,
    stream: String,
    absences: Absences,
    made: Option<Wall>,
    missing: bool,
}

impl MissingStreams {
    /// Everything that is missing, by name of the stream.
    #[must_use]
    pub fn all(&self) -> Vec<(String, EnsureError)> {
        let missing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        missing
            .iter()
            .map(|(stream, what)| (stream.clone(), what.clone()))
            .collect()
    }

    fn set(&self, stream: &str, what: Option<EnsureError>) {
        let mut missing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Some(what) => missing.insert(stream.to_owned(), what),
            None => missing.remove(stream),
        };
    }
}

impl Ports {
    /// Checks the leases, the journals, the logs of `shards` and this process's consumers of them
    /// until dropped. Creates missing streams again if `wanted` allows it. `tell` is called with
    /// each change.
    pub async fn watch_streams(
        &self,
        shards: &[Shard],
        wanted: &LogSettings,
        missing: &MissingStreams,
        tell: impl Fn(StreamChange),
    ) {
        let mut places = self.places(shards);
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for place in &mut places {
                if let Some(change) = self.check(place).await {
                    let what = match &change {
                        StreamChange::Missing { what, .. } => Some(what.clone()),
                        StreamChange::Back { .. } => None,
                    };
                    missing.set(&place.stream, what);
                    tell(change);
                }
                if place.missing {
                    self.make_again(place, wanted).await;
                }
            }
        }
    }

    fn places(&self, shards: &[Shard]) -> Vec<Place> {
        let leases = (Watched::Leases, format!("KV_{}", self.names.lease_bucket()));
        let journals = journals(shards).into_iter().map(|journal| {
            let stream = self.names.journal(&journal);
            (Watched::Journal(journal), stream)
        });
        let logs = shards.iter().flat_map(|shard| {
            let stream = self.names.stream(shard);
            let watched = [Watched::Log(shard.clone()), Watched::Readers(shard.clone())];
            watched.map(|watched| (watched, stream.clone()))
        });
        let all = std::iter::once(leases).chain(journals).chain(logs);
        all.map(|(watched, stream)| Place {
            absences: Absences::new(match watched {
                Watched::Log(_) => LOG_ABSENCE_APART,
                _ => ABSENCE_APART,
            }),
            watched,
            stream,
            made: None,
            missing: false,
        })
        .collect()
    }

    /// Checks one place. Returns what has changed since the last check.
    async fn check(&self, place: &mut Place) -> Option<StreamChange> {
        let found = match &place.watched {
            Watched::Leases => self.leases.made_at().await.map(Some),
            Watched::Journal(journal) => self.journal.made_at(journal).await.map(Some),
            Watched::Log(shard) => self.log.bounds(shard).await.map(|_| None).map_err(absence),
            Watched::Readers(shard) => self.log.check_readers(shard).await.map(|()| None),
        };
        match found {
            Ok(made) => place.found(made),
            Err(what @ (EnsureError::Missing { .. } | EnsureError::NoSlot { .. })) => {
                let gone = place.absences.another(Instant::now());
                if !gone || std::mem::replace(&mut place.missing, true) {
                    return None;
                }
                let was_made = place.made.filter(|_| matches!(what, EnsureError::Missing { .. }));
                Some(StreamChange::Missing { what, was_made })
            }
            Err(_unanswered) => None,
        }
    }

    /// Creates a missing stream again. The next check finds it.
    async fn make_again(&self, place: &Place, wanted: &LogSettings) {
        if !wanted.create {
            return;
        }
        let made = match &place.watched {
            Watched::Leases => self.leases.ensure(true, wanted.replicas).await,
            Watched::Journal(journal) => self.journal.ensure(journal, true, wanted.replicas).await,
            Watched::Log(shard) => self.log.ensure(shard, wanted).await,
            Watched::Readers(_) => Ok(()),
        };
        if let Err(error) = made {
            tracing::warn!(stream = place.stream, %error, "the stream could not be created again");
        }
    }
}

/// Converts the error of a log that could not be asked.
fn absence(error: LogError) -> EnsureError {
    match error {
        LogError::Missing { stream } => EnsureError::Missing { stream },
        LogError::Refused { stream, .. } | LogError::Unanswered { stream } => {
            EnsureError::Unanswered { stream }
        }
    }
}

impl Place {
    /// Records that it exists, created at `made`.
    fn found(&mut self, made: Option<Wall>) -> Option<StreamChange> {
        self.absences.clear();
        let was_missing = std::mem::take(&mut self.missing);
        let replaced = self.made.is_some_and(|before| Some(before) != made);
        self.made = made;
        (was_missing || replaced).then(|| StreamChange::Back {
            stream: self.stream.clone(),
            made,
            journal: match &self.watched {
                Watched::Journal(journal) => Some(journal.clone()),
                Watched::Leases | Watched::Log(_) | Watched::Readers(_) => None,
            },
        })
    }
}
