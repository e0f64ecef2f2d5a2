//! Regions of three servers: what survives the death of one of them.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use common::*;
use futures::future::join_all;
use isthmus_log::nats::Readers;
use isthmus_log::testing::{NatsCluster, until};
use isthmus_log::{Appended, EntryName, JournalName, LogSettings, PageFrom};
use isthmus_replication::coordinates::{Anchor, Sequence};
use isthmus_replication::names::ProcessName;

#[tokio::test(flavor = "multi_thread")]
async fn scenario_44_three_servers_survive_a_stream_leaders_death() {
    survives(Readers::Own).await;
}

/// The slot in use has its own leader, which dies here.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_44_three_servers_survive_a_slot_leaders_death() {
    survives(Readers::Slots { each: 2 }).await;
}

async fn survives(readers: Readers) {
    let mut cluster = NatsCluster::start();
    let connection = connect(cluster.urls()).await;
    let ports = connection.ports();
    let replicated = LogSettings {
        replicas: 3,
        ..settings()
    };
    until("a replicated log is made", Duration::from_secs(90), || async {
        ports.log.ensure(&shard(), &replicated).await.ok()
    })
    .await;
    until("leases are made", Duration::from_secs(90), || async {
        ports.leases.ensure(true, 3).await.ok()
    })
    .await;

    let process = ProcessName::parse("agent-1").unwrap();
    until("slots are made", Duration::from_secs(90), || async {
        connection.provide(&process, &[shard()], 2).await.ok()
    })
    .await;
    let reading = connect_reading(cluster.urls(), readers).await;
    let mut reader = reading.ports().log.reader(&shard(), Anchor::default());
    for id in 1..=100 {
        append_at_last(&ports, id).await;
    }
    let stream = ports.names.stream(&shard());
    let leader = match readers {
        Readers::Own => leader(&cluster, &stream).await,
        Readers::Slots { .. } => leader_of_slot(&cluster, &stream, "agent-1_0").await,
    };
    cluster.server(&leader).unwrap().kill();
    let answers: Vec<_> = (101..=150).map(|id| append_at_last(&ports, id)).collect();
    let stored = join_all(answers).await;

    let last = stored.iter().max().unwrap().0;
    let mut seen = Vec::new();
    while seen.len() < usize::try_from(last).unwrap() {
        let message = tokio::time::timeout(Duration::from_secs(60), reader.next())
            .await
            .unwrap()
            .unwrap();
        seen.push(message.message_id().0);
    }
    assert!(
        (1..=150).all(|id| seen.contains(&id)),
        "an acknowledged append is missing: {seen:?}"
    );
    assert_eq!(ports.log.bounds(&shard()).await.unwrap().first, Sequence(1));
}

/// All servers of a region take the same entries at the same time, and one is killed in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_three_servers_has_each_entry_once() {
    let mut cluster = NatsCluster::start();
    let mut writers = Vec::new();
    for url in cluster.urls() {
        writers.push(connect(vec![url]).await);
    }
    let survivor = writers[0].ports();
    let aside = JournalName::Aside(shard().group);
    until(
        "a replicated journal is made",
        Duration::from_secs(90),
        || async { survivor.journal.ensure(&aside, true, 3).await.ok() },
    )
    .await;
    let (stream, last) = (survivor.names.journal(&aside), 40);
    for n in 0..last {
        if n == last / 2 {
            let leader = leader(&cluster, &stream).await;
            cluster.server(&leader).unwrap().kill();
        }
        let name = EntryName::parse(&format!("e{n}")).unwrap();
        let appends = writers.iter().map(|writer| {
            let (ports, aside, name) = (writer.ports(), aside.clone(), name.clone());
            async move { ports.journal.append(&aside, &name, Bytes::from("x")).await }
        });
        let mut new = 0;
        for appended in join_all(appends).await {
            new += usize::from(appended == Ok(Appended::New));
        }
        assert!(new <= 1, "{new} writers stored e{n}");
        until("the entry is stored", Duration::from_secs(60), || async {
            for writer in &writers {
                let stored = writer
                    .ports()
                    .journal
                    .append(&aside, &name, Bytes::from("x"))
                    .await;
                if stored.is_ok() {
                    return Some(());
                }
            }
            None
        })
        .await;
    }
    let page = until("the journal is read", Duration::from_secs(60), || async {
        for writer in &writers {
            let ports = writer.ports();
            if let Ok(page) = ports
                .journal
                .page(&aside, PageFrom::Sequence(Sequence(1)), 100)
                .await
            {
                return Some(page);
            }
        }
        None
    })
    .await;
    let names: Vec<String> = page.entries.iter().map(|entry| entry.name.to_string()).collect();
    let expected: Vec<String> = (0..last).map(|n| format!("e{n}")).collect();
    assert_eq!(names, expected);
}

/// The name of the server that leads a stream, once one is elected.
async fn leader(cluster: &NatsCluster, stream: &str) -> String {
    let context = jetstream::new(async_nats::connect(cluster.urls()).await.unwrap());
    until("the stream has a leader", BOUND, || async {
        let stream = context.get_stream(stream).await.ok()?;
        stream.cached_info().cluster.clone()?.leader
    })
    .await
}

/// The name of the server that leads a slot, once one is elected.
async fn leader_of_slot(cluster: &NatsCluster, stream: &str, slot: &str) -> String {
    let context = jetstream::new(async_nats::connect(cluster.urls()).await.unwrap());
    until("the slot has a leader", BOUND, || async {
        let stream = context.get_stream_no_info(stream).await.ok()?;
        stream.consumer_info(slot).await.ok()?.cluster?.leader
    })
    .await
}
