//! What regions compare with each other while they run (docs/decisions/0017). In a run whose logs
//! lose nothing, no part may ever differ, whatever else happens.

use std::collections::BTreeMap;

use isthmus_region_agent::shard::ShardHandle;
use isthmus_replication::agreement::{self, Included, Observed, Sample};
use isthmus_replication::coordinates::{Shard, WriterId};
use isthmus_replication::names::ProcessName;
use isthmus_replication::time::Mono;

use super::Oracle;

/// A time at which every agent gives its sample: the hold-back after a new life is checked by other
/// means.
const ANY_TIME: Mono = Mono::from_nanos(u64::MAX);

/// The samples of every agent's stores.
#[derive(Debug, Default)]
pub(super) struct Compared {
    observed: BTreeMap<(String, Shard), Observed>,
    /// How often a part of two regions had to be equal.
    parts: u64,
}

impl Oracle {
    /// Samples every store, and compares those of different regions.
    pub fn compare(&mut self, handles: &[(String, usize, ShardHandle)]) {
        if self.any_disturbed() || !self.left_behind.is_empty() || !self.excused.is_empty() {
            self.compared.observed.clear();
            return;
        }
        let mut samples: Vec<(&str, usize, Sample)> = Vec::new();
        for (name, site, handle) in handles {
            let sample = self.compared.observe(name, handle);
            samples.extend(sample.map(|sample| (name.as_str(), *site, sample)));
        }
        let mut wrong = Vec::new();
        for (at, (name, site, ours)) in samples.iter().enumerate() {
            for (other, elsewhere, theirs) in &samples[at + 1..] {
                if site == elsewhere || ours.shard != theirs.shard {
                    continue;
                }
                let found: Vec<bool> = agreement::compare(ours, theirs).flatten().collect();
                self.compared.parts += found.len() as u64;
                if found.contains(&false) {
                    wrong.push(format!(
                        "{name} and {other} hold different values of {} where they must hold the same",
                        ours.shard
                    ));
                }
            }
        }
        self.violations.extend(wrong);
    }

    /// How often a part of two regions had to be equal so far.
    pub fn compared_parts(&self) -> u64 {
        self.compared.parts
    }
}

impl Compared {
    fn observe(&mut self, name: &str, handle: &ShardHandle) -> Option<Sample> {
        let key = (name.to_owned(), handle.shard().clone());
        let observed = self.observed.entry(key).or_default();
        let served = handle.served();
        let is_whole = served.refusal().is_none() && served.missing.is_empty();
        let included = Included::of(&served.fold).filter(|_| is_whole);
        let Some(included) = included else {
            observed.interrupt();
            return None;
        };
        observed.observe(Mono::default(), included, &served.store);
        let agent = ProcessName::parse("agent").ok()?;
        observed.sample(ANY_TIME, handle.shard(), &agent, WriterId(0))
    }
}
