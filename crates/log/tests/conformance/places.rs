//! A reader's position, a log's bounds, and the required settings of a log.

use std::time::Duration;

use bytes::Bytes;
use isthmus_log::{AppendError, EnsureError, LogError, LogSettings, Ports, ReadError, ServerClock};
use isthmus_replication::coordinates::{Anchor, MessageId, Sequence};
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::follow::LifeSuspected;

use super::common::*;

pub(crate) async fn a_purge_keeps_its_named_message_and_ends_earlier_readers(ports: Ports) {
    ensured(&ports).await;
    let mut anchors = vec![Anchor::default()];
    for id in 1..=10 {
        anchors.push(append(&ports, id).await);
    }
    assert_eq!(ports.log.purge(&shard(), Sequence(6)).await, Ok(5));
    assert_eq!(ports.log.bounds(&shard()).await.unwrap().first, Sequence(6));

    let mut kept = ports.log.reader(&shard(), anchors[6]);
    assert_eq!(ids(&read(&mut kept, 4).await), [7, 8, 9, 10]);
    for at in [0, 1, 4, 5] {
        let mut trimmed = ports.log.reader(&shard(), anchors[at]);
        let wanted = Sequence(at.max(1) as u64);
        let gone = ReadError::Gone {
            wanted,
            first: Sequence(6),
        };
        assert_eq!(within("the reader ends", trimmed.next()).await, Err(gone.clone()));
        assert_eq!(trimmed.try_next(), Err(gone));
    }
    assert_eq!(ports.log.purge(&shard(), Sequence(1000)).await, Ok(4));
    assert_eq!(ports.log.bounds(&shard()).await.unwrap().first, Sequence(10));
}

pub(crate) async fn a_reader_that_knows_another_message_suspects_a_new_life(ports: Ports) {
    ensured(&ports).await;
    for id in 1..=5 {
        append(&ports, id).await;
    }
    let anchor = Anchor {
        sequence: Sequence(3),
        message_id: MessageId(333),
    };
    let Err(ReadError::LifeSuspected(suspected)) =
        within("the reader ends", ports.log.reader(&shard(), anchor).next()).await
    else {
        panic!("another message went unnoticed");
    };
    let expected = LifeSuspected {
        anchor,
        found: Some(MessageId(3)),
        last: Sequence(5),
    };
    assert_eq!(suspected, expected);
}

pub(crate) async fn a_reader_beyond_the_end_suspects_a_new_life(ports: Ports) {
    ensured(&ports).await;
    append(&ports, 1).await;
    let anchor = Anchor {
        sequence: Sequence(7),
        message_id: MessageId(7),
    };
    let suspected = LifeSuspected {
        anchor,
        found: None,
        last: Sequence(1),
    };
    let ended = within("the reader ends", ports.log.reader(&shard(), anchor).next()).await;
    assert_eq!(ended, Err(suspected.into()));
}

pub(crate) async fn every_way_of_reading_a_message_gives_the_same(ports: Ports) {
    ensured(&ports).await;
    let body = Bytes::from_static(b"");
    for (token, id) in [
        (own(), 1),
        (SubjectToken::Agent, 2),
        (own(), 3),
        (SubjectToken::Gateway, 4),
        (SubjectToken::Agent, 5),
    ] {
        ports
            .log
            .append(&shard(), &token, &batch(id, &body), body.clone())
            .await
            .await
            .unwrap();
    }
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    let messages = read(&mut reader, 5).await;
    for message in &messages {
        let found = ports.log.message_at(&shard(), message.sequence).await.unwrap();
        assert_eq!(found.as_ref(), Some(message));
    }
    for (token, from, found) in [
        (SubjectToken::Agent, 0, Some(1)),
        (SubjectToken::Agent, 2, Some(1)),
        (SubjectToken::Agent, 3, Some(4)),
        (SubjectToken::Gateway, 1, Some(3)),
        (SubjectToken::Gateway, 5, None),
        (SubjectToken::Agent, 9, None),
    ] {
        let next = ports.log.next_of(&shard(), &token, Sequence(from)).await.unwrap();
        assert_eq!(
            next.as_ref(),
            found.map(|index: usize| &messages[index]),
            "{token:?} from {from}"
        );
    }
    assert_eq!(ports.log.message_at(&shard(), Sequence::NONE).await, Ok(None));
    assert_eq!(ports.log.message_at(&shard(), Sequence(6)).await, Ok(None));

    let bounds = ports.log.bounds(&shard()).await.unwrap();
    assert_eq!((bounds.first, bounds.last), (Sequence(1), Sequence(5)));
    assert_eq!(
        (bounds.first_at, bounds.last_at),
        (messages[0].timestamp, messages[4].timestamp)
    );
    assert!(bounds.answered_at >= bounds.last_at);
}

pub(crate) async fn a_missing_log_is_said_to_be_missing(ports: Ports) {
    let stream = ports.names.stream(&shard());
    let missing = Err(LogError::Missing {
        stream: stream.clone(),
    });
    assert_eq!(ports.log.bounds(&shard()).await.map(drop), missing);
    assert_eq!(
        ports.log.message_at(&shard(), Sequence(1)).await.map(drop),
        missing
    );
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
    let not_created = LogSettings {
        create: false,
        ..settings()
    };
    let refused = ports.log.ensure(&shard(), &not_created).await.unwrap_err();
    assert_eq!(refused, EnsureError::Missing { stream });
    assert!(refused.to_string().contains("create: true"), "{refused}");
}

pub(crate) async fn a_differing_setting_is_named_with_its_fix(ports: Ports) {
    ensured(&ports).await;
    let larger = LogSettings {
        max_bytes: settings().max_bytes * 2,
        ..settings()
    };
    for create in [true, false] {
        let wanted = LogSettings { create, ..larger };
        let Err(EnsureError::Differs { difference, .. }) = ports.log.ensure(&shard(), &wanted).await else {
            panic!("another max_bytes went unnoticed");
        };
        assert_eq!(difference.setting, "max_bytes");
        assert_eq!(difference.found, settings().max_bytes.to_string());
        assert_eq!(difference.wanted, larger.max_bytes.to_string());
        assert!(difference.mend.contains("log.*"), "{difference}");
    }
}

pub(crate) async fn a_missing_stream_is_awaited_and_reported(ports: Ports) {
    let (errors_tx, mut heard) = tokio::sync::mpsc::channel(1);
    let waiting = ports.clone();
    let ensured = tokio::spawn(async move {
        let not_created = LogSettings {
            create: false,
            ..settings()
        };
        let waits = |error: &EnsureError| {
            // One error is enough.
            let _ = errors_tx.try_send(error.clone());
        };
        waiting.ensure(&[shard()], &not_created, waits).await
    });
    let missing = heard.recv().await.unwrap();
    assert!(matches!(missing, EnsureError::Missing { .. }), "{missing}");
    let nothing_to_wait_for = |error: &EnsureError| panic!("{error}");
    ports
        .ensure(&[shard()], &settings(), nothing_to_wait_for)
        .await
        .unwrap();
    assert_eq!(ensured.await.unwrap(), Ok(()));
}

pub(crate) async fn ensuring_again_is_harmless(ports: Ports) {
    ensured(&ports).await;
    append(&ports, 1).await;
    ensured(&ports).await;
    assert_eq!(ports.log.bounds(&shard()).await.unwrap().last, Sequence(1));
}

pub(crate) async fn the_clock_of_the_log_is_known_within_its_uncertainty(ports: Ports) {
    ensured(&ports).await;
    let ahead = Duration::from_secs(8 * 3600);
    let base = clock();
    let skewed = std::sync::Arc::new(move || {
        let mut now = base();
        now.wall = now.wall.after(ahead);
        now
    });
    let server = ServerClock::new(skewed);
    assert!(server.offset().is_none());
    for _ in 0..3 {
        server.sample(ports.log.as_ref(), &shard()).await.unwrap();
    }
    let offset = server.offset().unwrap();
    let wrong = Duration::from_micros(offset.micros.unsigned_abs()).abs_diff(ahead);
    assert!(
        offset.micros < 0 && wrong <= offset.uncertainty + Duration::from_millis(1),
        "{offset:?}"
    );
}
