//! Requests and their answers, bounded in number and time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::super::check::cut;
use super::super::frame::{NoAnswer, Request, Response};
use crate::limits;
use crate::time::Mono;

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallRefused {
    /// [`limits::CALLS`] are under way.
    #[error("{} calls are already pending on this link", limits::CALLS)]
    TooMany,
    /// The body is larger than [`limits::CALL_BYTES`].
    #[error("a call of {bytes} bytes: {} are allowed", limits::CALL_BYTES)]
    TooLarge {
        /// The length of the body, in bytes.
        bytes: usize,
    },
    /// The session has not opened or has ended.
    #[error("the link is not connected")]
    NotOpen,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// The other end refused it.
    #[error("the other region refused the call: {0}")]
    Refused(NoAnswer),
    /// No answer came within [`limits::CALL_ANSWER`].
    #[error("the other region did not answer the call in time")]
    Unanswered,
    /// The session ended first.
    #[error("the link ended before the call was answered")]
    Ended,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    numbered: u64,
    asked: BTreeMap<u64, Mono>,
    answering: BTreeSet<u64>,
}

impl Calls {
    pub(super) fn ask(&mut self, now: Mono, method: &str, body: Bytes) -> Result<Request, CallRefused> {
        if body.len() > limits::CALL_BYTES {
            return Err(CallRefused::TooLarge { bytes: body.len() });
        }
        if self.asked.len() >= limits::CALLS {
            return Err(CallRefused::TooMany);
        }
        self.numbered += 1;
        self.asked.insert(self.numbered, now.after(limits::CALL_ANSWER));
        Ok(Request {
            id: self.numbered,
            method: cut(method),
            body,
        })
    }

    /// Removes a request that got its answer. Returns false for an answer that came late.
    pub(super) fn answered(&mut self, id: u64) -> bool {
        self.asked.remove(&id).is_some()
    }

    /// Records a request of the other end. The error is the refusal to send if too many are being
    /// answered.
    pub(super) fn accept(&mut self, id: u64) -> Result<(), Response> {
        if self.answering.len() >= limits::CALLS || !self.answering.insert(id) {
            return Err(Response {
                id,
                outcome: Err(NoAnswer::because(
                    &"too many calls on this link, or one identifier twice",
                )),
            });
        }
        Ok(())
    }

    /// The answer to send; none if the request is not being answered.
    pub(super) fn answer(&mut self, id: u64, outcome: Result<Bytes, NoAnswer>) -> Option<Response> {
        if !self.answering.remove(&id) {
            return None;
        }
        let outcome = match outcome {
            Ok(body) if body.len() > limits::RESPONSE_BYTES => {
                Err(NoAnswer::because(&"the answer is larger than a call may be"))
            }
            outcome => outcome,
        };
        Some(Response { id, outcome })
    }

    /// Removes the requests whose time is up, and returns them.
    pub(super) fn expired(&mut self, now: Mono) -> Vec<u64> {
        let expired: Vec<u64> = (self.asked.iter())
            .filter(|(_, until)| **until <= now)
            .map(|(id, _)| *id)
            .collect();
        expired.iter().for_each(|id| {
            self.asked.remove(id);
        });
        expired
    }

    /// Removes all requests under way, and returns them.
    pub(super) fn end(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.asked).into_keys().collect()
    }

    pub(super) fn next_expiry(&self) -> Option<Mono> {
        self.asked.values().min().copied()
    }
}
