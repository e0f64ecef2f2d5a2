//! `seen`: what a version knew of when it replaced others, region by region (design.md section 4).

use crate::hlc::Hlc;
use crate::names::RegionName;
use crate::version::Version;

/// For each region the newest stamp of that region among the versions that this one replaces. Usually one entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen(Vec<(RegionName, Hlc)>);

impl Seen {
    /// Notes that `version` was replaced.
    pub fn observe(&mut self, region: &RegionName, hlc: Hlc) {
        match self.0.binary_search_by(|(r, _)| r.cmp(region)) {
            Ok(at) => self.0[at].1 = self.0[at].1.max(hlc),
            Err(at) => self.0.insert(at, (region.clone(), hlc)),
        }
    }

    /// Takes the greater stamp of each region: commutative, associative, idempotent.
    pub fn join(&mut self, other: &Self) {
        for (region, hlc) in &other.0 {
            self.observe(region, *hlc);
        }
    }

    /// The newest replaced stamp of `region`; [`Hlc::ZERO`] if none.
    #[must_use]
    pub fn newest(&self, region: &RegionName) -> Hlc {
        self.0
            .binary_search_by(|(r, _)| r.cmp(region))
            .map_or(Hlc::ZERO, |at| self.0[at].1)
    }

    /// Whether a winner with this `seen` overwrote `loser` without having known of it: a true conflict.
    #[must_use]
    pub fn conflicts_with(&self, loser: &Version) -> bool {
        self.newest(&loser.region) < loser.hlc
    }

    /// The entries, ordered by region.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&RegionName, Hlc)> {
        self.0.iter().map(|(region, hlc)| (region, *hlc))
    }
}
