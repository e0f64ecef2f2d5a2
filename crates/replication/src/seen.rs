//! `seen`: the versions that a write knew when it replaced others, by region (design.md section 4).
//!
//! Problem: when a write is applied, the store must decide whether its author knew the write that
//! it replaces. A region has several writers, but `seen` has one stamp for each region, and a
//! greater stamp may come from a process that had not read the lesser one.
//!
//! Sketch: a region's writers share one log, and any write that a process could have read is in
//! that log. So of two writes of one region, the one that comes later in the log is judged when it
//! arrives. If it wins, its `seen` shows whether it knew the other
//! ([`crate::cell::Cell::overwrites_unseen`]). If it loses, it was in no log before it lost, so no
//! process can have read it, whatever stamp the winner has seen
//! ([`crate::store::Store::apply_first`]).
//!
//! Invariant: `seen` contains only stamps of writes that were applied from a log. Each stamp
//! represents all writes of its region, at or below it, that were in the log by then. A process
//! recognizes its own writes by its writer identifier and never by `seen`: a message in flight may
//! turn out void, and its stamp would represent writes of others that no process has read.

use crate::coordinates::WriterId;
use crate::hlc::Hlc;
use crate::names::RegionName;
use crate::version::Version;

/// For each region, the newest of its applied versions that this one replaces. Usually one entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen(Vec<(RegionName, Stamp)>);

/// A version of a known region. Two writers of a region may issue the same stamp; stamps are
/// ordered like versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// When it was written.
    pub hlc: Hlc,
    /// The process run that wrote it.
    pub writer: WriterId,
}

impl Stamp {
    /// The stamp of an entry without a writer, from before entries named their writers: it
    /// represents every version with that stamp.
    #[must_use]
    pub fn of_any_writer(hlc: Hlc) -> Self {
        Self {
            hlc,
            writer: WriterId(u64::MAX),
        }
    }
}

impl From<&Version> for Stamp {
    fn from(version: &Version) -> Self {
        Self {
            hlc: version.hlc,
            writer: version.writer,
        }
    }
}

impl Seen {
    /// Records that `version` was replaced.
    pub fn observe(&mut self, version: &Version) {
        self.note(&version.region, version.into());
    }

    /// Records a stamp of `region`, as it is stored.
    pub fn note(&mut self, region: &RegionName, stamp: Stamp) {
        match self.0.binary_search_by(|(r, _)| r.cmp(region)) {
            Ok(at) => self.0[at].1 = self.0[at].1.max(stamp),
            Err(at) => self.0.insert(at, (region.clone(), stamp)),
        }
    }

    /// Takes the greater stamp of each region: commutative, associative, idempotent.
    pub fn join(&mut self, other: &Self) {
        for (region, stamp) in &other.0 {
            self.note(region, *stamp);
        }
    }

    /// The newest replaced stamp of `region`; none if no write of it was replaced.
    #[must_use]
    pub fn newest(&self, region: &RegionName) -> Option<Stamp> {
        let at = self.0.binary_search_by(|(r, _)| r.cmp(region)).ok()?;
        Some(self.0[at].1)
    }

    /// Whether `version` is at or before the newest replaced version of its region.
    #[must_use]
    pub fn covers(&self, version: &Version) -> bool {
        self.newest(&version.region)
            .is_some_and(|newest| newest >= version.into())
    }

    /// The entries, ordered by region.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&RegionName, Stamp)> {
        self.0.iter().map(|(region, stamp)| (region, *stamp))
    }
}
