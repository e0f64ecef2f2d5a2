//! The newest acknowledged writes, for readers that continue with their sessions.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use fastrand::Rng;

const KEPT: usize = 256;

/// A session that has seen a key at a version.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) key: String,
    pub(super) version: String,
    pub(super) session: String,
}

/// The newest sights of writers, at most `KEPT`.
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

    /// A random one of them; `None` if there is none yet.
    pub(super) fn draw(&self, random: &mut Rng) -> Option<Sight> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        random.choice(kept.iter()).cloned()
    }
}
