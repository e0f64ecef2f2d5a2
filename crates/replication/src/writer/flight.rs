//! A message in flight: sent with the same bytes until it is read back, definitely refused, or no
//! longer wanted by any client.

use bytes::Bytes;

use super::append::Append;
use super::write::Ticket;
use crate::cell::CellId;
use crate::coordinates::{MessageId, Sequence};
use crate::fold::SubjectToken;
use crate::header::Header;
use crate::hlc::Hlc;
use crate::limits;
use crate::time::Mono;
use crate::version::Version;

/// Invariant: its header and body never change. Once a copy may be in the log, it fails only by
/// being read back.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) message_id: MessageId,
    pub(super) token: SubjectToken,
    pub(super) header: Header,
    pub(super) body: Bytes,
    pub(super) lowest: Hlc,
    pub(super) highest: Hlc,
    /// In the order of the body's changes; none in a barrier.
    pub(super) writes: Vec<FlightWrite>,
    /// Bytes of the writes, as counted when they were taken.
    pub(super) bytes: usize,
    state: SendState,
    sendings: u32,
    /// A copy may be in the log.
    uncertain: bool,
}

#[derive(Debug)]
pub(super) struct FlightWrite {
    pub(super) ticket: Ticket,
    pub(super) deadline: Mono,
    pub(super) id: CellId,
    pub(super) version: Version,
    pub(super) open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendState {
    Due,
    Waiting { since: Mono },
    Resting { until: Mono },
    Acknowledged { at: Sequence },
}

impl Flight {
    pub(super) fn new(
        header: Header,
        token: SubjectToken,
        body: Bytes,
        stamps: (Hlc, Hlc),
        writes: Vec<FlightWrite>,
        bytes: usize,
    ) -> Self {
        Self {
            message_id: header.message_id(),
            token,
            header,
            body,
            lowest: stamps.0,
            highest: stamps.1,
            writes,
            bytes,
            state: SendState::Due,
            sendings: 0,
            uncertain: false,
        }
    }

    pub(super) fn is_barrier(&self) -> bool {
        self.writes.is_empty()
    }

    /// Whether a client still waits for its outcome.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_barrier() || self.writes.iter().any(|write| write.open)
    }

    pub(super) fn is_due(&self, now: Mono) -> bool {
        match self.state {
            SendState::Due => true,
            SendState::Resting { until } => until <= now,
            SendState::Waiting { .. } | SendState::Acknowledged { .. } => false,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, SendState::Waiting { .. })
    }

    /// Whether it is sent again without further input.
    pub(super) fn is_active(&self) -> bool {
        !matches!(self.state, SendState::Acknowledged { .. })
    }

    /// When the current send counts as unanswered.
    pub(super) fn answer_by(&self) -> Option<Mono> {
        match self.state {
            SendState::Waiting { since } => Some(since.after(limits::APPEND_ANSWER)),
            SendState::Due | SendState::Resting { .. } | SendState::Acknowledged { .. } => None,
        }
    }

    /// When it may be sent next; none while it waits or after it was acknowledged.
    pub(super) fn send_from(&self) -> Option<Mono> {
        match self.state {
            SendState::Due => Some(Mono::default()),
            SendState::Resting { until } => Some(until),
            SendState::Waiting { .. } | SendState::Acknowledged { .. } => None,
        }
    }

    /// Whether no copy of it is or can get into the log.
    pub(super) fn may_fail(&self) -> bool {
        !self.uncertain
    }

    pub(super) fn send(&mut self, now: Mono) -> Append {
        self.sendings += 1;
        self.state = SendState::Waiting { since: now };
        Append {
            message_id: self.message_id,
            token: self.token.clone(),
            header: self.header.clone(),
            body: self.body.clone(),
            sending: self.sendings,
        }
    }

    pub(super) fn acknowledge(&mut self, at: Sequence) {
        self.uncertain = true;
        self.state = SendState::Acknowledged { at };
    }

    /// Sends it again if the log was read past its acknowledged sequence and it was not there.
    pub(super) fn send_again_if_missing(&mut self, read: Sequence) {
        if matches!(self.state, SendState::Acknowledged { at } if at <= read) {
            self.send_again();
        }
    }

    pub(super) fn send_again(&mut self) {
        self.uncertain |= self.is_waiting();
        self.state = SendState::Due;
    }

    pub(super) fn rest(&mut self, now: Mono) {
        self.state = SendState::Resting {
            until: now.after(limits::APPEND_RETRY),
        };
    }

    /// The send had no answer: a copy may be in the log, and another send follows.
    pub(super) fn rest_unanswered(&mut self, now: Mono) {
        self.uncertain = true;
        self.rest(now);
    }
}
