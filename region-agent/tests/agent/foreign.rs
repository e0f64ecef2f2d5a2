//! What other regions' gateways append, and what nobody should append.

use bytes::Bytes;
use isthmus_log::Ports;
use isthmus_log::testing::until;
use isthmus_replication::body;
use isthmus_replication::cell::{CellId, ContentType, Digest, Field};
use isthmus_replication::change::{Change, Op};
use isthmus_replication::coordinates::{Anchor, Life, MessageId, Sequence, Shard, WriterId};
use isthmus_replication::fold::{Fold, MarkBody, SubjectToken};
use isthmus_replication::header::{
    BodySeal, Header, LifeLink, Lineage, MarkRecord, Range, Record, StageTimes,
};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::names::{BucketName, GroupName, Key, RegionName};
use isthmus_replication::seen::Seen;
use isthmus_replication::time::Wall;
use isthmus_replication::version::Version;
use serde_json::json;

use crate::support::{Agent, BOUND, Region, equal, header};

fn us_east() -> RegionName {
    RegionName::parse("us-east").unwrap()
}

fn group() -> GroupName {
    GroupName::parse("default").unwrap()
}

fn shard_of(key: &str) -> Shard {
    let bucket = BucketName::parse("carts").unwrap();
    Shard::of_key(&group(), 2, &bucket, &Key::parse(key).unwrap())
}

fn change(key: &str, value: &'static str, millis: u64) -> Change {
    Change {
        id: CellId {
            bucket: BucketName::parse("carts").unwrap(),
            key: Key::parse(key).unwrap(),
            field: Field::NONE,
        },
        version: Version {
            hlc: Hlc::at(Wall::from_millis(millis)),
            region: us_east(),
            writer: WriterId(9),
        },
        seen: Seen::default(),
        expires_at: None,
        op: Op::Put {
            value: Bytes::from_static(value.as_bytes()),
            content_type: ContentType::default(),
        },
        trace: None,
    }
}

/// A range of us-east's log, as a gateway appends it.
fn range(shard: &Shard, first: u64, through: u64, body: &Bytes) -> Header {
    let mut lineage = Lineage::default();
    let life = Life { number: 1, nonce: 7 };
    assert!(lineage.begin(LifeLink {
        life,
        parent: None,
        fork: Sequence::NONE
    }));
    Header {
        set: isthmus_replication::names::SetName::parse("shop").unwrap(),
        shard: shard.clone(),
        record: Record::Range(Range {
            origin: us_east(),
            lineage,
            previous: MessageId(if first == 1 { 0 } else { 999 + first }),
            first: Sequence(first),
            through: Anchor {
                sequence: Sequence(through),
                message_id: MessageId(1000 + through),
            },
            highest_stamp: Hlc::at(Wall::from_millis(through)),
            admission_floor: Hlc::ZERO,
        }),
        body: BodySeal::of(body, 1),
        stages: StageTimes::default(),
    }
}

async fn append(ports: &Ports, header: &Header, body: Bytes) {
    let token = SubjectToken::Origin(us_east());
    ports
        .log
        .append(&header.shard, &token, header, body)
        .await
        .await
        .unwrap();
}

async fn until_sequence(agent: &Agent, shard: &Shard, sequence: u64) {
    let partition = shard.partition as usize;
    agent
        .until_status("us-east's range is applied", |status| {
            status["shards"][partition]["applied"]["us-east"]["sequence"] == sequence
        })
        .await;
}

#[tokio::test]
async fn ranges_of_another_region_are_applied_once_in_order() {
    let region = Region::one_of_two();
    let (one, two) = (region.agent("agent-1").await, region.agent("agent-2").await);
    let (_connection, ports) = region.ports().await;
    let shard = shard_of("theirs");
    let first = body::encode(&us_east(), &[change("theirs", "one", 1_000)]);
    let second = body::encode(&us_east(), &[change("theirs", "two", 2_000)]);
    append(&ports, &range(&shard, 3, 4, &second), second.clone()).await;
    append(&ports, &range(&shard, 1, 2, &first), first.clone()).await;
    until_sequence(&one, &shard, 2).await;
    assert_eq!(
        one.value("carts/theirs").await.as_deref(),
        Some("one"),
        "a range that came too early is void"
    );
    append(&ports, &range(&shard, 3, 4, &second), second.clone()).await;
    append(&ports, &range(&shard, 3, 4, &second), second).await;
    until_sequence(&one, &shard, 4).await;
    let got = one.get("carts/theirs").await;
    assert_eq!(header(&got, "isthmus-origin"), "us-east");
    assert_eq!(got.text().await.unwrap(), "two");
    equal(&[&one, &two]).await;
    until("the last range is void", BOUND, || async {
        let metrics = one.metrics().await;
        metrics
            .contains("isthmus_voids_total{reason=\"not_next\"} 2")
            .then_some(())
    })
    .await;
    let metrics = one.metrics().await;
    assert!(
        metrics.contains("isthmus_applied_changes_total{origin=\"us-east\"} 2"),
        "{metrics}"
    );
}

#[tokio::test]
async fn unreadable_changes_are_reported_and_their_shard_continues() {
    let region = Region::one_of_two();
    let agent = region.agent("agent-1").await;
    let (_connection, ports) = region.ports().await;
    let shard = shard_of("theirs");
    let garbage = Bytes::from_static(b"\xff\xff no body \xff");
    append(&ports, &range(&shard, 1, 2, &garbage), garbage).await;
    let good = body::encode(&us_east(), &[change("theirs", "good", 1_000)]);
    append(
        &ports,
        &range(&shard, 3, 4, &good),
        Bytes::from_static(b"not what was sealed"),
    )
    .await;
    append(&ports, &range(&shard, 5, 6, &good), good).await;
    until_sequence(&agent, &shard, 6).await;
    assert_eq!(agent.value("carts/theirs").await.as_deref(), Some("good"));
    let event = agent.event("changes_missing").await;
    assert_eq!(event["fields"]["message_id"], json!(format!("{:016x}", 1002)));
    let status = agent.status().await;
    let needs_sync = &status["shards"][shard.partition as usize]["needs_sync"];
    assert_eq!(needs_sync[0]["origin"], "us-east");
    let metrics = agent.metrics().await;
    for label in ["undecodable", "broken_seal"] {
        assert!(
            metrics.contains(&format!("isthmus_unusable_bodies_total{{reason=\"{label}\"}} 1")),
            "{metrics}"
        );
    }
}

#[tokio::test]
async fn garbage_on_our_subjects_is_void_a_newer_kind_stops_the_shard() {
    let region = Region::one_of_two();
    let agent = region.agent("agent-1").await;
    let (_connection, ports) = region.ports().await;
    let (shard, other) = (shard_of("theirs"), shard_of("x"));
    assert_ne!(shard, other);
    let body = body::encode(&us_east(), &[change("theirs", "one", 1_000)]);
    let wrong_set = Header {
        set: isthmus_replication::names::SetName::parse("another").unwrap(),
        ..range(&shard, 1, 2, &body)
    };
    append(&ports, &wrong_set, body.clone()).await;
    append(&ports, &range(&shard, 1, 2, &body), body).await;
    until_sequence(&agent, &shard, 2).await;
    let metrics = agent.metrics().await;
    assert!(
        metrics.contains("isthmus_voids_total{reason=\"foreign\"} 1"),
        "{metrics}"
    );

    later_kind(&region, &other).await;
    agent.event("upgrade_needed").await;
    agent.not_ready("read", "upgrade").await;
    let refused = agent.get("carts/x").await;
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "upgrade_needed");
    assert_eq!(
        agent.value("carts/theirs").await.as_deref(),
        Some("one"),
        "the other shard goes on"
    );
}

/// Publishes a message of kind 70, which this version does not know, as a later agent would.
async fn later_kind(region: &Region, shard: &Shard) {
    use base64::Engine as _;
    use prost::Message as _;
    use tokio::io::AsyncWriteExt as _;
    let header = isthmus_replication::wire::Header {
        set: "shop".to_owned(),
        group: shard.group.to_string(),
        partition: shard.partition.into(),
        kind: 70,
        message_id: 77,
        ..Default::default()
    };
    let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(header.encode_to_vec());
    let subject = region.names().subject(shard, &SubjectToken::Agent);
    let headers = format!("NATS/1.0\r\nIsthmus-Header: {text}\r\n\r\n");
    let message = format!("HPUB {subject} {0} {0}\r\n{headers}\r\n", headers.len());
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", region.nats.port()))
        .await
        .unwrap();
    stream
        .write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n")
        .await
        .unwrap();
    stream.write_all(message.as_bytes()).await.unwrap();
    stream.write_all(b"PING\r\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("PONG") {
        tokio::io::AsyncReadExt::read_buf(&mut stream, &mut answer)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn agents_that_read_a_mark_of_another_store_notice_it() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;
    let shard = shard_of("a");
    assert_eq!(agent.put("carts/a", "here").await.status(), 200);
    let (_connection, ports) = region.ports().await;
    until("a mark of another store", BOUND, || async {
        let last = ports.log.bounds(&shard).await.ok()?.last;
        let described = ports.log.message_at(&shard, last).await.ok()??.anchor();
        let status = agent.status().await;
        let life = &status["shards"][usize::from(shard.partition)]["life"];
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let wall = Wall::from_micros(u64::try_from(now.ok()?.as_micros()).ok()?);
        let mark = MarkRecord {
            message_id: MessageId(wall.micros()),
            life: Life {
                number: life["number"].as_u64()?,
                nonce: u64::from_str_radix(life["nonce"].as_str()?, 16).ok()?,
            },
            writer: WriterId(9),
            hlc: Hlc::at(wall),
            described,
            agents: Vec::new(),
        };
        let body = MarkBody {
            wall,
            fold: Fold::new(ports.names.log(&shard)),
            digest: Digest(7),
            cells: 7,
        }
        .encode();
        let header = Header {
            record: Record::Mark(mark),
            body: BodySeal::of(&body, 0),
            ..range(&shard, 1, 2, &Bytes::new())
        };
        let appending = ports
            .log
            .append(&shard, &SubjectToken::Agent, &header, body)
            .await;
        appending.await.ok()?;
        let unready = agent.not_ready_now("read").await?;
        unready.contains("differs from another agent's").then_some(())
    })
    .await;
    let event = agent.event("agents_differ").await;
    assert_eq!(event["severity"], "alarm");
    agent.ready("read").await;
}
