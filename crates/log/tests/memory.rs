//! Faults that only the in-memory implementation can inject.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::*;
use isthmus_log::memory::Servers;
use isthmus_log::{AppendError, LogError, PeerError};
use isthmus_replication::coordinates::{Anchor, MessageId, Sequence};
use isthmus_replication::follow::LifeSuspected;

#[tokio::test]
async fn a_reader_notices_that_the_tail_was_lost() {
    let region = InMemory::start().await;
    let ports = region.ports();
    ensured(&ports).await;
    for id in 1..=5 {
        append(&ports, id).await;
    }
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    let anchors: Vec<Anchor> = read(&mut reader, 5)
        .await
        .iter()
        .map(|message| message.anchor())
        .collect();
    region.0.lose_tail(&shard(), Sequence(3));
    let mut lost = LifeSuspected {
        anchor: anchors[4],
        found: None,
        last: Sequence(3),
    };
    assert_eq!(within("the reader ends", reader.next()).await, Err(lost.into()));

    append(&ports, 104).await;
    append(&ports, 105).await;
    lost.found = Some(MessageId(105));
    lost.last = Sequence(5);
    assert_eq!(
        within("it ends", ports.log.reader(&shard(), anchors[4]).next()).await,
        Err(lost.into())
    );
    let mut kept = ports.log.reader(&shard(), anchors[2]);
    assert_eq!(ids(&read(&mut kept, 2).await), [104, 105]);
}

#[tokio::test]
async fn a_region_that_is_away_gives_no_answers_and_comes_back() {
    let region = InMemory::start().await;
    let ports = region.ports();
    ensured(&ports).await;
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    region.0.set_servers(Servers::Away);
    let stream = ports.names.stream(&shard());
    let body = Bytes::new();
    let answer = ports
        .log
        .append(&shard(), &own(), &batch(1, &body), body)
        .await
        .await;
    assert_eq!(
        answer,
        Err(AppendError::Unanswered {
            stream: stream.clone()
        })
    );
    assert_eq!(
        ports.log.bounds(&shard()).await,
        Err(LogError::Unanswered { stream })
    );
    assert_eq!(ports.peers.publish("x", Bytes::new()).await, Err(PeerError::Away));
    region.0.set_servers(Servers::Answer);
    append(&ports, 1).await;
    assert_eq!(ids(&read(&mut reader, 1).await), [1]);
}
