//! The last traced changes that this agent applied. With them `isthmus trace` follows one write
//! without a trace receiver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use isthmus_replication::coordinates::{Sequence, Shard};
use isthmus_replication::delay::Delay;
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Wall;
use isthmus_replication::version::Version;

/// How many are kept.
const KEPT: usize = 1024;

/// A traced change as this agent applied it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Its trace.
    pub trace_id: u128,
    /// Whether the trace was recorded only because the change took longer than the set's
    /// `lag_objective`.
    pub slow: bool,
    /// Where it was written.
    pub origin: RegionName,
    /// Its shard.
    pub shard: Shard,
    /// The message of this region's log that contains it.
    pub sequence: Sequence,
    /// Its version.
    pub version: Version,
    /// Bucket and key as spans show them.
    pub key: String,
    /// How long its message took.
    pub delay: Delay,
    /// When it was applied, by the clock of the region's log.
    pub applied_at: Wall,
}

/// The last traced changes. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct TracedChanges(Arc<Mutex<VecDeque<Traced>>>);

impl TracedChanges {
    /// Keeps a change, in place of the oldest one if there are too many.
    pub fn keep(&self, traced: Traced) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(traced);
    }

    /// The newest changes that match, at most `limit`, newest first.
    #[must_use]
    pub fn newest(&self, limit: usize, matches: impl Fn(&Traced) -> bool) -> Vec<Traced> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().rev().filter(|traced| matches(traced));
        found.take(limit).cloned().collect()
    }
}
