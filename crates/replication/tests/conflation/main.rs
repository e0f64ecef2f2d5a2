//! A lane over a slow link, in virtual time: the effect of a hot key on the lane and on the other
//! keys.
#![allow(clippy::unwrap_used)]

mod slow_link;

use slow_link::{Run, Traffic};

const HOT: Traffic = Traffic {
    hot_per_second: 50_000,
    cold_per_second: 500,
    cut_ms: 0..3_000,
    for_ms: 8_000,
};
const ALONE: Traffic = Traffic {
    hot_per_second: 0,
    ..HOT
};

fn p99(run: &Run) -> u64 {
    let mut delays: Vec<u64> = run.delays_ms.clone();
    delays.sort_unstable();
    delays[delays.len() * 99 / 100]
}

/// 50,000 writes a second of one key, 5 MB/s, for a link of 1 Mb/s that was cut for a while.
#[test]
fn scenario_22_a_hot_key_on_a_slow_link_delays_no_other_key() {
    let (hot, alone) = (Run::of(&HOT), Run::of(&ALONE));
    for run in [&hot, &alone] {
        let cold: Vec<u64> = (0..run.cold_written).collect();
        assert_eq!(
            run.cold_arrived, cold,
            "each write of another key arrives once, in its order"
        );
        assert_eq!(run.peer.digest(), run.home.digest());
        assert_eq!(run.peer.cells(), run.home.cells());
    }
    assert!(hot.hot_arrived.is_sorted(), "versions of a cell arrive in order");
    let written = HOT.hot_per_second * HOT.for_ms / 1000;
    let share = 1.0 - hot.hot_arrived.len() as f64 / written as f64;
    println!(
        "{:.2} % of {written} writes conflated; other keys' p99 {} ms, without the hot key {} ms",
        share * 100.0,
        p99(&hot),
        p99(&alone)
    );
    assert!(
        share >= 0.9,
        "{} of {written} writes of the hot key arrived",
        hot.hot_arrived.len()
    );
    assert_eq!(hot.hot_arrived.len() as u64 + hot.left_out, written);
    let tolerance = isthmus_replication::limits::LANE_QUEUE.as_millis() as u64;
    assert!(
        p99(&hot) <= p99(&alone) + tolerance,
        "{} ms, without the hot key {} ms",
        p99(&hot),
        p99(&alone)
    );
}

/// A lane that keeps up sends everything as it is stored: no change is left out and no body is
/// compressed.
#[test]
fn a_lane_that_keeps_up_conflates_nothing() {
    let traffic = Traffic {
        hot_per_second: 200,
        cut_ms: 0..0,
        for_ms: 3_000,
        ..HOT
    };
    let run = Run::of(&traffic);
    assert_eq!(
        run.hot_arrived.len() as u64,
        traffic.hot_per_second * traffic.for_ms / 1000
    );
    assert_eq!((run.left_out, run.packed_ranges), (0, 0));
}
