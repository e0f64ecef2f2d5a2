//! Leaders that die, links that are cut, connections that stay half open, a NATS that restarts:
//! what was accepted arrives once, and in order.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{Contents, EU, GatewayProcess, SOON, US, World, expected, link, region};
use isthmus_log::testing::until;
use isthmus_replication::peer::{PeerCursors, PeerDoubt};
use isthmus_wan::Command;
use tokio::time::Instant;

const RTT: Duration = Duration::from_millis(20);
const RECONNECTS: &str = "isthmus_link_reconnects_total{peer=\"us-east\"}";
/// A link that receives nothing for 5 s is dead. A loaded machine gets three times that.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_a_standby_takes_over_when_the_leader_is_killed() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let mut leader = world.gateway(EU, 1);
    leader.leads().await;
    let standby = world.gateway(EU, 2);
    let _other = world.gateway(US, 1);
    leader.connected(US).await;
    let shown = standby
        .becomes("the leader's links and both regions", |status| {
            status["leader"] == "gateway-1"
                && link(status, US)["state"] == "connected"
                && status["regions"][US].is_object()
        })
        .await;
    assert_eq!(shown["leading"], false);
    eu.put_numbered(0, 50).await;
    leader.kill();
    let killed = Instant::now();
    let taking_over = async {
        standby.leads().await;
        killed.elapsed()
    };
    let ((), took) = tokio::join!(eu.put_numbered(50, 50), taking_over);
    let arrived = Contents::with_keys(&us.ports, &region(EU), 100).await;
    assert_eq!(arrived.keys, expected(100));
    assert!(took < Duration::from_secs(3), "taking over took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_29_a_stopped_leader_gives_up_the_lead_and_exits_0() {
    let world = World::two_regions(RTT).await;
    let _eu = world.publisher(EU).await;
    let mut leader = world.gateway(EU, 1);
    leader.leads().await;
    let standby = world.gateway(EU, 2);
    standby
        .becomes("a leader", |status| status["leader"] == "gateway-1")
        .await;
    let began = Instant::now();
    let status = leader.terminate().await;
    assert!(status.success(), "{status}: {}", leader.log());
    assert!(began.elapsed() < Duration::from_secs(5));
    standby.leads().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_cut_and_healed_goes_on_where_it_stopped() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, _other) = world.one_gateway_each();
    one.connected(US).await;
    eu.put_numbered(0, 10).await;
    Contents::with_keys(&us.ports, &region(EU), 10).await;

    let mut message = eu.ports.peers.subscribe("cursors.*.*").await.unwrap();
    world.cut();
    let cut = Instant::now();
    let hearing = async {
        loop {
            let message = tokio::time::timeout(SOON, message.next()).await.unwrap().unwrap();
            let cursors = PeerCursors::decode(&message.payload).unwrap();
            if cursors.peers.iter().all(|peer| !peer.connected) {
                return cut.elapsed();
            }
        }
    };
    let ((), heard) = tokio::join!(eu.put_numbered(10, 40), hearing);
    assert!(heard < Duration::from_secs(4), "agents heard after {heard:?}");
    one.becomes("a fallen link and a growing lag", |status| {
        let link = link(status, US);
        link["state"] != "connected" && link["lanes"][0]["lag_ms"].as_f64() > Some(2000.0)
    })
    .await;
    world.heal();
    let arrived = Contents::with_keys(&us.ports, &region(EU), 50).await;
    assert_eq!(arrived.keys, expected(50));
    one.connected(US).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_17_a_black_hole_is_noticed_and_the_link_redialled() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, _other) = world.one_gateway_each();
    one.connected(US).await;
    let began = Instant::now();
    swallow(&world);
    eu.put_numbered(0, 10).await;
    one.counts(RECONNECTS, 1.0).await;
    assert!(
        began.elapsed() < NOTICED_WITHIN,
        "noticed after {:?}",
        began.elapsed()
    );
    world.heal();
    let arrived = Contents::with_keys(&us.ports, &region(EU), 10).await;
    assert_eq!(arrived.keys, expected(10));
    one.connected(US).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_17_a_half_open_connection_is_replaced() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, mut other) = world.one_gateway_each();
    one.connected(US).await;
    eu.put_numbered(0, 10).await;
    Contents::with_keys(&us.ports, &region(EU), 10).await;
    let began = Instant::now();
    swallow(&world);
    other.kill();
    world.heal();
    let _again = world.gateway(US, 1);
    eu.put_numbered(10, 10).await;
    one.counts(RECONNECTS, 1.0).await;
    assert!(
        began.elapsed() < NOTICED_WITHIN,
        "noticed after {:?}",
        began.elapsed()
    );
    let arrived = Contents::with_keys(&us.ports, &region(EU), 20).await;
    assert_eq!(arrived.keys, expected(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_17_a_one_way_cut_redials_and_sends_arrive_once() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, _other) = world.one_gateway_each();
    one.connected(US).await;
    let began = Instant::now();
    let acks = Command::Cut {
        from: US.to_owned(),
        to: EU.to_owned(),
        one_way: true,
        for_ms: None,
    };
    world.wan.apply(&acks).unwrap();
    eu.put_numbered(0, 10).await;
    let arrived = Contents::with_keys(&us.ports, &region(EU), 10).await;
    assert_eq!(arrived.keys, expected(10), "sends arrive");
    one.becomes("a fallen link", |status| link(status, US)["state"] != "connected")
        .await;
    assert!(
        began.elapsed() < NOTICED_WITHIN,
        "noticed after {:?}",
        began.elapsed()
    );
    eu.put_numbered(10, 10).await;
    world.heal();
    let arrived = Contents::with_keys(&us.ports, &region(EU), 20).await;
    assert_eq!(arrived.keys, expected(20), "each is there once, in order");
    one.connected(US).await;
}

fn swallow(world: &World) {
    let (from, to) = (EU.to_owned(), US.to_owned());
    world.wan.apply(&Command::BlackHole { from, to }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_19_gateways_survive_restarts_of_both_regions_nats() {
    let mut world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, _other) = world.one_gateway_each();
    one.connected(US).await;
    eu.put_numbered(0, 10).await;
    Contents::with_keys(&us.ports, &region(EU), 10).await;
    for name in [EU, US] {
        let place = world.regions.get_mut(name).unwrap();
        tokio::task::block_in_place(|| {
            place.nats.kill();
            place.nats.start_again();
        });
    }
    eu.ready().await;
    eu.put_numbered(10, 10).await;
    us.ready().await;
    let arrived = Contents::with_keys(&us.ports, &region(EU), 20).await;
    assert_eq!(arrived.keys, expected(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_15_a_log_that_lost_its_tail_begins_its_next_life() {
    let mut world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, _other) = world.one_gateway_each();
    one.connected(US).await;
    eu.put_numbered(0, 10).await;
    Contents::with_keys(&us.ports, &region(EU), 10).await;

    let backup = world.back_up(EU);
    eu.ready().await;
    let kept = eu.ports.log.bounds(&common::shard()).await.unwrap().last;
    eu.put_numbered(10, 5).await;
    Contents::with_keys(&us.ports, &region(EU), 15).await;
    world.put_back(EU, &backup);
    eu.ready().await;
    assert_eq!(eu.ports.log.bounds(&common::shard()).await.unwrap().last, kept);

    eu.begin_second_life(kept).await;
    eu.put_numbered(15, 5).await;
    let arrived = Contents::with_keys(&us.ports, &region(EU), 20).await;
    assert_eq!(
        arrived.keys,
        expected(20),
        "what had arrived stays, what follows is there once"
    );
    let origin = arrived.fold.origin(&region(EU)).unwrap();
    assert_eq!(origin.cursor.position.life.number, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_34_agents_learn_of_a_peers_tail_and_where_logs_part() {
    let mut world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let mut us = world.publisher(US).await;
    let (one, _other) = world.one_gateway_each();
    one.connected(US).await;
    eu.put_numbered(0, 10).await;
    let shared = Contents::with_keys(&us.ports, &region(EU), 10).await;
    let shared = shared.fold.origin(&region(EU)).unwrap().cursor;
    us.mark().await;

    let backup = world.back_up(EU);
    eu.ready().await;
    eu.put_numbered(10, 5).await;
    let ahead = Contents::with_keys(&us.ports, &region(EU), 15).await;
    let ahead = ahead.fold.origin(&region(EU)).unwrap().cursor;
    world.put_back(EU, &backup);
    eu.ready().await;
    let mut message = eu.ports.peers.subscribe("doubts.*.*").await.unwrap();
    eu.put_numbered(15, 9).await;
    let message = tokio::time::timeout(SOON, message.next()).await.unwrap().unwrap();
    let doubt = PeerDoubt::decode(&message.payload).unwrap();
    assert_eq!((&doubt.shard, &doubt.peer), (&common::shard(), &region(US)));
    assert_eq!(doubt.cursor, ahead);
    assert_eq!(doubt.landmarks, [shared]);

    eu.begin_second_life(shared.position.sequence).await;
    let arrived = Contents::with_keys(&us.ports, &region(EU), 24).await;
    assert_eq!(
        arrived.keys,
        expected(24),
        "what the lost tail displaced arrives with the next life"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_suspicion_and_its_end_are_each_reported_once() {
    let mut world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, _other) = world.one_gateway_each();
    one.connected(US).await;
    eu.put_numbered(0, 10).await;
    let shared = Contents::with_keys(&us.ports, &region(EU), 10).await;
    let shared = shared.fold.origin(&region(EU)).unwrap().cursor;

    let backup = world.back_up(EU);
    eu.ready().await;
    eu.put_numbered(10, 5).await;
    Contents::with_keys(&us.ports, &region(EU), 15).await;
    world.put_back(EU, &backup);
    eu.ready().await;
    let mut doubt_messages = eu.ports.peers.subscribe("doubts.*.*").await.unwrap();
    eu.put_numbered(15, 9).await;
    for doubt in 0..4 {
        let message = tokio::time::timeout(SOON, doubt_messages.next()).await;
        assert!(
            message.unwrap().is_some(),
            "the agents learn it again, {doubt} times so far"
        );
    }
    assert_eq!(events_of_us(&one, "life_suspected").await, 1);
    assert_eq!(events_of_us(&one, "life_suspicion_ended").await, 0);

    eu.begin_second_life(shared.position.sequence).await;
    Contents::with_keys(&us.ports, &region(EU), 24).await;
    until("the suspicion ends", SOON, || async {
        (events_of_us(&one, "life_suspicion_ended").await > 0).then_some(())
    })
    .await;
    assert_eq!(events_of_us(&one, "life_suspected").await, 1, "{}", one.log());
    assert_eq!(events_of_us(&one, "life_suspicion_ended").await, 1);
}

/// The number of events of this kind that the lane to the peer has recorded.
async fn events_of_us(gateway: &GatewayProcess, kind: &str) -> usize {
    let events = gateway.text("/v1/events?after=0").await.unwrap();
    let events: serde_json::Value = serde_json::from_str(&events).unwrap();
    let all = events.as_array().unwrap();
    all.iter()
        .filter(|event| event["kind"] == kind && event["fields"]["peer"] == US)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_slower_than_the_silence_limit_still_arrives() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, _other) = world.one_gateway_each();
    one.connected(US).await;
    let (from, to) = (EU.to_owned(), US.to_owned());
    let slow = Command::Rate {
        from,
        to,
        one_way: false,
        bytes_per_second: Some(90_000),
    };
    world.wan.apply(&slow).unwrap();
    let began = Instant::now();
    eu.put_large("large", 700_000).await;
    let arrived = Contents::with_keys(&us.ports, &region(EU), 1).await;
    assert_eq!(arrived.keys, ["large"]);
    assert!(
        began.elapsed() > Duration::from_secs(6),
        "it was no slow path: {:?}",
        began.elapsed()
    );
    let reconnects = one
        .metric("isthmus_link_reconnects_total{peer=\"us-east\"}")
        .await;
    assert!(reconnects.is_none_or(|count| count == 0.0), "{reconnects:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_continues_with_the_lag_of_the_last_one() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let (mut one, _other) = world.one_gateway_each();
    one.connected(US).await;
    let standby = world.gateway(EU, 2);
    world.cut();
    eu.put_numbered(0, 3).await;
    let lag = |status: &serde_json::Value| link(status, US)["lanes"][0]["lag_ms"].as_f64();
    standby
        .becomes("the leader's lag", |status| lag(status) > Some(4000.0))
        .await;
    one.kill();
    standby.leads().await;
    let shown = standby
        .becomes("a lane of its own", |status| {
            status["leading"] == true && link(status, US)["lanes"][0]["lag_proven"] == false
        })
        .await;
    assert!(lag(&shown) > Some(4000.0), "{shown}");
}
