//! Storing messages and reading them.

use bytes::Bytes;
use futures::future::join_all;
use isthmus_log::{AppendError, LogSettings, Ports};
use isthmus_replication::coordinates::{Anchor, Sequence};

use super::common::*;

pub(crate) async fn appends_are_read_in_order_without_holes(ports: Ports) {
    ensured(&ports).await;
    let mut answers = Vec::new();
    for id in 1..=500 {
        let body = Bytes::from(vec![7; 100]);
        answers.push(ports.log.append(&shard(), &own(), &batch(id, &body), body).await);
    }
    let stored: Vec<u64> = join_all(answers)
        .await
        .into_iter()
        .map(|answer| answer.unwrap().0)
        .collect();
    assert_eq!(stored, (1..=500).collect::<Vec<_>>());

    let mut reader = ports.log.reader(&shard(), Anchor::default());
    let messages = read(&mut reader, 500).await;
    assert_eq!(sequences(&messages), stored);
    assert_eq!(ids(&messages), stored);
    assert!(
        messages
            .iter()
            .all(|message| message.token == Some(own()) && message.body == vec![7; 100])
    );
    assert!(messages.is_sorted_by_key(|message| message.timestamp));

    let mut later = ports.log.reader(&shard(), messages[249].anchor());
    assert_eq!(
        sequences(&read(&mut later, 250).await),
        (251..=500).collect::<Vec<_>>()
    );
}

pub(crate) async fn a_reader_waits_for_what_comes_later(ports: Ports) {
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    ensured(&ports).await;
    for id in 1..=3 {
        append(&ports, id).await;
        assert_eq!(ids(&read(&mut reader, 1).await), [id]);
    }
    assert_eq!(reader.try_next(), Ok(None));
    assert_eq!(reader.counts().opened(), 1);
}

pub(crate) async fn a_doubled_append_is_stored_twice(ports: Ports) {
    ensured(&ports).await;
    append(&ports, 9).await;
    append(&ports, 9).await;
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    let messages = read(&mut reader, 2).await;
    assert_eq!((sequences(&messages), ids(&messages)), (vec![1, 2], vec![9, 9]));
}

pub(crate) async fn a_full_log_refuses_and_takes_appends_again_after_a_purge(ports: Ports) {
    let small = LogSettings {
        max_bytes: 64 * 1024,
        ..settings()
    };
    ports.log.ensure(&shard(), &small).await.unwrap();
    let body = Bytes::from(vec![0; 8 * 1024]);
    let mut last = Sequence::NONE;
    let refused = loop {
        match ports
            .log
            .append(&shard(), &own(), &batch(last.0 + 1, &body), body.clone())
            .await
            .await
        {
            Ok(sequence) => last = sequence,
            Err(error) => break error,
        }
        assert!(last.0 < 100, "the log never becomes full");
    };
    let stream = ports.names.stream(&shard());
    assert_eq!(refused, AppendError::Full { stream });
    assert!(!refused.may_be_stored());

    let bounds = ports.log.bounds(&shard()).await.unwrap();
    assert_eq!((bounds.first, bounds.last), (Sequence(1), last));
    assert!(bounds.bytes <= small.max_bytes && bounds.bytes > small.max_bytes / 2);
    assert_eq!(ports.log.purge(&shard(), last).await, Ok(last.0 - 1));
    assert_eq!(append_body(&ports, 99, body).await.sequence, last.next());
}

pub(crate) async fn an_append_above_the_message_limit_is_refused_unsent(ports: Ports) {
    ensured(&ports).await;
    let limit = ports.log.max_message_bytes().unwrap();
    let body = Bytes::from(vec![0; limit]);
    let refused = ports
        .log
        .append(&shard(), &own(), &batch(1, &body), body)
        .await
        .await;
    assert!(matches!(refused, Err(AppendError::TooLarge { max_payload, .. }) if max_payload == limit));

    let fits = Bytes::from(vec![0; limit - 4096]);
    assert_eq!(append_body(&ports, 2, fits).await.sequence, Sequence(1));
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    assert_eq!(read(&mut reader, 1).await[0].body.len(), limit - 4096);
}

/// More data than is pulled ahead waits, and arrives once the reader wants it.
pub(crate) async fn a_slow_reader_loses_nothing(ports: Ports) {
    ensured(&ports).await;
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    let body = Bytes::from(vec![3; 250 * 1024]);
    for id in 1..=100 {
        append_body(&ports, id, body.clone()).await;
    }
    assert_eq!(ids(&read(&mut reader, 100).await), (1..=100).collect::<Vec<_>>());
    assert_eq!(reader.counts().opened(), 1);
}
