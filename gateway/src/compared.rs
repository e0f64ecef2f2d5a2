//! What of this region's stores is known to equal other regions' (docs/decisions/0017).

use std::collections::{BTreeMap, VecDeque};

use isthmus_replication::agreement::{Agreement, Found, KEPT_SAMPLES, News, Sample};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Mono;

/// This region's newest samples, and what comparisons with each peer have found.
#[derive(Debug, Default)]
pub struct Compared {
    own: BTreeMap<Shard, VecDeque<Sample>>,
    peers: BTreeMap<(RegionName, Shard), Agreement>,
}

impl Compared {
    /// Keeps what the steward told of a shard that this region holds.
    pub fn keep(&mut self, sample: Sample) {
        let kept = self.own.entry(sample.shard.clone()).or_default();
        if kept.len() == KEPT_SAMPLES {
            kept.pop_front();
        }
        kept.push_back(sample);
    }

    /// The newest of a shard.
    #[must_use]
    pub fn newest(&self, shard: &Shard) -> Option<&Sample> {
        self.own.get(shard)?.back()
    }

    /// From `now` on `peer` is asked for a shard.
    pub fn begin(&mut self, now: Mono, peer: &RegionName, shard: &Shard) {
        let key = (peer.clone(), shard.clone());
        self.peers.entry(key).or_insert_with(|| Agreement::new(now));
    }

    /// Compares with what `peer` told; what is to be told of it.
    pub fn note(&mut self, now: Mono, peer: &RegionName, theirs: &Sample) -> Option<News> {
        self.begin(now, peer, &theirs.shard);
        let ours = self.own.get(&theirs.shard).into_iter().flatten();
        let agreement = self.peers.get_mut(&(peer.clone(), theirs.shard.clone()))?;
        agreement.note(now, ours, theirs)
    }

    /// This gateway compares with `peer` no more.
    pub fn forget(&mut self, peer: &RegionName) {
        self.peers.retain(|(compared, _), _| compared != peer);
    }

    /// What is found at `now`, by peer and shard.
    pub fn found(&self, now: Mono) -> impl Iterator<Item = (&RegionName, &Shard, Found)> {
        let all = self.peers.iter();
        all.map(move |((peer, shard), agreement)| (peer, shard, agreement.found(now)))
    }
}
