//! Appends on their way: how each fares is drawn by whoever simulates.
//!
//! Over NATS an append may land long after its publisher gave up, land without its answer, or land after its publisher has
//! died. A client that is not connected keeps what it published and sends it later. So an append leaves its publisher here,
//! lands when its time has come and the servers take appends, and is answered when that time has come.

use std::time::Duration;

use bytes::Bytes;
use isthmus_replication::coordinates::{Sequence, Shard};
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::header::Header;
use isthmus_replication::time::Mono;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{MemoryRegion, Servers};
use crate::{AppendError, Appending};

/// A publisher waits this long, as over NATS.
const PATIENCE: Duration = Duration::from_secs(2);

/// How an append fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// It lands after this, if the servers take appends then; else as soon as they do.
    pub lands_after: Duration,
    /// It is answered this long after it landed; never when none.
    pub answered_after: Option<Duration>,
    /// It lands once more this long after it landed, as what a connection sends again when it is back; once when none.
    pub again_after: Option<Duration>,
}

/// Draws how appends fare.
pub trait Fates: Send {
    /// Of the next append to `shard`.
    fn next(&mut self, shard: &Shard) -> Fate;
}

/// Appends that have not landed, and answers that have not been given.
#[derive(Default)]
pub(super) struct Flights {
    fates: Option<Box<dyn Fates>>,
    appends: Vec<Flight>,
    answers: Vec<DueAnswer>,
}

struct Flight {
    due: Mono,
    shard: Shard,
    token: SubjectToken,
    header: Header,
    body: Bytes,
    again_after: Option<Duration>,
    answered_after: Option<Duration>,
    /// None of one that lands again.
    answer: Option<oneshot::Sender<Result<Sequence, AppendError>>>,
}

struct DueAnswer {
    due: Mono,
    result: Result<Sequence, AppendError>,
    answer: oneshot::Sender<Result<Sequence, AppendError>>,
}

impl Flights {
    pub(super) fn set_fates(&mut self, fates: Box<dyn Fates>) {
        self.fates = Some(fates);
    }

    pub(super) fn are_drawn(&self) -> bool {
        self.fates.is_some()
    }

    /// When something is to happen.
    pub(super) fn due(&self) -> Option<Mono> {
        let appends = self.appends.iter().map(|flight| flight.due);
        appends.chain(self.answers.iter().map(|answer| answer.due)).min()
    }

    /// The appends that are due, in the order in which they land.
    fn landing(&mut self, now: Mono) -> Vec<Flight> {
        self.appends.sort_by_key(|flight| flight.due);
        let due = self.appends.partition_point(|flight| flight.due <= now);
        self.appends.drain(..due).collect()
    }

    fn answer(&mut self, now: Mono) {
        self.answers.sort_by_key(|answer| answer.due);
        let due = self.answers.partition_point(|answer| answer.due <= now);
        for DueAnswer { answer, result, .. } in self.answers.drain(..due) {
            // A publisher that is gone hears nothing.
            let _ = answer.send(result);
        }
    }
}

impl MemoryRegion {
    /// Sends an append on its way.
    pub(super) fn take_off(
        &self,
        shard: &Shard,
        token: &SubjectToken,
        header: &Header,
        body: Bytes,
    ) -> Appending {
        let now = (self.0.clock)().mono;
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        let Some(fates) = &mut state.flights.fates else {
            drop(state);
            return Appending::new(std::future::ready(self.store(shard, token, header, body)));
        };
        let fate = fates.next(shard);
        state.flights.appends.push(Flight {
            due: now.after(fate.lands_after),
            shard: shard.clone(),
            token: token.clone(),
            header: header.clone(),
            body,
            again_after: fate.again_after,
            answered_after: fate.answered_after,
            answer: Some(answer),
        });
        drop(state);
        let stream = self.0.names.stream(shard);
        Appending::new(async move {
            match timeout(PATIENCE, answered).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) | Err(_) => Err(AppendError::Unanswered { stream }),
            }
        })
    }

    /// Lands what is due, and answers what is.
    pub(super) fn land(&self) {
        let now = (self.0.clock)().mono;
        if self.servers() == Servers::Answer {
            let landing = self.state().flights.landing(now);
            for mut flight in landing {
                let body = flight.body.clone();
                let result = self.store(&flight.shard, &flight.token, &flight.header, body);
                let (answer, answered_after) = (flight.answer.take(), flight.answered_after);
                if let Some(after) = flight.again_after.take() {
                    flight.due = now.after(after);
                    self.state().flights.appends.push(flight);
                }
                if let (Some(answer), Some(after)) = (answer, answered_after) {
                    let due = now.after(after);
                    self.state()
                        .flights
                        .answers
                        .push(DueAnswer { due, result, answer });
                }
            }
        }
        self.state().flights.answer(now);
    }

    /// Waits as long as a question over NATS that nobody answers.
    pub(super) async fn unanswered(&self) {
        if self.state().flights.are_drawn() {
            tokio::time::sleep(PATIENCE).await;
        }
    }
}

impl std::fmt::Debug for Flights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flights")
            .field("appends", &self.appends.len())
            .field("answers", &self.answers.len())
            .finish_non_exhaustive()
    }
}
