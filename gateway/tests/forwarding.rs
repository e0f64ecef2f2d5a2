//! What one region's log accepts appears in the other's, once and in order.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{Contents, EU, US, World, expected, link, region, shard};
use isthmus_replication::peer::{AppliedPositions, PeerCursors};

const RTT: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn batches_appear_once_and_in_order_in_the_other_region() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let mut us = world.publisher(US).await;
    eu.put_numbered(0, 20).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    other.connected(EU).await;
    eu.put_numbered(20, 200).await;
    us.put(&["from-us"]).await;

    let arrived = Contents::with_keys(&us.ports, &region(EU), 220).await;
    assert_eq!(arrived.keys, expected(220));
    let back = Contents::with_keys(&eu.ports, &region(US), 1).await;
    assert_eq!(back.keys, ["from-us"]);
    one.counts("isthmus_ranges_sent_total{peer=\"us-east\"}", 1.0)
        .await;
    other
        .counts("isthmus_acks_sent_total{origin=\"eu-west\"}", 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_regions_do_not_answer_each_others_empty_ranges() {
    const ROUNDS: u64 = 8;
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let mut us = world.publisher(US).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    other.connected(EU).await;
    for round in 0..ROUNDS {
        let barrier = eu.barrier().await;
        Contents::through(&us.ports, &region(EU), barrier).await;
        us.put(&[&format!("round-{round}")]).await;
        Contents::with_keys(&eu.ports, &region(US), usize::try_from(round).unwrap() + 1).await;
    }
    for ports in [&eu.ports, &us.ports] {
        let contents = Contents::of(ports, &region(EU)).await;
        let expected = 1 + ROUNDS + ROUNDS;
        assert_eq!(
            contents.messages, expected,
            "life, own records, one range for each of the other's"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_learn_what_the_peer_has_and_has_applied() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let mut cursors = eu.ports.peers.subscribe("cursors.*.*").await.unwrap();
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    other.connected(EU).await;
    let written = eu.put(&["a"]).await;
    let arrived = Contents::with_keys(&us.ports, &region(EU), 1).await;
    let applied = common::applied_by("agent-1", &region(EU), &arrived);
    let agent = async {
        let mut said_again = tokio::time::interval(Duration::from_millis(200));
        loop {
            said_again.tick().await;
            let suffix = AppliedPositions::suffix(&shard());
            us.ports.peers.publish(&suffix, applied.encode()).await.unwrap();
        }
    };
    let heard = async {
        loop {
            let message = cursors.next().await.unwrap();
            let cursors = PeerCursors::decode(&message.payload).unwrap();
            let peer = cursors.peers.iter().find(|peer| peer.peer == region(US)).unwrap();
            let through = peer.cursor.map(|cursor| cursor.position.sequence);
            let applied = peer.applied.map(|applied| applied.0.sequence);
            if peer.connected && through == Some(written) && applied == Some(written) {
                return;
            }
        }
    };
    let sent_and_shown = async {
        tokio::time::timeout(common::SOON, heard).await.unwrap();
        let shown = other.becomes("a delay and its members", |status| {
            status["receiving"][0]["delay_ms"] == 7.0 && status["members"][0]["name"].is_string()
        });
        shown.await
    };
    let shown = tokio::select! {
        () = agent => unreachable!("an agent says it for ever"),
        shown = sent_and_shown => shown,
    };
    assert_eq!(shown["receiving"][0]["stages_ms"]["wire"], 7.0);
    assert_eq!(shown["members"][0]["name"], "gateway-1");
    let lag = shown["lag"].as_array().unwrap().iter();
    let mut arriving = lag.filter(|row| row["origin"] == EU && row["peer"] == US);
    assert_eq!(arriving.next().unwrap()["delay_ms"], 7.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_link_stays_up_and_carries_nothing_until_resumed() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (mut one, _other) = world.one_gateway_each();
    one.connected(US).await;
    eu.put_numbered(0, 1).await;
    Contents::with_keys(&us.ports, &region(EU), 1).await;

    assert_eq!(one.post("/v1/links/nowhere/pause").await, 404);
    assert_eq!(one.post("/v1/links/us-east/pause").await, 200);
    let lane = |status: &serde_json::Value| link(status, US)["lanes"][0].clone();
    one.becomes("a paused lane", |status| lane(status)["state"] == "paused")
        .await;
    eu.put_numbered(1, 5).await;
    one.becomes("a growing lag", |status| {
        link(status, US)["state"] == "paused" && lane(status)["lag_ms"].as_f64() > Some(1000.0)
    })
    .await;
    assert_eq!(Contents::of(&us.ports, &region(EU)).await.keys.len(), 1);

    let later = world.gateway(EU, 2);
    later
        .becomes("what an operator had paused before it started", |status| {
            link(status, US)["paused"] == true
        })
        .await;
    one.kill();
    later.leads().await;
    later
        .becomes("a paused link that stands", |status| {
            link(status, US)["state"] == "paused"
        })
        .await;
    assert_eq!(Contents::of(&us.ports, &region(EU)).await.keys.len(), 1);

    assert_eq!(later.post("/v1/links/us-east/resume").await, 200);
    let arrived = Contents::with_keys(&us.ports, &region(EU), 6).await;
    assert_eq!(arrived.keys, expected(6));
}
