//! `seen`: what a version knew of when it replaced others, region by region (design.md section 4).
//!
//! Problem: whoever applies a write must tell whether the write that it replaces was known to its author. A region has
//! several writers, `seen` has one stamp for each region, and a greater stamp may be written by a process that had not
//! read the lesser one.
//!
//! Sketch: a region's writers share one log, and a write that anybody could have read is in that log. So of two writes
//! of one region the one that comes later in the log is judged when it arrives. If it wins, its `seen` tells whether it
//! knew of the other ([`crate::cell::Cell::overwrites_unseen`]). If it loses, it was in no log before it lost: nobody
//! can have read it, whatever stamp the winner has seen ([`crate::store::Store::apply_first`]).
//!
//! Invariant: `seen` holds only stamps of writes that were applied from a log, and of all writes of that region at or
//! below them that were in the log by then. A process knows its own writes by its name and never by `seen`: a message in
//! flight may turn out void, and its stamp would stand for writes of others that nobody read.

use crate::coordinates::WriterId;
use crate::hlc::Hlc;
use crate::names::RegionName;
use crate::version::Version;

/// For each region the newest of its applied versions that this one replaces. Usually one entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen(Vec<(RegionName, Stamp)>);

/// A version of a known region. Two writers of a region may give one stamp: the order is that of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// When it was written.
    pub hlc: Hlc,
    /// By which run of which process.
    pub writer: WriterId,
}

impl Stamp {
    /// What an entry stands for that names no writer, as it was written before writers were named: every version of that stamp.
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
    /// Notes that `version` was replaced.
    pub fn observe(&mut self, version: &Version) {
        self.note(&version.region, version.into());
    }

    /// Notes a stamp of `region`, as it is stored.
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

    /// The newest replaced stamp of `region`; none if no write of it was.
    #[must_use]
    pub fn newest(&self, region: &RegionName) -> Option<Stamp> {
        let at = self.0.binary_search_by(|(r, _)| r.cmp(region)).ok()?;
        Some(self.0[at].1)
    }

    /// Whether `version` is one of those that were replaced, or before one of its region that was.
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
