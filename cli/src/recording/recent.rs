//! The newest acknowledged writes, for readers that go on with their sessions.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::random::Random;

const KEPT: usize = 256;

/// A session that has seen a key at a version.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) key: String,
    pub(super) version: String,
    pub(super) session: String,
}

/// The newest sights of writers, some hundreds at most.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<Sight>>);

impl Recent {
    pub(super) fn note(&self, sight: Sight) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(sight);
    }

    /// Any of them; `None` = there is none yet.
    pub(super) fn draw(&self, random: &mut Random) -> Option<Sight> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(random.below(kept.len() as u64) as usize).cloned()
    }
}
