//! What only the implementation on NATS can show: servers that stop and restart, and stores that
//! lose their tail.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use common::*;
use isthmus_log::nats::Readers;
use isthmus_log::testing::{NatsServer, free_port};
use isthmus_log::{
    EnsureError, LeaseEvent, LeaseName, LogSettings, PeerError, Ports, ReadError, Revision,
    newest_mark_describing,
};
use isthmus_replication::coordinates::{Anchor, MessageId, Sequence};
use isthmus_replication::header::HeaderError;
use isthmus_replication::names::ProcessName;
use tokio::sync::watch;

/// A client with the operator's rights, beside the ports.
async fn operator(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

async fn consumers(region: &OnNats) -> Vec<String> {
    use futures::TryStreamExt as _;
    let context = operator(&region.server).await;
    let stream = context
        .get_stream(region.ports().names.stream(&shard()))
        .await
        .unwrap();
    stream.consumer_names().try_collect().await.unwrap()
}

async fn started() -> (OnNats, Ports) {
    let region = OnNats::start().await;
    let ports = region.ports();
    ports.log.ensure(&shard(), &settings()).await.unwrap();
    (region, ports)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_later_is_awaited() {
    let port = free_port();
    let connection = open(vec![format!("nats://127.0.0.1:{port}")]).await;
    let ports = connection.ports();
    let stream = ports.names.stream(&shard());
    let body = Bytes::new();
    let answer = ports
        .log
        .append(&shard(), &own(), &batch(1, &body), body)
        .await
        .await;
    assert_eq!(
        answer,
        Err(isthmus_log::AppendError::Unanswered {
            stream: stream.clone()
        })
    );
    assert_eq!(
        ports.log.bounds(&shard()).await,
        Err(isthmus_log::LogError::Unanswered { stream })
    );
    assert_eq!(ports.peers.publish("x", Bytes::new()).await, Err(PeerError::Away));
    assert_eq!(
        ports.leases.get(&LeaseName::leader()).await,
        Err(isthmus_log::LeaseError::Unanswered)
    );

    let _server = NatsServer::start_at(port);
    let state = within("connected", connection.connected()).await;
    assert_eq!((state.connected, state.epoch), (true, 1));
    ports.log.ensure(&shard(), &settings()).await.unwrap();
    append(&ports, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_19_readers_and_appends_survive_a_server_restart() {
    let (mut region, ports) = started().await;
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    append(&ports, 1).await;
    assert_eq!(ids(&read(&mut reader, 1).await), [1]);
    for (round, kill) in [(2, false), (3, true)] {
        if kill {
            region.server.kill();
        } else {
            region.server.stop();
        }
        region.server.start_again();
        append_at_last(&ports, round).await;
        assert_eq!(ids(&read(&mut reader, 1).await), [round]);
    }
    assert!(reader.counts().opened() >= 3);
    assert_eq!(region.connection.state().borrow().epoch, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_19_a_reader_whose_consumer_is_deleted_makes_another() {
    let (region, ports) = started().await;
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    append(&ports, 1).await;
    assert_eq!(ids(&read(&mut reader, 1).await), [1]);
    let context = operator(&region.server).await;
    let stream = context.get_stream(ports.names.stream(&shard())).await.unwrap();
    let names = consumers(&region).await;
    assert_eq!(names.len(), 1);
    assert!(stream.delete_consumer(&names[0]).await.unwrap().success);
    append(&ports, 2).await;
    assert_eq!(ids(&read(&mut reader, 1).await), [2]);
    assert_eq!(reader.counts().opened(), 2);
}

/// A paused consumer delivers nothing while the server continues to send heartbeats.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_stalls_is_noticed_by_the_watchdog() {
    let (region, ports) = started().await;
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    append(&ports, 1).await;
    assert_eq!(ids(&read(&mut reader, 1).await), [1]);
    let context = operator(&region.server).await;
    let stream = context.get_stream(ports.names.stream(&shard())).await.unwrap();
    let far = async_nats::datetime::parse_rfc3339("2100-01-01T00:00:00Z").unwrap();
    let paused = stream
        .pause_consumer(&consumers(&region).await[0], far)
        .await
        .unwrap();
    assert!(paused.paused);
    append(&ports, 2).await;
    assert_eq!(ids(&read(&mut reader, 1).await), [2]);
    assert_eq!(reader.counts().stalled(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_34_a_restored_store_is_noticed_short_or_regrown() {
    let (mut region, ports) = started().await;
    for id in 1..=5 {
        append(&ports, id).await;
    }
    let backup = region.server.back_up();
    append_at_last(&ports, 6).await;
    for id in 7..=10 {
        append(&ports, id).await;
    }
    let mut behind = ports.log.reader(&shard(), Anchor::default());
    let anchors: Vec<Anchor> = read(&mut behind, 10)
        .await
        .iter()
        .map(|message| message.anchor())
        .collect();
    let mut at_five = ports.log.reader(&shard(), anchors[4]);
    read(&mut at_five, 1).await;

    region.server.put_back(&backup);
    let noticed = within("a reader notices", behind.next()).await.unwrap_err();
    let ReadError::LifeSuspected(shorter) = noticed else {
        panic!("{noticed}");
    };
    assert_eq!(
        (shorter.anchor, shorter.found, shorter.last),
        (anchors[9], None, Sequence(5))
    );

    append_at_last(&ports, 106).await;
    for id in 107..=112 {
        append(&ports, id).await;
    }
    let ended = within("a reader notices", ports.log.reader(&shard(), anchors[9]).next())
        .await
        .unwrap_err();
    let ReadError::LifeSuspected(grown) = ended else {
        panic!("{ended}");
    };
    assert_eq!((grown.anchor, grown.found), (anchors[9], Some(MessageId(110))));
    let mut kept = ports.log.reader(&shard(), anchors[4]);
    assert_eq!(ids(&read(&mut kept, 1).await), [106]);
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_19_readers_of_a_lost_stream_end_after_three_answers() {
    let (region, ports) = started().await;
    append(&ports, 1).await;
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    read(&mut reader, 1).await;
    let stream = ports.names.stream(&shard());
    operator(&region.server)
        .await
        .delete_stream(&stream)
        .await
        .unwrap();
    let deleted = tokio::time::Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(60), reader.next())
        .await
        .unwrap();
    assert_eq!(ended, Err(ReadError::Missing { stream }));
    assert!(deleted.elapsed() >= Duration::from_secs(20));
}

/// Only somebody with rights that no Isthmus process has can create such a log.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_in_the_log_ends_its_readers() {
    let region = OnNats::start().await;
    let ports = region.ports();
    let config = Config {
        name: ports.names.stream(&shard()),
        subjects: vec![ports.names.subjects(&shard())],
        ..Config::default()
    };
    let stream = operator(&region.server)
        .await
        .create_stream(config)
        .await
        .unwrap();
    for id in 1..=3 {
        append(&ports, id).await;
    }
    stream.delete_message(2).await.unwrap();
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    assert_eq!(ids(&read(&mut reader, 1).await), [1]);
    let gone = ReadError::Gone {
        wanted: Sequence(2),
        first: Sequence(3),
    };
    assert_eq!(within("the reader ends", reader.next()).await, Err(gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_ours_is_read_as_malformed() {
    let (region, ports) = started().await;
    let context = operator(&region.server).await;
    let subject = ports.names.subjects(&shard());
    for (token, headers) in [
        ("eu-west", None),
        ("eu-west", Some("%%%")),
        ("NOT-OURS", Some("AAAA")),
    ] {
        let mut map = async_nats::HeaderMap::new();
        if let Some(value) = headers {
            map.insert("Isthmus-Header", value);
        }
        let subject = subject.replace('*', token);
        context
            .publish_with_headers(subject, map, Bytes::new())
            .await
            .unwrap()
            .await
            .unwrap();
    }
    append(&ports, 4).await;
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    let messages = read(&mut reader, 4).await;
    for message in &messages[..3] {
        assert!(
            matches!(message.header, Err(HeaderError::Malformed(_))),
            "{message:?}"
        );
        assert_eq!(message.message_id(), MessageId(0));
        let mut after = ports.log.reader(&shard(), message.anchor());
        assert_eq!(read(&mut after, 1).await[0].sequence, message.sequence.next());
    }
    assert_eq!(
        (messages[0].token.clone(), messages[2].token.clone()),
        (Some(own()), None)
    );
    assert_eq!(
        newest_mark_describing(ports.log.as_ref(), &shard(), Sequence(9)).await,
        Ok(None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_made_as_designed_and_a_different_one_refused() {
    let (region, ports) = started().await;
    let context = operator(&region.server).await;
    let mut stream = context.get_stream(ports.names.stream(&shard())).await.unwrap();
    let made = stream.info().await.unwrap().config.clone();
    assert!(made.deny_delete && !made.deny_purge && !made.allow_direct && !made.allow_rollup);
    assert_eq!(
        (made.max_age, made.num_replicas, made.subjects.len()),
        (Duration::ZERO, 1, 1)
    );

    for (setting, config) in [
        (
            "max_age",
            Config {
                max_age: Duration::from_secs(3600),
                ..made.clone()
            },
        ),
        (
            "allow_direct",
            Config {
                allow_direct: true,
                ..made.clone()
            },
        ),
        (
            "max_msgs",
            Config {
                max_messages: 10,
                ..made.clone()
            },
        ),
    ] {
        context.update_stream(config).await.unwrap();
        let Err(EnsureError::Differs { difference, .. }) = ports.log.ensure(&shard(), &settings()).await
        else {
            panic!("another {setting} went unnoticed");
        };
        assert_eq!(difference.setting, setting);
        context.update_stream(made.clone()).await.unwrap();
    }
    ports.log.ensure(&shard(), &settings()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_19_a_log_larger_than_storage_is_refused_with_a_fix() {
    let server = NatsServer::start_with(&isthmus_log::testing::NatsServerSettings {
        jetstream: "max_file_store: 8MB".to_owned(),
        ..Default::default()
    });
    let ports = connect(vec![server.url()]).await.ports();
    let refused = ports.log.ensure(&shard(), &settings()).await.unwrap_err();
    assert!(matches!(refused, EnsureError::NoStorage { .. }), "{refused}");
    assert!(refused.to_string().contains("max_file_store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_a_lease_watch_begins_with_a_snapshot() {
    let (mut region, ports) = started().await;
    ports.leases.ensure(true, 1).await.unwrap();
    let mut watch = ports.leases.watch();
    assert_eq!(
        within("a snapshot", watch.next()).await,
        Some(LeaseEvent::Snapshot(Vec::new()))
    );
    let long = Duration::from_secs(60);
    let held = ports
        .leases
        .put(&LeaseName::steward(), Revision(0), Bytes::new(), long)
        .await
        .unwrap();
    assert!(matches!(
        within("it is held", watch.next()).await,
        Some(LeaseEvent::Held { .. })
    ));
    region.server.kill();
    region.server.start_again();
    let snapshot = LeaseEvent::Snapshot(vec![(LeaseName::steward(), held, Bytes::new())]);
    assert_eq!(within("a snapshot", watch.next()).await, Some(snapshot));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_hears_again_after_a_restart() {
    let (mut region, ports) = started().await;
    let mut heard = ports.peers.subscribe("beat.*").await.unwrap();
    region.server.kill();
    region.server.start_again();
    within("connected again", async {
        let mut state = region.connection.state();
        state
            .wait_for(|state| state.connected && state.epoch == 2)
            .await
            .map(drop)
    })
    .await
    .unwrap();
    ports
        .peers
        .publish("beat.leader", Bytes::from_static(b"1"))
        .await
        .unwrap();
    assert_eq!(within("it is heard", heard.next()).await.unwrap().payload, "1");
}

/// A set that has grown: the streams exist, with slots for one region less.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_short_of_slots_waits_until_the_operator_makes_them() {
    let region = OnNats::start_with_slots().await;
    let operator = connect(vec![region.server.url()]).await;
    let process = connect_reading(vec![region.server.url()], Readers::Slots { each: 5 }).await;
    let wanted = LogSettings {
        create: false,
        ..settings()
    };
    let (waits, mut seen) = watch::channel(None);
    let ports = process.ports();
    let shards = [shard()];
    let ensured = ports.ensure(&shards, &wanted, |error| {
        waits.send_replace(Some(error.clone()));
    });
    let made = async {
        let said = seen.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert!(
            said.to_string()
                .contains("fewer than 5 consumers for agent-1: isthmus region init --process agent-1"),
            "{said}"
        );
        let name = ProcessName::parse("agent-1").unwrap();
        operator.provide(&name, &shards, 5).await.unwrap();
    };
    let (ensured, ()) = within("the process goes on", async { tokio::join!(ensured, made) }).await;
    assert_eq!(ensured, Ok(()));
}
