//! Compares the stores of two regions where they must be equal
//! (docs/decisions/0017-regions-are-compared.md).
//!
//! Problem: regions write all the time, so no two of them have included the same changes at one
//! moment. Their stores must be compared nevertheless, and a false alarm is worse than none.
//!
//! Sketch: a store keeps a digest for each of [`PARTS`] parts of its keys. [`Observed`] records,
//! for each part, the stretch of included positions over which it has not changed; a [`Sample`]
//! carries this to the peer. If the stretches of two regions overlap, both must hold the same in
//! that part: [`compare`]. [`Agreement`] keeps the results for one peer and shard over time.
//!
//! Invariant: a part of two regions is compared only if each region has included everything that
//! the other region had included when it first observed the part as it is. In a run without a fault
//! the parts are then equal.
//!
//! Failure cases: the content of a store that lacks changes, or that holds changes which its log
//! has lost, does not follow from what it has included. The shell observes nothing while it knows
//! of this ([`Observed::interrupt`]), and after each new life no sample is given for [`SETTLE`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3Default;

use crate::cell::{CellId, Digest};
use crate::coordinates::{Life, Position, Shard, WriterId};
use crate::fold::Fold;
use crate::names::{ProcessName, RegionName};
use crate::store::Store;
use crate::time::{Mono, Wall};

mod codec;
mod found;
#[cfg(test)]
mod tests;
mod wire;

pub use codec::{InvalidSample, asked, question};
pub use found::{Agreement, Found, News};

/// The number of parts that the keys of a shard are divided into.
pub const PARTS: usize = 256;
/// The call that asks a region for its newest sample of a shard.
pub const METHOD: &str = "digests";
/// The time between two samples.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a region asks another region for its sample of a shard.
pub const COMPARE_INTERVAL: Duration = Duration::from_secs(10);
/// The number of its own newest samples that a region compares with another region's sample.
pub const KEPT_SAMPLES: usize = 12;
/// The number of newest looks that are kept.
const STRETCHES: usize = 32;
/// No sample is given for this long after a new life and after the start of a process, because
/// agents give back what a lost tail held.
pub const SETTLE: Duration = Duration::from_secs(30);

/// The digests of the parts of a store. They cover values only: regions collect tombstones at
/// different times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    digests: Box<[Digest; PARTS]>,
    /// The sum of all cells that ever won in each part. A value that comes and goes leaves the
    /// part's digest as it was.
    wins: Box<[Digest; PARTS]>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            digests: Box::new([Digest::default(); PARTS]),
            wins: Box::new([Digest::default(); PARTS]),
        }
    }
}

impl Parts {
    /// Adds the digest of a cell that was added to the store.
    pub fn add(&mut self, id: &CellId, digest: Digest) {
        self.digests[part_of(id)].add(digest);
    }

    /// Removes the digest of a cell that was removed from the store.
    pub fn remove(&mut self, id: &CellId, digest: Digest) {
        self.digests[part_of(id)].remove(digest);
    }

    /// A write of the cell won; `digest` is the cell's now.
    pub fn note_win(&mut self, id: &CellId, digest: Digest) {
        self.wins[part_of(id)].add(digest);
    }

    /// The digests of all parts, in order.
    #[must_use]
    pub fn all(&self) -> &[Digest; PARTS] {
        &self.digests
    }
}

/// The part that a cell belongs to. It depends only on bucket and key, so a key and whatever covers
/// it are in one part. Every version of Isthmus computes it in the same way.
#[must_use]
pub fn part_of(id: &CellId) -> usize {
    let mut hash = Xxh3Default::new();
    hash.update(id.bucket.as_str().as_bytes());
    hash.update(&[0]);
    hash.update(id.key.as_str().as_bytes());
    usize::from(hash.digest().to_be_bytes()[0])
}

/// The position through which a region has included each region's log, its own log too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Included(BTreeMap<RegionName, Position>);

impl Included {
    /// The positions that `fold` has accepted. None before the log's first life, and while changes
    /// are missing.
    #[must_use]
    pub fn of(fold: &Fold) -> Option<Self> {
        let own = (fold.log().region.clone(), fold.position()?);
        let whole = |(region, origin): (&RegionName, &crate::fold::Origin)| {
            (!origin.needs_sync()).then(|| (region.clone(), origin.cursor.position))
        };
        let others: Option<Vec<_>> = fold.origins().map(whole).collect();
        Some(Self(std::iter::once(own).chain(others?).collect()))
    }

    /// These positions.
    pub fn from_positions(positions: impl IntoIterator<Item = (RegionName, Position)>) -> Self {
        Self(positions.into_iter().collect())
    }

    /// Whether everything that `other` had included is included here. False for different lives,
    /// whose positions can't be compared.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(region, there)| {
            let here = self.0.get(region);
            here.is_some_and(|here| here.life == there.life && here.sequence >= there.sequence)
        })
    }

    fn lives(&self) -> BTreeMap<RegionName, Life> {
        let lives = self.0.iter().map(|(region, at)| (region.clone(), at.life));
        lives.collect()
    }
}

/// What an agent has observed of its store.
#[derive(Debug, Default)]
pub struct Observed {
    /// What was included at the newest looks, oldest first.
    looks: VecDeque<Included>,
    /// The number of the newest look.
    newest: u64,
    parts: Option<Parts>,
    values_after: Wall,
    /// For each part, the number of the look that first found it as it is.
    since: Vec<u64>,
    lives: BTreeMap<RegionName, Life>,
    tells_from: Mono,
}

impl Observed {
    /// The store can't be compared for now: forgets what was observed.
    pub fn interrupt(&mut self) {
        self.looks.clear();
        self.parts = None;
    }

    /// Observes a store that holds exactly what `included` covers.
    pub fn observe(&mut self, now: Mono, included: Included, store: &Store) {
        let parts = store.parts();
        self.values_after = store.compared_after();
        let lives = included.lives();
        if lives != self.lives {
            self.lives = lives;
            self.tells_from = now.after(SETTLE);
            self.interrupt();
        }
        self.newest += 1;
        match &self.parts {
            Some(before) => {
                let both = before.wins.iter().zip(parts.wins.iter());
                for (since, (before, now)) in self.since.iter_mut().zip(both) {
                    if before != now {
                        *since = self.newest;
                    }
                }
            }
            None => self.since = vec![self.newest; PARTS],
        }
        self.parts = Some(parts.clone());
        if self.looks.len() == STRETCHES {
            self.looks.pop_front();
        }
        self.looks.push_back(included);
    }

    /// The sample of the newest look. None without a look since the last interruption, and for
    /// [`SETTLE`] after the first look and after each change of the included lives.
    #[must_use]
    pub fn sample(&self, now: Mono, shard: &Shard, agent: &ProcessName, run: WriterId) -> Option<Sample> {
        let parts = self.parts.as_ref().filter(|_| now >= self.tells_from)?;
        let oldest = self.newest.saturating_sub(self.looks.len() as u64 - 1);
        let place = |since: &u64| u8::try_from(since.saturating_sub(oldest)).unwrap_or(u8::MAX);
        Some(Sample {
            shard: shard.clone(),
            agent: agent.clone(),
            run,
            looks: self.looks.iter().cloned().collect(),
            since: self.since.iter().map(place).collect(),
            digests: parts.digests.clone(),
            values_after: self.values_after,
        })
    }
}

/// The digests of the parts of a region's store, and over which stretch each part has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The shard.
    pub shard: Shard,
    /// The agent that took it.
    pub agent: ProcessName,
    /// The run of that agent.
    pub run: WriterId,
    /// What was included at the last looks, oldest first; never empty.
    looks: Vec<Included>,
    /// For each part, the index of the look since which it has not changed.
    since: Vec<u8>,
    digests: Box<[Digest; PARTS]>,
    /// The parts cover only values that expire after this.
    values_after: Wall,
}

impl Sample {
    fn through(&self) -> Option<&Included> {
        self.looks.last()
    }

    /// The position through which each region's log was included at the newest look.
    pub fn positions(&self) -> impl Iterator<Item = (&RegionName, Position)> {
        let newest = self.through().into_iter().flat_map(|included| &included.0);
        newest.map(|(region, at)| (region, *at))
    }

    fn since(&self, part: usize) -> Option<&Included> {
        self.looks.get(usize::from(*self.since.get(part)?))
    }
}

/// For each part, whether two regions hold the same. None where the samples do not show that they
/// must.
pub fn compare(ours: &Sample, theirs: &Sample) -> impl Iterator<Item = Option<bool>> {
    (0..PARTS).map(|part| {
        let comparable = ours.through()?.covers(theirs.since(part)?)
            && theirs.through()?.covers(ours.since(part)?)
            && ours.shard == theirs.shard
            && ours.values_after == theirs.values_after;
        comparable.then(|| ours.digests[part] == theirs.digests[part])
    })
}
