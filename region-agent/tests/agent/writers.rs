//! Writers that are gone: what they had sent arrives late, and what they had stored is cloned.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use isthmus_log::Ports;
use isthmus_log::testing::until;
use isthmus_replication::body;
use isthmus_replication::cell::{CellId, ContentType, Field};
use isthmus_replication::change::{Change, Op};
use isthmus_replication::coordinates::{MessageId, Shard, WriterId};
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::header::{BodySeal, Header, Local, Record, StageTimes};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::names::{BucketName, GroupName, Key};
use isthmus_replication::seen::Seen;
use isthmus_replication::time::Wall;
use isthmus_replication::version::Version;

use crate::support::{BOUND, Region, equal, header};

fn stamped(ago: Duration) -> Hlc {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - ago;
    Hlc::at(Wall::from_millis(millis.as_millis() as u64))
}

/// Appends what a writer that is gone had sent for `carts/<key>` under `stamp`, with its own
/// message id.
async fn lands_late(region: &Region, ports: &Ports, key: &str, id: u64, stamp: Hlc) {
    let names = region.names();
    let (bucket, writer) = (BucketName::parse("carts").unwrap(), WriterId(0xdead));
    let key = Key::parse(key).unwrap();
    let shard = Shard::of_key(&GroupName::parse("default").unwrap(), 2, &bucket, &key);
    let change = Change {
        id: CellId {
            bucket,
            key,
            field: Field::NONE,
        },
        version: Version {
            hlc: stamp,
            region: names.region.clone(),
            writer,
        },
        seen: Seen::default(),
        expires_at: None,
        op: Op::Put {
            value: Bytes::from_static(b"late"),
            content_type: ContentType::default(),
        },
        trace: None,
    };
    let body = body::encode(&names.region, &[change]);
    let header = Header {
        set: names.set.clone(),
        shard: shard.clone(),
        record: Record::Batch(Local {
            message_id: MessageId(id),
            writer,
            lowest_stamp: stamp,
            highest_stamp: stamp,
        }),
        body: BodySeal::of(&body, 1),
        stages: StageTimes::default(),
    };
    let token = SubjectToken::Origin(names.region.clone());
    ports
        .log
        .append(&shard, &token, &header, body)
        .await
        .await
        .unwrap();
}

#[tokio::test]
async fn scenario_40_a_dead_writers_publish_counts_for_all_or_none() {
    let region = Region::alone();
    let (mut one, two) = (region.agent("agent-1").await, region.agent("agent-2").await);
    assert_eq!(one.put("carts/minutes", "kept").await.status(), 200);
    assert_eq!(one.put("carts/moments", "older").await.status(), 200);
    one.kill();
    one.start_again();
    one.ready("write").await;
    for key in ["carts/minutes", "carts/moments"] {
        assert!(one.value(key).await.is_some());
    }
    let (_connection, ports) = region.ports().await;
    lands_late(&region, &ports, "minutes", 1, stamped(Duration::from_secs(180))).await;
    let fresh = stamped(Duration::ZERO);
    lands_late(&region, &ports, "moments", 2, fresh).await;
    lands_late(&region, &ports, "moments", 2, fresh).await;
    for agent in [&one, &two] {
        until("what is fresh is applied", BOUND, || async {
            (agent.value("carts/moments").await.as_deref() == Some("late")).then_some(())
        })
        .await;
        assert_eq!(agent.value("carts/minutes").await.as_deref(), Some("kept"));
        let void = |reason: &'static str| async move {
            let sample = format!("isthmus_voids_total{{reason=\"{reason}\"}} ");
            until("it is void", BOUND, || async {
                agent.metrics().await.contains(&sample).then_some(())
            })
            .await;
        };
        void("too_late").await;
        void("repeated").await;
    }
    assert_eq!(two.put("carts/minutes", "new").await.status(), 200);
    equal(&[&one, &two]).await;
}

#[tokio::test]
async fn scenario_40_a_cloned_data_folder_starts_as_another_writer() {
    let region = Region::alone();
    let mut one = region.agent("agent-1").await;
    for n in 0..20 {
        assert_eq!(one.put(&format!("carts/{n}"), "before").await.status(), 200);
    }
    one.signal("-TERM");
    assert_eq!(one.ended().await, Some(0));
    let data = region.folder.path().join("data");
    std::fs::create_dir_all(data.join("agent-2")).unwrap();
    for entry in std::fs::read_dir(data.join("agent-1")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), data.join("agent-2").join(entry.file_name())).unwrap();
    }
    one.start_again();
    one.ready("write").await;
    let two = region.agent("agent-2").await;
    let log = std::fs::read_to_string(region.folder.path().join("agent-2.log")).unwrap();
    assert!(log.contains("loaded a checkpoint"), "{log}");
    let mut writers = Vec::new();
    for (n, agent) in [&one, &two, &one, &two].into_iter().enumerate() {
        let answer = agent.put("carts/same", n.to_string()).await;
        assert_eq!(answer.status(), 200);
        let version = header(&answer, "isthmus-version");
        let (_, writer) = version.rsplit_once('-').unwrap();
        writers.push(writer.to_owned());
    }
    assert!(writers[0] == writers[2] && writers[1] == writers[3] && writers[0] != writers[1]);
    equal(&[&one, &two]).await;
    assert_eq!(one.value("carts/same").await.as_deref(), Some("3"));
}
