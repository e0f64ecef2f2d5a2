//! `consistency=majority|all`, with the test itself as the gateway.

use std::time::{Duration, Instant};

use isthmus_log::Ports;
use isthmus_log::testing::until;
use isthmus_replication::coordinates::{Cursor, Life, MessageId, Position, Sequence, Shard};
use isthmus_replication::names::{BucketName, GroupName, Key, ProcessName, RegionName};
use isthmus_replication::peer::{PEER_CURSORS_INTERVAL, PeerCursor, PeerCursors};
use serde_json::{Value, json};
use tokio::time::interval;

use crate::support::{Agent, BOUND, Region, header};

/// How long a request waits if it names no timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

fn shard_of(key: &str) -> Shard {
    let group = GroupName::parse("default").unwrap();
    Shard::of_key(
        &group,
        2,
        &BucketName::parse("carts").unwrap(),
        &Key::parse(key).unwrap(),
    )
}

async fn tell(ports: &Ports, shard: &Shard, connected: bool, cursor: Option<Position>) {
    let cursors = PeerCursors {
        shard: shard.clone(),
        gateway: ProcessName::parse("gateway-1").unwrap(),
        peers: vec![PeerCursor {
            peer: RegionName::parse("us-east").unwrap(),
            connected,
            cursor: cursor.map(|position| Cursor {
                position,
                message_id: MessageId(1),
            }),
            applied: None,
            stuck: false,
        }],
    };
    ports
        .peers
        .publish(&PeerCursors::suffix(shard), cursors.encode())
        .await
        .unwrap();
}

/// The current life of a shard, and the last sequence that the agent has applied.
async fn head(agent: &Agent, shard: &Shard) -> Position {
    let status = agent.status().await;
    let shown = &status["shards"][shard.partition as usize];
    let nonce = shown["life"]["nonce"].as_str().unwrap();
    Position {
        life: Life {
            number: shown["life"]["number"].as_u64().unwrap(),
            nonce: u64::from_str_radix(nonce, 16).unwrap(),
        },
        sequence: Sequence(shown["sequence"].as_u64().unwrap()),
    }
}

/// Does `work` while the link to us-east is up. A gateway repeats its report: one that is sent
/// before the agent listens is lost, and one that is 2 s old does not count.
async fn while_linked<T>(ports: &Ports, shard: &Shard, work: impl Future<Output = T>) -> T {
    let telling = async {
        let mut ticks = interval(PEER_CURSORS_INTERVAL);
        loop {
            ticks.tick().await;
            tell(ports, shard, true, None).await;
        }
    };
    tokio::select! {
        () = telling => unreachable!("a gateway tells for ever"),
        done = work => done,
    }
}

async fn heard(agent: &Agent, shard: &Shard, connected: bool) {
    let partition = shard.partition as usize;
    agent
        .until_status("the agent hears of us-east", |status| {
            status["shards"][partition]["peers"]["us-east"]["connected"] == connected
        })
        .await;
}

#[tokio::test]
async fn a_region_alone_is_its_own_majority() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;
    for consistency in ["region", "majority", "all"] {
        let put = agent
            .put(&format!("carts/a?consistency={consistency}"), "x")
            .await;
        assert_eq!(put.status(), 200);
        let body: Value = put.json().await.unwrap();
        assert_eq!(body["regions"], json!(["eu-west"]));
    }
}

#[tokio::test]
async fn a_write_that_needs_a_cut_off_region_is_refused_unwritten() {
    let region = Region::one_of_two();
    let agent = region.agent("agent-1").await;
    let (_connection, ports) = region.ports().await;
    let shard = shard_of("a");
    for consistency in ["majority", "all"] {
        let refused = agent
            .put(&format!("carts/a?consistency={consistency}"), "x")
            .await;
        assert_eq!(refused.status(), 503);
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(
            (&problem["code"], &problem["unreachable"]),
            (&json!("regions_unreachable"), &json!(["us-east"]))
        );
    }
    tell(&ports, &shard, false, None).await;
    assert_eq!(agent.put("carts/a?consistency=all", "x").await.status(), 503);
    let never = agent.get("carts/a").await;
    assert_eq!(
        (never.status().as_u16(), header(&never, "isthmus-version")),
        (404, String::new())
    );
}

#[tokio::test]
async fn regions_that_do_and_do_not_confirm_in_time_are_named() {
    let region = Region::one_of_two();
    let agent = region.agent("agent-1").await;
    let (_connection, ports) = region.ports().await;
    let shard = shard_of("a");
    let unconfirmed = while_linked(&ports, &shard, async {
        heard(&agent, &shard, true).await;
        let begun = Instant::now();
        let unconfirmed = agent.put("carts/a?consistency=all&timeout=700ms", "one").await;
        assert!(begun.elapsed() < DEFAULT_TIMEOUT, "{:?}", begun.elapsed());
        unconfirmed
    })
    .await;
    assert_eq!(unconfirmed.status(), 504);
    let problem: Value = unconfirmed.json().await.unwrap();
    assert_eq!(problem["code"], "regions_unconfirmed");
    assert_eq!(
        (&problem["regions"], &problem["missing"]),
        (&json!(["eu-west"]), &json!(["us-east"]))
    );
    assert_eq!(
        agent.value("carts/a").await.as_deref(),
        Some("one"),
        "what is written stays"
    );

    let confirm = async {
        until("the write is read back, then confirmed", BOUND, || async {
            let value = agent.value("carts/a").await;
            let at = head(&agent, &shard).await;
            tell(&ports, &shard, true, Some(at)).await;
            (value.as_deref() == Some("two")).then_some(())
        })
        .await;
    };
    let (put, ()) = tokio::join!(agent.put("carts/a?consistency=all&timeout=20s", "two"), confirm);
    assert_eq!(put.status(), 200);
    let body: Value = put.json().await.unwrap();
    assert_eq!(body["regions"], json!(["eu-west", "us-east"]));

    tell(&ports, &shard, false, None).await;
    heard(&agent, &shard, false).await;
    assert_eq!(
        agent.put("carts/a?consistency=majority", "three").await.status(),
        503
    );
    assert_eq!(agent.value("carts/a").await.as_deref(), Some("two"));
}
