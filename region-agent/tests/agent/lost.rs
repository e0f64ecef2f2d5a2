//! Logs that lost more than their agents: what agents still have is given back, and what no agent
//! has is reported.

use std::time::Duration;

use isthmus_log::testing::until;
use isthmus_replication::coordinates::{Cursor, Life, MessageId, Position, Sequence};
use isthmus_replication::header::{LifeLink, Lineage};
use serde_json::Value;
use tokio::time::interval;

use crate::lives::{all_in_life, cursor, life, lives_of, read_all, tell_doubt, try_to_tell_doubt, write_all};
use crate::support::{BOUND, Region, equal};

/// Stopped agents have a tail that the log has lost, and a peer that has a part of it reports that
/// before they have checked themselves. It does not matter which of them is first.
#[tokio::test]
async fn scenario_34_agents_give_back_what_they_hold_under_a_doubt() {
    let mut region = Region::alone();
    let (one, two) = (region.agent("agent-1").await, region.agent("agent-2").await);
    write_all(&one, "kept").await;
    equal(&[&one, &two]).await;
    for round in 0..3 {
        let backup = region.nats.back_up();
        let before = one.status().await["shards"][0]["sequence"].as_u64().unwrap();
        let (_connection, ports) = region.ports().await;
        let landmark = cursor(&ports, &one.status().await, before).await;
        write_all(&one, &format!("forwarded-{round}")).await;
        let status = one.status().await;
        let end = status["shards"][0]["sequence"].as_u64().unwrap();
        let peers = cursor(&ports, &status, end).await;
        write_all(&two, &format!("held-{round}")).await;
        equal(&[&one, &two]).await;
        let number = life(&status, 0);
        for agent in [&one, &two] {
            agent.signal("-STOP");
        }
        region.nats.put_back(&backup);
        let doubt = || try_to_tell_doubt(&ports, peers, vec![landmark], Lineage::default());
        until("NATS takes doubts", BOUND, || async { doubt().await.ok() }).await;
        // An agent subscribes at the moment when it connects, and queries its log after that.
        let repeat_doubt = async {
            let mut ticks = interval(Duration::from_millis(1));
            loop {
                ticks.tick().await;
                let _ = doubt().await;
            }
        };
        let begun = async {
            for agent in [&one, &two] {
                agent.signal("-CONT");
            }
            until("a new life", BOUND, || async {
                (life(&one.status().await, 0) > number).then_some(())
            })
            .await;
        };
        tokio::select! {
            () = begun => {}
            () = repeat_doubt => {}
        }
        for agent in [&one, &two] {
            agent.ready("write").await;
        }
        let fresh = region.agent(&format!("fresh-{round}")).await;
        equal(&[&one, &two, &fresh]).await;
        read_all(&fresh, &format!("forwarded-{round}")).await;
        read_all(&fresh, &format!("held-{round}")).await;
    }
}

#[tokio::test]
async fn scenario_15_an_emptied_log_gets_back_what_its_agents_hold() {
    let mut region = Region::alone();
    let empty = region.nats.back_up();
    let (one, two) = (region.agent("agent-1").await, region.agent("agent-2").await);
    write_all(&one, "one").await;
    write_all(&two, "two").await;
    assert_eq!(one.delete("carts/two-3").await.status(), 200);
    equal(&[&one, &two]).await;
    let last = one.status().await["shards"][0]["sequence"].as_u64().unwrap();
    region.nats.put_back(&empty);
    for agent in [&one, &two] {
        let served = |status: &Value| {
            all_in_life(status, 2) && status["shards"][0]["needs_sync"] == Value::Array(Vec::new())
        };
        let status = agent.until_status("the next life serves", served).await;
        assert!(status["shards"][0]["sequence"].as_u64().unwrap() < last);
        agent.ready("write").await;
        agent.ready("read").await;
    }
    let (_connection, ports) = region.ports().await;
    assert_eq!(
        lives_of(&ports).await,
        [1, 2],
        "peers find the life that they know"
    );
    write_all(&one, "after").await;
    let fresh = region.agent("agent-3").await;
    equal(&[&one, &two, &fresh]).await;
    for prefix in ["one", "after"] {
        read_all(&fresh, prefix).await;
    }
    assert_eq!(fresh.value("carts/two-3").await, None);
    assert_eq!(fresh.value("carts/two-4").await.as_deref(), Some("4"));
}

/// A region without its log and without its agents' stores: only other regions have what it had
/// before.
#[tokio::test]
async fn a_recreated_log_with_empty_stores_refuses_until_a_sync() {
    let region = Region::alone();
    let mut agent = region.agent("agent-1").await;
    write_all(&agent, "anew").await;
    let (_connection, ports) = region.ports().await;
    let known = Life { number: 5, nonce: 42 };
    let mut lineage = Lineage::default();
    let first = Life { number: 4, nonce: 41 };
    for (life, parent) in [(first, None), (known, Some(first))] {
        let fork = Sequence::NONE;
        assert!(lineage.begin(LifeLink { life, parent, fork }));
    }
    let held = Cursor {
        position: Position {
            life: known,
            sequence: Sequence(500),
        },
        message_id: MessageId(1),
    };
    until("the doubt is heard", BOUND, || async {
        tell_doubt(&ports, held, Vec::new(), lineage.clone()).await;
        (life(&agent.status().await, 0) == 6).then_some(())
    })
    .await;
    assert_eq!(agent.event("log_made_anew").await["fields"]["peer"], "us-east");
    for start in 0..2 {
        let needs = |status: &Value| status["shards"][0]["phase"] == "needs_sync";
        let status = agent.until_status("it needs a sync", needs).await;
        assert_eq!(status["shards"][0]["needs_sync"][0]["origin"], "eu-west");
        agent.not_ready("read", "created again").await;
        let mut refused = 0;
        for n in 0..40 {
            let (put, get) = (
                agent.put(&format!("carts/{n}"), "x").await.status(),
                agent.get(&format!("carts/{n}")).await.status(),
            );
            refused += u32::from(put == 503 && get == 503);
        }
        assert!(refused > 0, "the shard of half of the keys refuses");
        if start == 0 {
            agent.kill();
            agent.start_again();
        }
    }
    assert_eq!(
        lives_of(&ports).await,
        [1, 6],
        "what is written here leaves the region: its life is above the one that peers know"
    );
}
