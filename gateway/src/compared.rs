//! Results of comparing this region's stores with those of other regions (docs/decisions/0017).

use std::collections::{BTreeMap, VecDeque};

use isthmus_replication::agreement::{Agreement, Found, KEPT_SAMPLES, News, Sample};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Mono;

/// This region's newest samples, and the results of comparisons with each peer.
#[derive(Debug, Default)]
pub struct Compared {
    own: BTreeMap<Shard, VecDeque<Sample>>,
    peers: BTreeMap<(RegionName, Shard), Agreement>,
}

impl Compared {
    /// Keeps a sample that the steward published, of a shard of this region.
    pub fn keep(&mut self, sample: Sample) {
        let kept = self.own.entry(sample.shard.clone()).or_default();
        if kept.len() == KEPT_SAMPLES {
            kept.pop_front();
        }
        kept.push_back(sample);
    }

    /// The newest sample of `shard`.
    #[must_use]
    pub fn newest(&self, shard: &Shard) -> Option<&Sample> {
        self.own.get(shard)?.back()
    }

    /// Records that comparisons of `shard` with `peer` begin at `now`, unless they have begun
    /// already.
    pub fn begin(&mut self, now: Mono, peer: &RegionName, shard: &Shard) {
        let key = (peer.clone(), shard.clone());
        self.peers.entry(key).or_insert_with(|| Agreement::new(now));
    }

    /// Compares a sample of `peer` with this region's. Returns what is new and worth reporting, if
    /// anything.
    pub fn note(&mut self, now: Mono, peer: &RegionName, theirs: &Sample) -> Option<News> {
        self.begin(now, peer, &theirs.shard);
        let ours = self.own.get(&theirs.shard).into_iter().flatten();
        let agreement = self.peers.get_mut(&(peer.clone(), theirs.shard.clone()))?;
        agreement.note(now, ours, theirs)
    }

    /// Drops the results for `peer`: this gateway no longer compares with it.
    pub fn forget(&mut self, peer: &RegionName) {
        self.peers.retain(|(compared, _), _| compared != peer);
    }

    /// The results at `now`, by peer and shard.
    pub fn found(&self, now: Mono) -> impl Iterator<Item = (&RegionName, &Shard, Found)> {
        let all = self.peers.iter();
        all.map(move |((peer, shard), agreement)| (peer, shard, agreement.found(now)))
    }
}
