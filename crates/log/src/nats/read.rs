//! Reads one log for ever.
//!
//! A reader's position is the last message that it delivered: sequence and identifier. Each time it
//! opens or reopens, it asks for the log's bounds, compares them with its position and starts its
//! consumer AT the position, where it expects the message it knows. So it distinguishes a log that
//! lost its tail or was trimmed past the position from a server that was only unreachable. A
//! consumer that skips, dies or stalls costs one more opening.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use isthmus_replication::coordinates::{Anchor, MessageId, Sequence};
use isthmus_replication::follow::LifeSuspected;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, ConnectionState};
use super::message::delivered;
use super::request::{Query, Unfulfilled};
use super::session::{self, Begin, ConsumerSession};
use crate::absences::Absences;
use crate::reader::{Abandoned, Delivery};
use crate::{Bounds, ReadError, ReaderCounts, StoredMessage};

/// If no message arrives for this long, the reader asks the log whether it has grown.
const IDLE: Duration = Duration::from_secs(5);
/// Pause between two attempts to open a session.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the reader asks a log that ends before its position: a newly elected leader may not
/// have caught up.
const SHORT_ANSWERS: u32 = 3;
/// Minimum time between counted answers that the stream does not exist.
const ABSENCE_APART: Duration = Duration::from_secs(10);

/// A running reader.
pub(super) struct Reading {
    connection: Connection,
    stream: String,
    at: Anchor,
    /// The log's last message when the reader last asked for its bounds.
    last: Sequence,
    counts: Arc<ReaderCounts>,
    short_answers: u32,
    absences: Absences,
    /// The last reported reason why there is no session.
    reported: Option<String>,
}

/// Why a session ended.
enum Interrupted {
    /// The session can be opened again.
    Again,
    /// It can't.
    Ended(ReadError),
    /// The reader was dropped.
    Abandoned,
}

impl From<Abandoned> for Interrupted {
    fn from(_: Abandoned) -> Self {
        Self::Abandoned
    }
}

impl Reading {
    pub(super) fn new(
        connection: Connection,
        stream: String,
        after: Anchor,
        counts: Arc<ReaderCounts>,
    ) -> Self {
        Self {
            connection,
            stream,
            at: after,
            last: Sequence::NONE,
            counts,
            short_answers: 0,
            absences: Absences::new(ABSENCE_APART),
            reported: None,
        }
    }

    pub(super) async fn run(mut self, delivery: Delivery) {
        loop {
            let connected = self.connection.connected().await;
            match self.session(connected, &delivery).await {
                Interrupted::Again => sleep(PAUSE).await,
                Interrupted::Ended(error) => return delivery.end(error).await,
                Interrupted::Abandoned => return,
            }
        }
    }

    async fn session(&mut self, connected: ConnectionState, delivery: &Delivery) -> Interrupted {
        if let Err(interrupted) = self.check_bounds().await {
            return interrupted;
        }
        let begin = Begin::At(self.at.sequence);
        match session::open(&self.connection, &self.stream, begin, "").await {
            Ok(session) => {
                self.reported = None;
                self.counts.count_opened();
                self.deliver(session, connected, delivery).await
            }
            Err(error) => {
                let why = error.to_string();
                if self.reported.as_ref() != Some(&why) {
                    tracing::warn!(stream = self.stream, why, "the log can't be read yet");
                    self.reported = Some(why);
                }
                Interrupted::Again
            }
        }
    }

    /// Compares the position with the log's bounds.
    async fn check_bounds(&mut self) -> Result<(), Interrupted> {
        let bounds = match self.connection.stream_info(&self.stream).await {
            Ok(info) => Bounds::from(&info),
            Err(unfulfilled) => return Err(self.no_bounds(unfulfilled)),
        };
        self.absences.clear();
        self.compare(&bounds)
    }

    fn no_bounds(&mut self, unfulfilled: Unfulfilled) -> Interrupted {
        if unfulfilled == Unfulfilled::NoStream && self.absences.another(Instant::now()) {
            return Interrupted::Ended(ReadError::Missing {
                stream: self.stream.clone(),
            });
        }
        Interrupted::Again
    }

    fn compare(&mut self, bounds: &Bounds) -> Result<(), Interrupted> {
        self.last = bounds.last;
        if bounds.last < self.at.sequence {
            self.short_answers += 1;
            return Err(if self.short_answers < SHORT_ANSWERS {
                Interrupted::Again
            } else {
                Interrupted::Ended(self.life_suspected(None).into())
            });
        }
        self.short_answers = 0;
        let wanted = self.at.sequence.max(Sequence::NONE.next());
        if bounds.first > wanted {
            let first = bounds.first;
            return Err(Interrupted::Ended(ReadError::Gone { wanted, first }));
        }
        Ok(())
    }

    fn life_suspected(&self, found: Option<MessageId>) -> LifeSuspected {
        LifeSuspected {
            anchor: self.at,
            found,
            last: self.last,
        }
    }

    /// Delivers messages until the session is interrupted.
    async fn deliver(
        &mut self,
        session: ConsumerSession,
        connected: ConnectionState,
        delivery: &Delivery,
    ) -> Interrupted {
        let ConsumerSession {
            slot: _held,
            mut messages,
            ..
        } = session;
        let mut state = self.connection.state();
        let mut checked = self.at.sequence == Sequence::NONE;
        loop {
            let next = tokio::select! {
                next = timeout(IDLE, messages.next()) => next,
                broken = state.wait_for(|state| *state != connected) => {
                    drop(broken);
                    return Interrupted::Again;
                }
            };
            let message = match next {
                Ok(Some(Ok(message))) => match delivered(message) {
                    Some(message) => message,
                    None => return Interrupted::Again,
                },
                Ok(Some(Err(error))) => {
                    tracing::debug!(stream = self.stream, %error, "a consumer ended; creating another one");
                    return Interrupted::Again;
                }
                Ok(None) => return Interrupted::Again,
                Err(_idle) => match self.check_progress().await {
                    Ok(()) => continue,
                    Err(interrupted) => return interrupted,
                },
            };
            if let Err(interrupted) = self.take(message, &mut checked, delivery).await {
                return interrupted;
            }
        }
    }

    /// Checks that the first message of a session is the one at the position and that each later
    /// one is the next.
    async fn take(
        &mut self,
        message: StoredMessage,
        checked: &mut bool,
        delivery: &Delivery,
    ) -> Result<(), Interrupted> {
        if !*checked && message.sequence == self.at.sequence {
            if message.message_id() != self.at.message_id {
                let suspected = self.life_suspected(Some(message.message_id()));
                return Err(Interrupted::Ended(suspected.into()));
            }
            *checked = true;
            return Ok(());
        }
        if !*checked || message.sequence != self.at.sequence.next() {
            return Err(self.skipped(message.sequence).await);
        }
        self.at = message.anchor();
        delivery.message(message).await?;
        Ok(())
    }

    /// Handles a gap before `found`. If the log does not have the missing message either, the
    /// reader can't continue.
    async fn skipped(&self, found: Sequence) -> Interrupted {
        let wanted = self.at.sequence.next();
        tracing::warn!(stream = self.stream, %wanted, %found, "a consumer skipped a message; asking the log");
        match self.connection.message(&self.stream, Query::At(wanted.0)).await {
            Ok(None) if found > wanted => Interrupted::Ended(ReadError::Gone { wanted, first: found }),
            _ => Interrupted::Again,
        }
    }

    /// The watchdog for an idle session: checks whether the log has grown or lost its tail.
    async fn check_progress(&mut self) -> Result<(), Interrupted> {
        let info = match self.connection.stream_info(&self.stream).await {
            Ok(info) => info,
            Err(unfulfilled) => return Err(self.no_bounds(unfulfilled)),
        };
        let last = Sequence(info.state.last_seq);
        if last == self.at.sequence {
            return Ok(());
        }
        if last > self.at.sequence {
            self.counts.count_stalled();
            tracing::warn!(stream = self.stream, at = %self.at.sequence, %last, "a consumer stalled; creating another one");
        }
        Err(Interrupted::Again)
    }
}
