//! Streams and consumers that somebody deletes while processes run: they are reported, created
//! again where that is allowed, and used again.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use common::*;
use futures::StreamExt as _;
use isthmus_log::testing::NatsServer;
use isthmus_log::{
    Appended, EnsureError, EntryName, JournalName, LeaseEvent, LeaseName, LogSettings, MissingStreams,
    PageFrom, Ports, StreamChange,
};
use isthmus_replication::coordinates::Sequence;
use tokio::sync::mpsc;

/// Three checks, five seconds apart, and a margin for a slow machine.
const NOTICED: Duration = Duration::from_secs(30);

/// A client with the operator's rights, beside the ports.
async fn operator(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

/// The changes that a process reports while it watches its streams.
struct Watching {
    missing: MissingStreams,
    changes: mpsc::Receiver<StreamChange>,
    task: tokio::task::JoinHandle<()>,
}

impl Watching {
    fn start(ports: Ports, create: bool) -> Self {
        let (tell, changes) = mpsc::channel(16);
        let missing = MissingStreams::default();
        let shown = missing.clone();
        let wanted = LogSettings { create, ..settings() };
        let task = tokio::spawn(async move {
            let tell = |change| tell.try_send(change).unwrap();
            ports.watch_streams(&[shard()], &wanted, &shown, tell).await;
        });
        Self {
            missing,
            changes,
            task,
        }
    }

    async fn next(&mut self) -> StreamChange {
        tokio::time::timeout(NOTICED, self.changes.recv())
            .await
            .unwrap()
            .unwrap()
    }

    async fn missing(&mut self, expected: &str) {
        let change = self.next().await;
        let StreamChange::Missing {
            what: EnsureError::Missing { stream },
            was_made: Some(_),
        } = change
        else {
            panic!("{change:?}");
        };
        assert_eq!(stream, expected);
        assert_eq!(self.missing.all().len(), 1, "{:?}", self.missing.all());
    }

    async fn back(&mut self, expected: &str) {
        let change = self.next().await;
        let StreamChange::Back {
            stream,
            made: Some(_),
            ..
        } = change
        else {
            panic!("{change:?}");
        };
        assert_eq!(stream, expected);
        assert_eq!(self.missing.all(), []);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn append_entry(ports: &Ports, journal: &JournalName, name: &str) -> Appended {
    let name = EntryName::parse(name).unwrap();
    ports
        .journal
        .append(journal, &name, Bytes::from_static(b"entry"))
        .await
        .unwrap()
}

/// Takes the leader's lease and waits until a watch shows it.
async fn take_lease(ports: &Ports, watch: &mut isthmus_log::LeaseWatch) {
    let wanted = &LeaseName::leader();
    ports
        .leases
        .create(wanted, Bytes::from_static(b"me"), Duration::from_secs(60))
        .await
        .unwrap();
    let found = async {
        loop {
            match watch.next().await.unwrap() {
                LeaseEvent::Held { name, .. } if name == *wanted => return,
                LeaseEvent::Snapshot(all) if all.iter().any(|(name, ..)| name == wanted) => return,
                _ => {}
            }
        }
    };
    within("the lease is seen", found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_is_reported_in_seconds_and_made_again() {
    let region = OnNats::start().await;
    let ports = region.ports();
    ports.ensure(&[shard()], &settings(), |_| ()).await.unwrap();
    let aside = JournalName::Aside(shard().group);
    for number in 0..5 {
        append_entry(&ports, &JournalName::Events, &format!("before-{number}")).await;
    }
    let mut leases = ports.leases.watch();
    take_lease(&ports, &mut leases).await;
    let observer = async_nats::connect(region.server.url()).await.unwrap();
    let log = format!("$JS.API.STREAM.INFO.{}", ports.names.stream(&shard()));
    let mut looks = observer.subscribe(log).await.unwrap();
    heard_by_the_server(&observer).await;
    let mut watching = Watching::start(ports.clone(), true);
    // The log is checked last. A stream that was never seen is reported missing without its
    // creation time.
    within("a look at every stream", looks.next()).await.unwrap();
    let operator = operator(&region.server).await;
    let streams = [
        format!("KV_{}", ports.names.lease_bucket()),
        ports.names.journal(&JournalName::Events),
        ports.names.journal(&aside),
    ];
    for stream in &streams {
        operator.delete_stream(stream).await.unwrap();
        watching.missing(stream).await;
        watching.back(stream).await;
    }

    take_lease(&ports, &mut leases).await;
    for journal in [&JournalName::Events, &aside] {
        assert_eq!(append_entry(&ports, journal, "after").await, Appended::New);
        let from = PageFrom::Sequence(Sequence(6));
        let page = ports.journal.page(journal, from, 10).await.unwrap();
        let names: Vec<&str> = page.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(
            names,
            ["after"],
            "who stood beyond the end of what was made anew reads it from its beginning"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_not_ours_to_make_is_awaited_and_its_return_reported() {
    let region = OnNats::start().await;
    let ports = region.ports();
    ports.ensure(&[shard()], &settings(), |_| ()).await.unwrap();
    let mut watching = Watching::start(ports.clone(), false);
    let operator = operator(&region.server).await;
    let events = ports.names.journal(&JournalName::Events);
    operator.delete_stream(&events).await.unwrap();
    let change = watching.next().await;
    assert!(matches!(change, StreamChange::Missing { .. }), "{change:?}");
    let still = tokio::time::timeout(Duration::from_secs(12), watching.changes.recv()).await;
    assert!(still.is_err(), "reported once, and not made: {still:?}");
    ports.journal.ensure(&JournalName::Events, true, 1).await.unwrap();
    watching.back(&events).await;

    operator.delete_stream(&events).await.unwrap();
    ports.journal.ensure(&JournalName::Events, true, 1).await.unwrap();
    watching.back(&events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_slot_is_reported_and_used_once_it_is_made_again() {
    let region = OnNats::start_with_slots().await;
    let ports = region.ports();
    let mut watching = Watching::start(ports.clone(), false);
    let mut leases = ports.leases.watch();
    let operator = operator(&region.server).await;
    let bucket = format!("KV_{}", ports.names.lease_bucket());
    let streams = [bucket, ports.names.stream(&shard())];
    for stream in &streams {
        let handle = operator.get_stream(stream).await.unwrap();
        handle.delete_consumer("agent-1_0").await.unwrap();
        let change = watching.next().await;
        let StreamChange::Missing {
            what: EnsureError::NoSlot { stream: named, .. },
            was_made: None,
        } = change
        else {
            panic!("{change:?}");
        };
        assert_eq!(named, *stream);
    }
    let process = isthmus_replication::names::ProcessName::parse("agent-1").unwrap();
    let making = connect(vec![region.server.url()]).await;
    making.provide(&process, &[shard()], 4).await.unwrap();
    for _ in &streams {
        let change = watching.next().await;
        assert!(matches!(change, StreamChange::Back { .. }), "{change:?}");
    }
    take_lease(&ports, &mut leases).await;
}
