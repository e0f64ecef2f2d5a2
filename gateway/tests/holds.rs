//! What a region can't accept holds the lane visibly or is set aside, and the lane continues when
//! it can.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{Contents, EU, US, World, expected, link, region, shard};
use isthmus_log::{JournalName, PageFrom};
use isthmus_replication::aside::{Entry, Kept};
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::fold::SubjectToken;
use serde_json::Value;
use tokio::time::Instant;

const RTT: Duration = Duration::from_millis(20);
/// A lane that is held for this long can be observed on a loaded machine.
const AHEAD: Duration = Duration::from_secs(8);

fn lane(status: &Value) -> &Value {
    &link(status, US)["lanes"][0]
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_08_stamps_far_ahead_visibly_hold_the_lane() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    eu.allow_ahead(Duration::from_secs(60)).await;
    eu.put(&["in-time"]).await;
    Contents::with_keys(&us.ports, &region(EU), 1).await;

    let began = Instant::now();
    eu.put_ahead("ahead", AHEAD).await;
    one.becomes("a lane held for the clock", |status| {
        lane(status)["state"] == "clock" && lane(status)["lag_ms"].as_f64() > Some(0.0)
    })
    .await;
    other.logs("is held: the origin's clock is ahead").await;
    assert_eq!(Contents::of(&us.ports, &region(EU)).await.keys, ["in-time"]);
    let arrived = Contents::with_keys(&us.ports, &region(EU), 2).await;
    assert_eq!(arrived.keys, ["in-time", "ahead"]);
    assert!(
        began.elapsed() >= AHEAD - Duration::from_millis(100),
        "it was appended before this region's clock had come there"
    );
    one.becomes("a lane that goes on", |status| {
        lane(status)["state"] == "streaming"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_23_an_inapplicable_batch_is_set_aside_before_a_gap() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    eu.put_numbered(0, 3).await;
    Contents::with_keys(&us.ports, &region(EU), 3).await;
    let garbage = eu.put_garbage().await;
    Contents::through(&us.ports, &region(EU), garbage).await;
    eu.put_numbered(3, 3).await;
    let arrived = Contents::with_keys(&us.ports, &region(EU), 6).await;
    assert_eq!(arrived.keys, expected(6));
    assert!(arrived.fold.origin(&region(EU)).unwrap().needs_sync());
    other.counts("isthmus_gaps_total{origin=\"eu-west\"}", 1.0).await;
    other.logs("takes its place until a sync").await;
    let aside = JournalName::Aside(shard().group);
    let begin = PageFrom::Sequence(Sequence(1));
    let page = us.ports.journal.page(&aside, begin, 10).await.unwrap();
    let [kept] = &page.entries[..] else {
        panic!("{page:?}")
    };
    let entry = Entry::decode(kept.entry.clone()).unwrap();
    let Kept::Range(range) = &entry.kept else {
        panic!("{entry:?}")
    };
    assert_eq!(range.origin, region(EU));
    assert!(range.first <= garbage && garbage <= range.through.position.sequence);
    assert!(range.body.windows(7).any(|part| part == b"garbage"));
    let log = &us.ports.log;
    let gap = log.next_of(&shard(), &SubjectToken::Gateway, Sequence(1)).await;
    let gap = gap.unwrap().unwrap();
    assert!(kept.stored_at <= gap.timestamp, "{kept:?} after {gap:?}");
    other
        .becomes("the need of a sync", |status| {
            let received = &status["receiving"][0];
            received["needs_sync"] == true
                && received["state"] == "stalled"
                && received["proof_age_ms"].is_null()
        })
        .await;
    assert_eq!(
        other.text("/readyz/read?max_lag=1h").await,
        None,
        "not all is there"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_19_a_full_log_holds_the_lane_and_room_lets_it_go_on() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let mut us = world.publisher(US).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    eu.put_numbered(0, 1).await;
    Contents::with_keys(&us.ports, &region(EU), 1).await;
    us.fill().await;
    let large = eu.put(&["x".repeat(1000).as_str(); 400]).await;
    one.becomes("a lane held for want of room", |status| {
        lane(status)["state"] == "log_full"
    })
    .await;
    let last = us.ports.log.bounds(&shard()).await.unwrap().last;
    other
        .becomes("all of the log, as only what was read is trimmed", |status| {
            status["heads"][0]["position"]["sequence"].as_u64() >= Some(last.0)
        })
        .await;
    us.ports.log.purge(&shard(), last).await.unwrap();
    other
        .becomes("what had no room", |status| {
            status["receiving"][0]["cursor"]["sequence"].as_u64() >= Some(large.0)
        })
        .await;
    one.becomes("a lane that goes on", |status| {
        lane(status)["state"] == "streaming"
    })
    .await;
}
