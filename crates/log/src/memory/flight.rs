//! Appends in flight: the simulation draws the fate of each.
//!
//! Over NATS an append may be stored long after its publisher gave up, stored without an answer, or
//! stored after its publisher has died. A client that is not connected keeps what it published and
//! sends it later. So an append here is handed over by its publisher, is stored when it is due and
//! the servers take appends, and is answered when the answer is due.

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

/// How long a publisher waits for an answer, as over NATS.
const PATIENCE: Duration = Duration::from_secs(2);

/// The fate of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// It is stored after this time if the servers take appends then, else as soon as they do.
    pub lands_after: Duration,
    /// It is answered this long after it was stored; `None` if never.
    pub answered_after: Option<Duration>,
    /// It is stored a second time this long after the first, like a message that a connection sends
    /// again after a reconnect; `None` if only once.
    pub again_after: Option<Duration>,
}

/// Draws the fates of appends.
pub trait Fates: Send {
    /// The fate of the next append to `shard`.
    fn next(&mut self, shard: &Shard) -> Fate;
}

/// Appends that are not stored yet, and answers that are not sent yet.
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
    /// `None` for an append that is stored a second time.
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

    /// When the next append or answer is due.
    pub(super) fn due(&self) -> Option<Mono> {
        let appends = self.appends.iter().map(|flight| flight.due);
        appends.chain(self.answers.iter().map(|answer| answer.due)).min()
    }

    /// The appends that are due, in the order in which they are stored.
    fn landing(&mut self, now: Mono) -> Vec<Flight> {
        self.appends.sort_by_key(|flight| flight.due);
        let due = self.appends.partition_point(|flight| flight.due <= now);
        self.appends.drain(..due).collect()
    }

    fn answer(&mut self, now: Mono) {
        self.answers.sort_by_key(|answer| answer.due);
        let due = self.answers.partition_point(|answer| answer.due <= now);
        for DueAnswer { answer, result, .. } in self.answers.drain(..due) {
            // The publisher may be gone.
            let _ = answer.send(result);
        }
    }
}

impl MemoryRegion {
    /// Starts an append.
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

    /// Stores the due appends and sends the due answers.
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

    /// Waits as long as an unanswered request over NATS.
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
