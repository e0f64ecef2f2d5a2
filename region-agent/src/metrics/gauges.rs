//! Gauges that are computed when Prometheus asks.

use isthmus_runtime::metrics::{Gauge, of_shard};
use prometheus_client::registry::Unit;

use crate::lag;
use crate::region::Region;

/// Every gauge of the region's shards as they are at this moment.
pub fn of_region(region: &Region) -> Vec<Gauge> {
    let mut gauges = of_shards(region);
    gauges.push(of_lag(region));
    gauges
}

fn of_lag(region: &Region) -> Gauge {
    let mut proof = Gauge::new(
        "proof_age",
        "Everything of the origin that is older is applied here",
        Some(Unit::Seconds),
    );
    for lag in lag::of_all(region) {
        let labels = [vec![("origin", lag.origin.to_string())], of_shard(&lag.shard)].concat();
        proof.sample(labels, lag.proof_age.map(|age| age.as_secs_f64()));
    }
    proof
}

fn of_shards(region: &Region) -> Vec<Gauge> {
    let now = region.core.context().now();
    let mut log = Gauge::new("log", "Size of the log", Some(Unit::Bytes));
    let mut sequence = Gauge::new("log_sequence", "The last sequence applied", None);
    let mut cells = Gauge::new("store_cells", "Cells, including tombstones", None);
    let mut store = Gauge::new("store", "Memory of the cells", Some(Unit::Bytes));
    let mut checkpoint = Gauge::new(
        "checkpoint_age",
        "Time since the last checkpoint was written",
        Some(Unit::Seconds),
    );
    for shard in region.core.shards() {
        let served = shard.served();
        let labels = || of_shard(shard.shard());
        log.sample(labels(), Some(shard.log_bytes() as f64));
        sequence.sample(labels(), Some(served.fold.at().sequence.0 as f64));
        cells.sample(labels(), Some(served.store.cells() as f64));
        store.sample(labels(), Some(served.store.bytes() as f64));
        let age = served.checkpointed_at.map(|at| now.wall.since(at));
        checkpoint.sample(labels(), age.map(|age| age.as_secs_f64()));
    }
    vec![log, sequence, cells, store, checkpoint]
}
