//! Whether the streams beside a region's logs stay where they are, while processes run.
//!
//! Problem: somebody deletes a log, the leases, the events or what is set aside, or a consumer that a process reads through. Nothing
//! of Isthmus does that, and none of its own work shows it: appends go unanswered as they do while servers elect a leader.
//!
//! Sketch: each of them is looked at every [`LOOK`]. A stream that three answers in a row call missing, so far apart that
//! no election lasts so long, is told. Where the process may create streams it makes it again; else it waits for the
//! operator. A stream that was made later than the one before it was deleted in between, however quickly.
//!
//! What was in the stream is lost. Whatever the processes still hold in memory is stored again: leases are taken again,
//! and journals get what waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use isthmus_replication::coordinates::Shard;
use isthmus_replication::time::Wall;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::absences::Absences;
use crate::ensure::journals;
use crate::{EnsureError, JournalName, LogError, LogSettings, Ports};

/// Every stream is looked at this often.
const LOOK: Duration = Duration::from_secs(5);
/// Answers that a stream is missing count when they come so long after each other: three of them span the longest election.
const ABSENCE_APART: Duration = Duration::from_secs(4);

/// A log is given longer: what is made in its place begins a life of its own.
const LOG_ABSENCE_APART: Duration = Duration::from_secs(10);

/// What is missing at this moment. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MissingStreams(Arc<Mutex<BTreeMap<String, EnsureError>>>);

/// What became of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamChange {
    /// It is missing, or what this process reads it through is.
    Missing {
        /// What is missing, with the mend.
        what: EnsureError,
        /// When it had been made; none of a consumer.
        was_made: Option<Wall>,
    },
    /// It is there again.
    Back {
        /// Its name.
        stream: String,
        /// When it was made; none where only a consumer was missing.
        made: Option<Wall>,
        /// The journal that it is; none of other streams.
        journal: Option<JournalName>,
    },
}

/// What is looked at.
#[derive(Debug, Clone)]
enum Watched {
    Leases,
    Journal(JournalName),
    Log(Shard),
    Readers(Shard),
}

/// One of them, and what is known of it.
#[derive(Debug)]
struct Place {
    watched: Watched,
    stream: String,
    absences: Absences,
    made: Option<Wall>,
    missing: bool,
}

impl MissingStreams {
    /// What is missing, by the names of the streams.
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
    /// Looks at the leases, the journals, the logs of `shards` and this process's consumers of them until dropped; makes streams
    /// again where `wanted` allows it. `tell` hears what changes.
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
                if let Some(change) = self.look(place).await {
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

    /// Looks at one of them; what has changed since the last time.
    async fn look(&self, place: &mut Place) -> Option<StreamChange> {
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

    /// Makes a stream again that was told missing. That it is there is found at the next look.
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
            tracing::warn!(stream = place.stream, %error, "the stream could not be made again");
        }
    }
}

/// What a log that can't be asked says of its stream.
fn absence(error: LogError) -> EnsureError {
    match error {
        LogError::Missing { stream } => EnsureError::Missing { stream },
        LogError::Refused { stream, .. } | LogError::Unanswered { stream } => {
            EnsureError::Unanswered { stream }
        }
    }
}

impl Place {
    /// It is there, made at `made`.
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
