//! Requests and their answers, bounded in number and time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::super::check::cut;
use super::super::frame::{Request, Response};
use crate::limits;
use crate::time::Mono;

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallRefused {
    /// [`limits::CALLS`] are under way.
    #[error("{} calls are under way on this link already", limits::CALLS)]
    TooMany,
    /// The body is larger than [`limits::CALL_BYTES`].
    #[error("a call of {bytes} bytes: {} are allowed", limits::CALL_BYTES)]
    TooLarge {
        /// Its length.
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
    Refused(String),
    /// No answer came within [`limits::CALL_ANSWER`].
    #[error("the other region did not answer the call in time")]
    Unanswered,
    /// The session ended first.
    #[error("the link ended before the call was answered")]
    Ended,
}

#[derive(Debug, Default)]
pub struct Calls {
    numbered: u64,
    asked: BTreeMap<u64, Mono>,
    answering: BTreeSet<u64>,
}

impl Calls {
    pub fn ask(&mut self, now: Mono, method: &str, body: Bytes) -> Result<Request, CallRefused> {
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

    /// Whether an answer is to a request under way; a late one is not.
    pub fn answered(&mut self, id: u64) -> bool {
        self.asked.remove(&id).is_some()
    }

    /// Takes note of the other end's request; the refusal to send when too many are being answered.
    pub fn accept(&mut self, id: u64) -> Result<(), Response> {
        if self.answering.len() >= limits::CALLS || !self.answering.insert(id) {
            return Err(Response {
                id,
                outcome: Err("too many calls on this link, or one identifier twice".to_owned()),
            });
        }
        Ok(())
    }

    /// The answer to send; none if the request is not being answered.
    pub fn answer(&mut self, id: u64, outcome: Result<Bytes, String>) -> Option<Response> {
        if !self.answering.remove(&id) {
            return None;
        }
        let outcome = match outcome {
            Ok(body) if body.len() > limits::CALL_BYTES => {
                Err("the answer is larger than a call may be".to_owned())
            }
            Err(refused) if refused.is_empty() => Err("refused without a reason".to_owned()),
            Err(refused) => Err(cut(&refused)),
            ok => ok,
        };
        Some(Response { id, outcome })
    }

    /// Requests whose time is up.
    pub fn expired(&mut self, now: Mono) -> Vec<u64> {
        let expired: Vec<u64> = (self.asked.iter())
            .filter(|(_, until)| **until <= now)
            .map(|(id, _)| *id)
            .collect();
        expired.iter().for_each(|id| {
            self.asked.remove(id);
        });
        expired
    }

    /// All requests under way; none is under way afterwards.
    pub fn end(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.asked).into_keys().collect()
    }

    pub fn next_expiry(&self) -> Option<Mono> {
        self.asked.values().min().copied()
    }
}
