//! Regions of both kinds and messages to store in them.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use isthmus_log::memory::MemoryRegion;
use isthmus_log::nats::{Connection, ConnectionSettings, Readers};
use isthmus_log::testing::{NatsServer, NatsServerSettings};
use isthmus_log::{LocalClock, LogSettings, Ports, Reader, RegionNames, Role, StoredMessage};
use isthmus_replication::coordinates::{Anchor, MessageId, Sequence, Shard, WriterId};
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::header::{BodySeal, Header, Local, Record, StageTimes};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::names::{GroupName, ProcessName, RegionName, SetName};
use isthmus_replication::time::{Mono, Now, Wall};

pub(crate) const BOUND: Duration = Duration::from_secs(20);

pub(crate) fn names() -> RegionNames {
    RegionNames {
        set: SetName::parse("shop").unwrap(),
        region: RegionName::parse("eu-west").unwrap(),
    }
}

pub(crate) fn shard() -> Shard {
    Shard {
        group: GroupName::parse("default").unwrap(),
        partition: 0,
    }
}

pub(crate) fn own() -> SubjectToken {
    SubjectToken::Origin(names().region)
}

pub(crate) fn settings() -> LogSettings {
    LogSettings {
        create: true,
        replicas: 1,
        max_bytes: 64 * 1024 * 1024,
    }
}

pub(crate) fn clock() -> LocalClock {
    let started = Instant::now();
    Arc::new(move || {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Now {
            mono: Mono::from_nanos(u64::try_from(started.elapsed().as_nanos()).unwrap()),
            wall: Wall::from_micros(u64::try_from(unix.as_micros()).unwrap()),
        }
    })
}

/// A region on its own nats-server.
pub(crate) struct OnNats {
    pub server: NatsServer,
    pub(crate) connection: Connection,
}

impl OnNats {
    pub(crate) async fn start() -> Self {
        let server = NatsServer::start();
        let connection = connect(vec![server.url()]).await;
        Self { server, connection }
    }

    pub(crate) async fn start_with(lines: &str) -> Self {
        let server = NatsServer::start_with(&NatsServerSettings {
            lines: lines.to_owned(),
            ..NatsServerSettings::default()
        });
        let connection = connect(vec![server.url()]).await;
        Self { server, connection }
    }

    /// As [`OnNats::start`], with an operator that has created the streams and the slots of the
    /// process.
    pub(crate) async fn start_with_slots() -> Self {
        let Self { server, connection } = Self::start().await;
        let ports = connection.ports();
        ports.ensure(&[shard()], &settings(), |_| ()).await.unwrap();
        let process = ProcessName::parse("agent-1").unwrap();
        connection.provide(&process, &[shard()], 4).await.unwrap();
        connection.provide(&process, &[shard()], 4).await.unwrap();
        let connection = connect_reading(vec![server.url()], Readers::Slots { each: 4 }).await;
        Self { server, connection }
    }

    pub(crate) fn ports(&self) -> Ports {
        self.connection.ports()
    }
}

pub(crate) struct InMemory(pub MemoryRegion);

impl InMemory {
    pub(crate) async fn start() -> Self {
        Self(MemoryRegion::new(names(), clock()))
    }

    pub(crate) fn ports(&self) -> Ports {
        self.0.ports()
    }
}

pub(crate) async fn open(servers: Vec<String>) -> Connection {
    open_reading(servers, Readers::Own).await
}

async fn open_reading(servers: Vec<String>, readers: Readers) -> Connection {
    let settings = ConnectionSettings {
        servers,
        credentials: None,
        ca: None,
        domain: None,
        role: Some(Role::Agent),
        process: "agent-1".to_owned(),
        readers,
        names: names(),
    };
    Connection::open(settings).await.unwrap()
}

pub(crate) async fn connect(servers: Vec<String>) -> Connection {
    connect_reading(servers, Readers::Own).await
}

pub(crate) async fn connect_reading(servers: Vec<String>, readers: Readers) -> Connection {
    let connection = open_reading(servers, readers).await;
    within("connected", connection.connected()).await;
    connection
}

/// A local batch with this message id and stamp.
pub(crate) fn batch(id: u64, body: &Bytes) -> Header {
    header(
        Record::Batch(Local {
            message_id: MessageId(id),
            writer: WriterId(7),
            lowest_stamp: Hlc::from_bits(id),
            highest_stamp: Hlc::from_bits(id),
        }),
        body,
    )
}

pub(crate) fn header(record: Record, body: &Bytes) -> Header {
    Header {
        set: names().set,
        shard: shard(),
        record,
        body: BodySeal::of(body, 1),
        stages: StageTimes::default(),
    }
}

/// Waits until the server knows the client's subscriptions: it handles what a client sends in
/// order. `flush` only waits for the socket.
pub(crate) async fn heard_by_the_server(client: &async_nats::Client) {
    let unanswered = client.request("nobody.listens", Bytes::new()).await;
    let kind = unanswered.expect_err("nobody answers").kind();
    assert_eq!(kind, async_nats::client::RequestErrorKind::NoResponders);
}

/// Appends a batch and returns its position.
pub(crate) async fn append(ports: &Ports, id: u64) -> Anchor {
    append_body(ports, id, Bytes::from(format!("body {id}"))).await
}

pub(crate) async fn append_body(ports: &Ports, id: u64, body: Bytes) -> Anchor {
    let sequence = ports
        .log
        .append(&shard(), &own(), &batch(id, &body), body.clone())
        .await
        .await
        .unwrap();
    Anchor {
        sequence,
        message_id: MessageId(id),
    }
}

/// Appends with the ids until each is stored, as a publisher does while servers stop and restart.
pub(crate) async fn append_at_last(ports: &Ports, id: u64) -> Sequence {
    let body = Bytes::from(format!("body {id}"));
    isthmus_log::testing::until("an append is stored", Duration::from_secs(60), || async {
        ports
            .log
            .append(&shard(), &own(), &batch(id, &body), body.clone())
            .await
            .await
            .ok()
    })
    .await
}

pub(crate) async fn ensured(ports: &Ports) {
    ports.log.ensure(&shard(), &settings()).await.unwrap();
}

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, work).await {
        Ok(value) => value,
        Err(_) => panic!("not within {BOUND:?}: {what}"),
    }
}

pub(crate) async fn read(reader: &mut Reader, count: usize) -> Vec<StoredMessage> {
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.push(within("the next message", reader.next()).await.unwrap());
    }
    messages
}

pub(crate) fn ids(messages: &[StoredMessage]) -> Vec<u64> {
    messages.iter().map(|message| message.message_id().0).collect()
}

pub(crate) fn sequences(messages: &[StoredMessage]) -> Vec<u64> {
    messages.iter().map(|message| message.sequence.0).collect()
}
