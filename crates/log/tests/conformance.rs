//! What both twins of each port do. One function per statement, run over real nats-servers and in memory.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use futures::future::join_all;
use isthmus_log::{
    AppendError, Ended, EnsureError, Lease, LeaseError, LeaseEvent, LeaseName, LifeSuspected, LogError,
    LogSettings, Member, MemberChange, Members, PeerError, Ports, ReadError, Revision, Role, ServerClock,
    newest_mark_describing, oldest_mark,
};
use isthmus_replication::cell::Digest;
use isthmus_replication::coordinates::{Anchor, Life, MessageId, Sequence, WriterId};
use isthmus_replication::fold::{Fold, MarkBody, Token};
use isthmus_replication::header::{LifeLink, LifeRecord, MarkRecord, Record};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::names::ProcessName;
use isthmus_replication::time::Wall;

macro_rules! conformance {
    ($($test:ident)*) => {
        mod on_nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let region = super::common::OnNats::start().await;
                super::$test(region.ports()).await;
            })*
        }
        mod in_memory {
            $(#[tokio::test]
            async fn $test() {
                let region = super::common::InMemory::start().await;
                super::$test(region.ports()).await;
            })*
        }
    };
}

conformance! {
    appends_are_read_in_order_without_holes
    a_reader_waits_for_what_comes_later
    a_doubled_append_stands_twice
    a_full_log_refuses_and_takes_appends_again_after_a_purge
    an_append_above_the_largest_message_is_refused_before_it_is_sent
    a_slow_reader_loses_nothing
    a_purge_keeps_the_message_it_names_and_ends_readers_before_it
    a_reader_that_knows_another_message_suspects_a_new_life
    a_reader_beyond_the_end_suspects_a_new_life
    every_way_of_reading_a_message_gives_the_same
    a_missing_log_is_said_to_be_missing
    another_setting_is_named_with_its_mend
    ensuring_again_is_harmless
    the_newest_mark_at_or_below_a_position_is_found
    a_free_lease_is_taken_by_one
    a_lease_is_renewed_and_taken_over_by_its_revision
    a_released_lease_can_be_taken
    a_lease_that_nobody_renews_ends
    a_lease_of_less_than_a_second_is_refused
    a_watch_tells_what_is_held_and_what_becomes_of_it
    members_come_and_go_with_their_leases
    what_is_told_is_heard_by_those_who_listen
    a_request_is_answered
    the_clock_of_the_log_is_known_within_its_uncertainty
}

async fn ensured(ports: &Ports) {
    ports.log.ensure(&shard(), &settings()).await.unwrap();
}

async fn appends_are_read_in_order_without_holes(ports: Ports) {
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

async fn a_reader_waits_for_what_comes_later(ports: Ports) {
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    ensured(&ports).await;
    for id in 1..=3 {
        append(&ports, id).await;
        assert_eq!(ids(&read(&mut reader, 1).await), [id]);
    }
    assert_eq!(reader.try_next(), Ok(None));
    assert_eq!(reader.counts().opened(), 1);
}

async fn a_doubled_append_stands_twice(ports: Ports) {
    ensured(&ports).await;
    append(&ports, 9).await;
    append(&ports, 9).await;
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    let messages = read(&mut reader, 2).await;
    assert_eq!((sequences(&messages), ids(&messages)), (vec![1, 2], vec![9, 9]));
}

async fn a_full_log_refuses_and_takes_appends_again_after_a_purge(ports: Ports) {
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

async fn an_append_above_the_largest_message_is_refused_before_it_is_sent(ports: Ports) {
    ensured(&ports).await;
    let limit = ports.log.max_message_bytes().unwrap();
    let body = Bytes::from(vec![0; limit]);
    let refused = ports
        .log
        .append(&shard(), &own(), &batch(1, &body), body)
        .await
        .await;
    assert!(matches!(refused, Err(AppendError::TooLarge { max_payload, .. }) if max_payload == limit));
    assert!(ports.log.check_largest_value(limit / 2).is_ok());
    assert!(ports.log.check_largest_value(limit - 1000).is_err());

    let fits = Bytes::from(vec![0; limit - 4096]);
    assert_eq!(append_body(&ports, 2, fits).await.sequence, Sequence(1));
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    assert_eq!(read(&mut reader, 1).await[0].body.len(), limit - 4096);
}

/// More than is pulled ahead waits, and goes on coming once it is wanted.
async fn a_slow_reader_loses_nothing(ports: Ports) {
    ensured(&ports).await;
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    let body = Bytes::from(vec![3; 250 * 1024]);
    for id in 1..=100 {
        append_body(&ports, id, body.clone()).await;
    }
    assert_eq!(ids(&read(&mut reader, 100).await), (1..=100).collect::<Vec<_>>());
    assert_eq!(reader.counts().opened(), 1);
}

async fn a_purge_keeps_the_message_it_names_and_ends_readers_before_it(ports: Ports) {
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

async fn a_reader_that_knows_another_message_suspects_a_new_life(ports: Ports) {
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

async fn a_reader_beyond_the_end_suspects_a_new_life(ports: Ports) {
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

async fn every_way_of_reading_a_message_gives_the_same(ports: Ports) {
    ensured(&ports).await;
    let body = Bytes::from_static(b"");
    for (token, id) in [
        (own(), 1),
        (Token::Agent, 2),
        (own(), 3),
        (Token::Gateway, 4),
        (Token::Agent, 5),
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
        (Token::Agent, 0, Some(1)),
        (Token::Agent, 2, Some(1)),
        (Token::Agent, 3, Some(4)),
        (Token::Gateway, 1, Some(3)),
        (Token::Gateway, 5, None),
        (Token::Agent, 9, None),
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
    assert!(bounds.told_at >= bounds.last_at);
}

async fn a_missing_log_is_said_to_be_missing(ports: Ports) {
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

async fn another_setting_is_named_with_its_mend(ports: Ports) {
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

async fn ensuring_again_is_harmless(ports: Ports) {
    ensured(&ports).await;
    append(&ports, 1).await;
    ensured(&ports).await;
    assert_eq!(ports.log.bounds(&shard()).await.unwrap().last, Sequence(1));
}

/// A log as a steward leaves it: a mark after every third batch, describing the batch two before itself. Then marks that
/// count for nothing: of another life, undecodable, describing what the log does not have.
async fn the_newest_mark_at_or_below_a_position_is_found(ports: Ports) {
    ensured(&ports).await;
    let mut fold = Fold::new(ports.names.log(&shard()));
    let mut reader = ports.log.reader(&shard(), Anchor::default());
    let life = Life { number: 1, nonce: 11 };
    let link = LifeLink {
        life,
        parent: None,
        fork: Sequence::NONE,
    };
    let record = LifeRecord {
        message_id: MessageId(1000),
        link,
    };
    put_agent(&ports, Record::Life(record), Bytes::new()).await;
    let mut described = Vec::new();
    for round in 1..=20 {
        for batch in 0..3 {
            append(&ports, round * 10 + batch).await;
            if batch == 0 {
                for message in read(&mut reader, if round == 1 { 2 } else { 4 }).await {
                    fold.apply(message.as_message()).unwrap();
                }
            }
        }
        put_mark(&ports, &fold, round, fold.at()).await;
        described.push(fold.at().sequence);
    }
    let last = *described.last().unwrap();
    let lie = Anchor {
        sequence: last.previous(),
        message_id: MessageId(666),
    };
    put_mark(&ports, &fold, 21, lie).await;
    put_agent(
        &ports,
        mark_record(&fold, 22, fold.at()),
        Bytes::from_static(b"no mark body"),
    )
    .await;

    let log = ports.log.as_ref();
    for at_most in 0..=last.0 + 10 {
        let found = newest_mark_describing(log, &shard(), Sequence(at_most))
            .await
            .unwrap();
        let expected = described.iter().rev().find(|described| described.0 <= at_most);
        assert_eq!(
            found.map(|mark| mark.body.fold.at().sequence),
            expected.copied(),
            "at most {at_most}"
        );
    }
    let oldest = oldest_mark(log, &shard()).await.unwrap().unwrap();
    assert_eq!(oldest.record.described.sequence, described[0]);

    ports.log.purge(&shard(), described[10]).await.unwrap();
    let oldest = oldest_mark(log, &shard()).await.unwrap().unwrap();
    assert_eq!(oldest.record.described.sequence, described[10]);
    assert_eq!(
        newest_mark_describing(log, &shard(), described[9]).await,
        Ok(None)
    );
}

fn mark_record(fold: &Fold, number: u64, described: Anchor) -> Record {
    Record::Mark(MarkRecord {
        message_id: MessageId(2000 + number),
        life: fold.lineage().current().unwrap(),
        writer: WriterId(1),
        hlc: Hlc::from_bits(number),
        described,
    })
}

async fn put_mark(ports: &Ports, fold: &Fold, number: u64, described: Anchor) {
    let body = MarkBody {
        wall: Wall::default(),
        fold: fold.clone(),
        digest: Digest::default(),
        cells: 0,
    };
    put_agent(ports, mark_record(fold, number, described), body.encode()).await;
}

async fn put_agent(ports: &Ports, record: Record, body: Bytes) {
    let header = header(record, &body);
    ports
        .log
        .append(&shard(), &Token::Agent, &header, body)
        .await
        .await
        .unwrap();
}

async fn leases(ports: &Ports) {
    ports.leases.ensure(true, 1).await.unwrap();
}

const TTL: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(30);

async fn a_free_lease_is_taken_by_one(ports: Ports) {
    leases(&ports).await;
    let leader = LeaseName::leader();
    assert_eq!(ports.leases.get(&leader).await, Ok(Lease::default()));
    let takers = (0..8).map(|_| {
        ports
            .leases
            .put(&leader, Revision(0), Bytes::from_static(b"g"), LONG)
    });
    let outcomes = join_all(takers).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == Err(LeaseError::Conflict))
            .count(),
        7
    );
    let created = ports.leases.create(&leader, Bytes::new(), LONG).await;
    assert_eq!(created, Err(LeaseError::Conflict));
}

async fn a_lease_is_renewed_and_taken_over_by_its_revision(ports: Ports) {
    leases(&ports).await;
    let leader = LeaseName::leader();
    let taken = ports
        .leases
        .create(&leader, Bytes::from_static(b"gateway-1"), LONG)
        .await
        .unwrap();
    let renewed = ports
        .leases
        .renew(&leader, taken, Bytes::from_static(b"gateway-1"), LONG)
        .await
        .unwrap();
    assert!(renewed > taken);
    let over = ports
        .leases
        .put(&leader, renewed, Bytes::from_static(b"gateway-2"), LONG)
        .await
        .unwrap();
    let late = ports
        .leases
        .renew(&leader, renewed, Bytes::from_static(b"gateway-1"), LONG)
        .await;
    assert_eq!(late, Err(LeaseError::Conflict));
    let held = Lease {
        revision: over,
        payload: Some(Bytes::from_static(b"gateway-2")),
    };
    assert_eq!(ports.leases.get(&leader).await, Ok(held));
}

async fn a_released_lease_can_be_taken(ports: Ports) {
    leases(&ports).await;
    let leader = LeaseName::leader();
    let taken = ports.leases.create(&leader, Bytes::new(), LONG).await.unwrap();
    let wrong = ports.leases.release(&leader, Revision(taken.0 + 5)).await;
    assert_eq!(wrong, Err(LeaseError::Conflict));
    ports.leases.release(&leader, taken).await.unwrap();
    let free = ports.leases.get(&leader).await.unwrap();
    assert!(free.payload.is_none() && free.revision > taken);
    ports.leases.create(&leader, Bytes::new(), LONG).await.unwrap();
}

async fn a_lease_that_nobody_renews_ends(ports: Ports) {
    leases(&ports).await;
    let leader = LeaseName::leader();
    let taken = ports
        .leases
        .create(&leader, Bytes::from_static(b"g"), TTL)
        .await
        .unwrap();
    let renewed = ports
        .leases
        .renew(&leader, taken, Bytes::from_static(b"g"), TTL)
        .await
        .unwrap();
    let leases = ports.leases.as_ref();
    let free = isthmus_log::testing::until("the lease ends", Duration::from_secs(5), || async {
        leases
            .get(&LeaseName::leader())
            .await
            .ok()
            .filter(|lease| lease.payload.is_none())
    });
    assert!(free.await.revision > renewed);
    ports
        .leases
        .create(&leader, Bytes::from_static(b"h"), TTL)
        .await
        .unwrap();
}

async fn a_lease_of_less_than_a_second_is_refused(ports: Ports) {
    leases(&ports).await;
    let refused = ports
        .leases
        .create(&LeaseName::leader(), Bytes::new(), Duration::from_millis(999))
        .await;
    assert_eq!(refused, Err(LeaseError::TooShort));
}

async fn a_watch_tells_what_is_held_and_what_becomes_of_it(ports: Ports) {
    leases(&ports).await;
    let (steward, leader) = (LeaseName::steward(), LeaseName::leader());
    let held = ports
        .leases
        .create(&steward, Bytes::from_static(b"a"), LONG)
        .await
        .unwrap();
    let mut watch = ports.leases.watch();
    let snapshot = LeaseEvent::Snapshot(vec![(steward.clone(), held, Bytes::from_static(b"a"))]);
    assert_eq!(within("a snapshot", watch.next()).await, Some(snapshot));

    let revision = ports
        .leases
        .create(&leader, Bytes::from_static(b"g"), TTL)
        .await
        .unwrap();
    let taken = LeaseEvent::Held {
        name: leader.clone(),
        revision,
        payload: Bytes::from_static(b"g"),
    };
    assert_eq!(within("it is held", watch.next()).await, Some(taken));
    let Some(LeaseEvent::Ended { name, reason, .. }) = within("it ends", watch.next()).await else {
        panic!("a lease that ran out went unnoticed");
    };
    assert_eq!((name, reason), (leader, Ended::Expired));

    ports.leases.release(&steward, held).await.unwrap();
    let Some(LeaseEvent::Ended { name, reason, .. }) = within("it is released", watch.next()).await else {
        panic!("a lease that was released went unnoticed");
    };
    assert_eq!((name, reason), (steward, Ended::Released));
    let empty = within("a snapshot", ports.leases.watch().next()).await;
    assert_eq!(empty, Some(LeaseEvent::Snapshot(Vec::new())));
}

async fn members_come_and_go_with_their_leases(ports: Ports) {
    leases(&ports).await;
    let member = |role, name: &str| Member {
        role,
        process: ProcessName::parse(name).unwrap(),
    };
    let (agent, gateway) = (member(Role::Agent, "agent-1"), member(Role::Gateway, "gateway-1"));
    let mut watch = ports.leases.watch();
    let mut members = Members::default();
    assert_eq!(
        members.note(&within("a snapshot", watch.next()).await.unwrap()),
        []
    );

    let put = |member: &Member, revision, payload: &'static [u8], ttl| {
        let (leases, lease) = (ports.leases.clone(), member.lease());
        async move {
            leases
                .put(&lease, revision, Bytes::from_static(payload), ttl)
                .await
                .unwrap()
        }
    };
    let held = put(&agent, Revision(0), b"one", LONG).await;
    assert_eq!(
        members.note(&within("an event", watch.next()).await.unwrap()),
        [MemberChange::Up(agent.clone())]
    );
    let held = put(&agent, held, b"one", LONG).await;
    assert_eq!(members.note(&within("an event", watch.next()).await.unwrap()), []);
    let held = put(&agent, held, b"two", LONG).await;
    assert_eq!(
        members.note(&within("an event", watch.next()).await.unwrap()),
        [MemberChange::Told(agent.clone())]
    );
    put(&gateway, Revision(0), b"", TTL).await;
    assert_eq!(
        members.note(&within("an event", watch.next()).await.unwrap()),
        [MemberChange::Up(gateway.clone())]
    );
    assert_eq!(members.iter().count(), 2);
    let down = MemberChange::Down(gateway, Ended::Expired);
    assert_eq!(
        members.note(&within("an event", watch.next()).await.unwrap()),
        [down]
    );

    ports.leases.release(&agent.lease(), held).await.unwrap();
    let down = MemberChange::Down(agent, Ended::Released);
    assert_eq!(
        members.note(&within("an event", watch.next()).await.unwrap()),
        [down]
    );
    assert_eq!(members.of(Role::Agent).count(), 0);
}

async fn what_is_told_is_heard_by_those_who_listen(ports: Ports) {
    let mut all = ports.peers.subscribe("applied.>").await.unwrap();
    let mut one = ports.peers.subscribe("applied.default.1").await.unwrap();
    for partition in 0..3 {
        let told = Bytes::from(vec![partition]);
        ports
            .peers
            .publish(&format!("applied.default.{partition}"), told)
            .await
            .unwrap();
    }
    ports
        .peers
        .publish("cursors.default.1", Bytes::new())
        .await
        .unwrap();
    for partition in 0..3 {
        let heard = within("it is heard", all.next()).await.unwrap();
        assert_eq!(
            (heard.suffix, heard.payload),
            (format!("applied.default.{partition}"), vec![partition].into())
        );
        assert_eq!(heard.reply, None);
    }
    assert_eq!(within("it is heard", one.next()).await.unwrap().payload, vec![1]);
}

async fn a_request_is_answered(ports: Ports) {
    let asked =
        |suffix: &'static str, timeout| ports.peers.request(suffix, Bytes::from_static(b"who"), timeout);
    assert_eq!(asked("status.leader", LONG).await, Err(PeerError::NoResponders));
    let mut questions = ports.peers.subscribe("status.*").await.unwrap();
    let answering = async {
        let question = questions.next().await.unwrap();
        assert_eq!(question.payload, "who");
        ports
            .peers
            .respond(&question.reply.unwrap(), Bytes::from_static(b"me"))
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(asked("status.leader", LONG), answering);
    assert_eq!(answer, Ok(Bytes::from_static(b"me")));
    let silence = asked("status.leader", Duration::from_millis(50)).await;
    assert_eq!(silence, Err(PeerError::Unanswered));
}

async fn the_clock_of_the_log_is_known_within_its_uncertainty(ports: Ports) {
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
