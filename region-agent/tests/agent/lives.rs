//! A log whose tail was lost: the NATS server's folder is restored to an earlier state.

use isthmus_log::testing::until;
use isthmus_log::{PeerError, Ports};
use isthmus_replication::coordinates::{Anchor, Cursor, Life, MessageId, Position, Sequence, Shard};
use isthmus_replication::fold::Fold;
use isthmus_replication::header::{LifeLink, Lineage};
use isthmus_replication::names::{GroupName, ProcessName, RegionName};
use isthmus_replication::peer::PeerDoubt;
use serde_json::Value;

use crate::support::{Agent, BOUND, Region, equal};

pub(crate) fn life(status: &Value, shard: usize) -> u64 {
    status["shards"][shard]["life"]["number"].as_u64().unwrap_or(0)
}

pub(crate) fn all_in_life(status: &Value, number: u64) -> bool {
    (0..2).all(|shard| life(status, shard) == number && status["shards"][shard]["phase"] == "serving")
}

/// Writes, and repeats a write while NATS is coming back.
pub(crate) async fn write_all(agent: &Agent, prefix: &str) {
    for n in 0..40 {
        let key = format!("carts/{prefix}-{n}");
        until("the write is acknowledged", BOUND, || async {
            (agent.put(&key, n.to_string()).await.status() == 200).then_some(())
        })
        .await;
    }
}

pub(crate) async fn read_all(agent: &Agent, prefix: &str) {
    for n in 0..40 {
        assert_eq!(
            agent.value(&format!("carts/{prefix}-{n}")).await,
            Some(n.to_string()),
            "{prefix}-{n}"
        );
    }
}

#[tokio::test]
async fn scenario_15_a_lost_tail_begins_a_new_life() {
    let mut region = Region::alone();
    let (one, two) = (region.agent("agent-1").await, region.agent("agent-2").await);
    write_all(&one, "kept").await;
    one.until_status("a mark was read", |status| {
        status["shards"][0]["sequence"].as_u64().unwrap_or(0) > 10
    })
    .await;
    equal(&[&one, &two]).await;
    let backup = region.nats.back_up();
    one.ready("write").await;
    two.ready("write").await;
    write_all(&one, "lost").await;
    write_all(&two, "lost-too").await;
    assert_eq!(one.delete("carts/kept-7").await.status(), 200);
    equal(&[&one, &two]).await;
    region.nats.put_back(&backup);

    for agent in [&one, &two] {
        agent.event("new_life").await;
        agent
            .until_status("life 2 serves", |status| all_in_life(status, 2))
            .await;
        agent.ready("write").await;
    }
    for agent in [&one, &two] {
        read_all(agent, "lost").await;
        read_all(agent, "lost-too").await;
        assert_eq!(agent.value("carts/kept-7").await, None);
    }
    write_all(&two, "after").await;
    equal(&[&one, &two]).await;
    let fresh = region.agent("agent-3").await;
    equal(&[&one, &two, &fresh]).await;
    read_all(&fresh, "lost").await;
    read_all(&fresh, "after").await;
}

#[tokio::test]
async fn losing_a_lifes_own_record_begins_the_next_life() {
    let mut region = Region::alone();
    let (one, two) = (region.agent("agent-1").await, region.agent("agent-2").await);
    write_all(&one, "kept").await;
    let backup = region.nats.back_up();
    for (number, prefix) in [(2, "first"), (3, "second")] {
        write_all(&two, prefix).await;
        equal(&[&one, &two]).await;
        region.nats.put_back(&backup);
        for agent in [&one, &two] {
            agent
                .until_status("the next life serves", |status| all_in_life(status, number))
                .await;
            agent.ready("write").await;
            read_all(agent, prefix).await;
        }
    }
    let (_connection, ports) = region.ports().await;
    assert_eq!(
        lives_of(&ports).await,
        [1, 2, 3],
        "peers that stand in the second life find it"
    );
}

#[tokio::test]
async fn scenario_15_an_agent_notices_at_start_a_tail_lost_meanwhile() {
    let mut region = Region::alone();
    let mut agent = region.agent("agent-1").await;
    write_all(&agent, "kept").await;
    let backup = region.nats.back_up();
    agent.ready("write").await;
    write_all(&agent, "lost").await;
    agent.signal("-TERM");
    assert_eq!(agent.ended().await, Some(0));
    region.nats.put_back(&backup);
    agent.start_again();
    agent
        .until_status("life 2 serves", |status| all_in_life(status, 2))
        .await;
    read_all(&agent, "kept").await;
    read_all(&agent, "lost").await;
    agent.ready("write").await;
    let fresh = region.agent("agent-2").await;
    equal(&[&agent, &fresh]).await;
    read_all(&fresh, "lost").await;
}

#[tokio::test]
async fn an_agent_that_was_down_when_the_life_began_joins_it() {
    let mut region = Region::alone();
    let (mut down, up) = (region.agent("agent-1").await, region.agent("agent-2").await);
    write_all(&up, "kept").await;
    let backup = region.nats.back_up();
    write_all(&up, "lost").await;
    equal(&[&down, &up]).await;
    down.signal("-TERM");
    assert_eq!(down.ended().await, Some(0));
    region.nats.put_back(&backup);
    up.until_status("life 2 serves", |status| all_in_life(status, 2))
        .await;
    write_all(&up, "after").await;
    down.start_again();
    down.ready("write").await;
    equal(&[&down, &up]).await;
    assert!(
        all_in_life(&down.status().await, 2),
        "one lost tail, one new life"
    );
    for prefix in ["kept", "lost", "after"] {
        read_all(&down, prefix).await;
    }
}

#[tokio::test]
async fn a_log_trimmed_beyond_a_checkpoint_reports_that_it_needs_sync() {
    let region = Region::alone();
    let mut agent = region.agent("agent-1").await;
    let keeper = region.agent("agent-2").await;
    write_all(&agent, "kept").await;
    agent.kill();
    write_all(&keeper, "after").await;
    let (_connection, ports) = region.ports().await;
    for partition in 0..2 {
        let shard = shard(partition);
        let last = ports.log.bounds(&shard).await.unwrap().last;
        ports.log.purge(&shard, last).await.unwrap();
    }
    agent.start_again();
    agent.event("needs_sync").await;
    agent.not_ready("read", "needs sync").await;
    agent
        .until_status("the first shard needs a sync", |status| {
            status["shards"][0]["needs_sync"][0]["origin"] == "eu-west"
        })
        .await;
    let refused = agent.get("carts/kept-1").await;
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "not_ready");
    read_all(&keeper, "kept").await;
}

/// The numbers of the lives of the first shard's log.
pub(crate) async fn lives_of(ports: &Ports) -> Vec<u64> {
    let mut fold = Fold::new(ports.names.log(&shard(0)));
    let last = ports.log.bounds(&shard(0)).await.unwrap().last;
    let mut reader = ports.log.reader(&shard(0), Anchor::default());
    while fold.at().sequence < last {
        fold.apply(reader.next().await.unwrap().as_message()).unwrap();
    }
    let links = fold.lineage().links().iter();
    links.map(|link| link.life.number).collect()
}

fn shard(partition: u16) -> Shard {
    Shard {
        group: GroupName::parse("default").unwrap(),
        partition,
    }
}

/// What the log has at `sequence`, as a peer in the log's first life has it.
pub(crate) async fn cursor(ports: &Ports, status: &Value, sequence: u64) -> Cursor {
    let message = ports.log.message_at(&shard(0), Sequence(sequence)).await.unwrap();
    let life = &status["shards"][0]["life"];
    Cursor {
        position: Position {
            life: isthmus_replication::coordinates::Life {
                number: life["number"].as_u64().unwrap(),
                nonce: u64::from_str_radix(life["nonce"].as_str().unwrap(), 16).unwrap(),
            },
            sequence: Sequence(sequence),
        },
        message_id: message.unwrap().message_id(),
    }
}

pub(crate) async fn tell_doubt(ports: &Ports, cursor: Cursor, landmarks: Vec<Cursor>, lineage: Lineage) {
    let event = try_to_tell_doubt(ports, cursor, landmarks, lineage);
    event.await.unwrap();
}

pub(crate) async fn try_to_tell_doubt(
    ports: &Ports,
    cursor: Cursor,
    landmarks: Vec<Cursor>,
    lineage: Lineage,
) -> Result<(), PeerError> {
    let doubt = PeerDoubt {
        shard: shard(0),
        gateway: ProcessName::parse("gateway-1").unwrap(),
        peer: RegionName::parse("us-east").unwrap(),
        cursor,
        landmarks,
        lineage,
    };
    let suffix = PeerDoubt::suffix(&doubt.shard);
    ports.peers.publish(&suffix, doubt.encode()).await
}

#[tokio::test]
async fn scenario_34_a_peers_tail_begins_a_new_life_where_logs_part() {
    let region = Region::alone();
    let (one, two) = (region.agent("agent-1").await, region.agent("agent-2").await);
    write_all(&one, "kept").await;
    equal(&[&one, &two]).await;
    let status = one
        .until_status("some messages were read", |status| {
            status["shards"][0]["sequence"].as_u64().unwrap_or(0) > 12
        })
        .await;
    let (_connection, ports) = region.ports().await;
    let (shared, there) = (
        cursor(&ports, &status, 7).await,
        cursor(&ports, &status, 10).await,
    );
    let elsewhere = |cursor: Cursor| Cursor {
        message_id: MessageId(cursor.message_id.0 ^ 1),
        ..cursor
    };

    tell_doubt(&ports, there, vec![shared], Lineage::default()).await;
    let nowhere = elsewhere(cursor(&ports, &status, 9).await);
    until("the doubt is heard", BOUND, || async {
        tell_doubt(
            &ports,
            elsewhere(there),
            vec![nowhere, shared],
            Lineage::default(),
        )
        .await;
        (life(&one.status().await, 0) == 2).then_some(())
    })
    .await;
    // The other agent may have read of the new life before it checked.
    let event = tokio::select! {
        event = one.event("tail_held_by_peer") => event,
        event = two.event("tail_held_by_peer") => event,
    };
    assert_eq!(event["fields"]["peer"], "us-east");
    assert_eq!(event["fields"]["through"], 10);
    for agent in [&one, &two] {
        assert_eq!(agent.event("new_life").await["fields"]["fork"], 7);
        agent
            .until_status("life 2 serves", |status| {
                life(status, 0) == 2 && status["shards"][0]["phase"] == "serving"
            })
            .await;
    }
    read_all(&one, "kept").await;
    write_all(&two, "after").await;
    equal(&[&one, &two]).await;

    tell_doubt(&ports, elsewhere(there), vec![shared], Lineage::default()).await;
    write_all(&two, "settled").await;
    assert_eq!(
        life(&one.status().await, 0),
        2,
        "a loss that is settled begins no life"
    );
}

#[tokio::test]
async fn lives_that_only_a_peer_knows_begin_again_before_the_next() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;
    write_all(&agent, "kept").await;
    let status = agent
        .until_status("some messages were read", |status| {
            status["shards"][0]["sequence"].as_u64().unwrap_or(0) > 12
        })
        .await;
    let (_connection, ports) = region.ports().await;
    let shared = cursor(&ports, &status, 7).await;
    let first = shared.position.life;
    let life = |number| Life { number, nonce: 42 };
    let lineage = |number| {
        let mut lineage = Lineage::default();
        for (life, parent, fork) in [(first, None, 0), (life(number), Some(first), 5)] {
            let fork = Sequence(fork);
            assert!(lineage.begin(LifeLink { life, parent, fork }));
        }
        lineage
    };
    let in_life = |number| Cursor {
        position: Position {
            life: life(number),
            sequence: Sequence(500),
        },
        message_id: MessageId(1),
    };
    tell_doubt(&ports, in_life(u64::MAX), vec![shared], lineage(u64::MAX)).await;
    tell_doubt(&ports, in_life(2), vec![shared], Lineage::default()).await;
    until("the doubt is heard", BOUND, || async {
        tell_doubt(&ports, in_life(2), vec![shared], lineage(2)).await;
        (self::life(&agent.status().await, 0) == 3).then_some(())
    })
    .await;
    agent.ready("write").await;
    assert_eq!(lives_of(&ports).await, [1, 2, 3]);
    read_all(&agent, "kept").await;
}
