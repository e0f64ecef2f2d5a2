//! Whether two regions hold the same where they must (docs/decisions/0017-regions-are-compared.md).
//!
//! Problem: regions write all the time, so that no two of them have included the same changes at one moment; yet what they
//! hold must be compared, and a wrong alarm is worse than none.
//!
//! Sketch: a store keeps a digest for each of [`PARTS`] parts of its keys. [`Observed`] notes over which stretch of what the
//! region has included a part did not change; [`Sample`] tells it. Two regions whose stretches overlap must hold the same
//! in that part: [`compare`]. [`Agreement`] keeps what was found of one peer and shard over time.
//!
//! Invariant: parts of two regions are compared only if each region has included all that the other had included when its
//! part became what it is; then they are equal in every run without a fault.
//!
//! Failure cases: a store that lacks changes, or holds some that its log has lost, is not a function of what it has included.
//! The shell observes nothing while it knows of it ([`Observed::interrupt`]); after each new life nothing is told for [`SETTLE`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3Default;

use crate::cell::{CellId, Digest};
use crate::coordinates::{Life, Position, Shard, WriterId};
use crate::fold::Fold;
use crate::names::{ProcessName, RegionName};
use crate::time::Mono;

mod codec;
mod found;
#[cfg(test)]
mod tests;
mod wire;

pub use codec::{InvalidSample, asked, question};
pub use found::{Agreement, Found, News};

/// Parts of a shard's keys.
pub const PARTS: usize = 256;
/// The call that asks a region for its newest sample of a shard.
pub const METHOD: &str = "digests";
/// A sample is taken this often.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// A region asks another one for a shard's sample this often.
pub const COMPARE_INTERVAL: Duration = Duration::from_secs(10);
/// So many of its own samples a region compares another one's with.
pub const KEPT_SAMPLES: usize = 12;
/// So many of the newest states of what was included are told apart.
const STRETCHES: usize = 32;
/// After a new life, and after the start of a process, nothing is told: agents give back what a lost tail held.
pub const SETTLE: Duration = Duration::from_secs(30);

/// The digests of the parts of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts(Box<[Digest; PARTS]>);

impl Default for Parts {
    fn default() -> Self {
        Self(Box::new([Digest::default(); PARTS]))
    }
}

impl Parts {
    /// A cell came.
    pub fn add(&mut self, id: &CellId, digest: Digest) {
        self.0[part_of(id)].add(digest);
    }

    /// A cell went.
    pub fn remove(&mut self, id: &CellId, digest: Digest) {
        self.0[part_of(id)].remove(digest);
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[Digest; PARTS] {
        &self.0
    }
}

/// The part of a cell: of its key, so that a key and what covers it are in one. The same in every version.
#[must_use]
pub fn part_of(id: &CellId) -> usize {
    let mut hash = Xxh3Default::new();
    hash.update(id.bucket.as_str().as_bytes());
    hash.update(&[0]);
    hash.update(id.key.as_str().as_bytes());
    usize::from(hash.digest().to_be_bytes()[0])
}

/// Through where a region has included every region's log, its own too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Included(BTreeMap<RegionName, Position>);

impl Included {
    /// What `fold` has accepted. None before the log's first life, and while changes are missing.
    #[must_use]
    pub fn of(fold: &Fold) -> Option<Self> {
        let own = (fold.log().region.clone(), fold.position()?);
        let whole = |(region, origin): (&RegionName, &crate::fold::Origin)| {
            (!origin.needs_sync()).then(|| (region.clone(), origin.cursor.position))
        };
        let others: Option<Vec<_>> = fold.origins().map(whole).collect();
        Some(Self(std::iter::once(own).chain(others?).collect()))
    }

    /// Of these positions.
    pub fn from_positions(positions: impl IntoIterator<Item = (RegionName, Position)>) -> Self {
        Self(positions.into_iter().collect())
    }

    /// Whether all that `other` had included is included here. Of different lives nobody can say.
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

/// What an agent has seen of its store, look by look.
#[derive(Debug, Default)]
pub struct Observed {
    /// What was included at the newest looks, oldest first.
    looks: VecDeque<Included>,
    /// The number of the newest look.
    newest: u64,
    parts: Option<Parts>,
    /// At which look each part was first seen as it is.
    since: Vec<u64>,
    lives: BTreeMap<RegionName, Life>,
    tells_from: Mono,
}

impl Observed {
    /// The store can't be compared for the moment: what was seen of it says nothing any more.
    pub fn interrupt(&mut self) {
        self.looks.clear();
        self.parts = None;
    }

    /// Looks at a store that holds what `included` says.
    pub fn look(&mut self, now: Mono, included: Included, parts: &Parts) {
        let lives = included.lives();
        if lives != self.lives {
            self.lives = lives;
            self.tells_from = now.after(SETTLE);
            self.interrupt();
        }
        self.newest += 1;
        match &self.parts {
            Some(before) => {
                let both = before.all().iter().zip(parts.all());
                for (since, (before, part)) in self.since.iter_mut().zip(both) {
                    if before != part {
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

    /// What is to be told of the newest look; none while it says nothing.
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
            parts: parts.clone(),
        })
    }
}

/// What the parts of a region's store are, and over which stretch each has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The shard.
    pub shard: Shard,
    /// The agent that took it.
    pub agent: ProcessName,
    /// Its run.
    pub run: WriterId,
    /// What was included at the last looks, oldest first; never empty.
    looks: Vec<Included>,
    /// For each part the look since which it has not changed.
    since: Vec<u8>,
    parts: Parts,
}

impl Sample {
    fn through(&self) -> Option<&Included> {
        self.looks.last()
    }

    /// Through where every region's log was included at the newest look.
    pub fn positions(&self) -> impl Iterator<Item = (&RegionName, Position)> {
        let newest = self.through().into_iter().flat_map(|included| &included.0);
        newest.map(|(region, at)| (region, *at))
    }

    fn since(&self, part: usize) -> Option<&Included> {
        self.looks.get(usize::from(*self.since.get(part)?))
    }
}

/// Of each part whether two regions hold the same; none where nothing says that they must.
pub fn compare(ours: &Sample, theirs: &Sample) -> impl Iterator<Item = Option<bool>> {
    (0..PARTS).map(|part| {
        let comparable = ours.through()?.covers(theirs.since(part)?)
            && theirs.through()?.covers(ours.since(part)?)
            && ours.shard == theirs.shard;
        comparable.then(|| ours.parts.all()[part] == theirs.parts.all()[part])
    })
}
