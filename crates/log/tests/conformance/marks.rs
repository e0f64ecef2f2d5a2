//! Finding the mark to start from.

use bytes::Bytes;
use isthmus_log::{Ports, newest_mark_describing, oldest_mark};
use isthmus_replication::cell::Digest;
use isthmus_replication::coordinates::{Anchor, Life, MessageId, Sequence, WriterId};
use isthmus_replication::fold::{Fold, MarkBody, Message, SubjectToken};
use isthmus_replication::header::{LifeLink, LifeRecord, MarkRecord, Record};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::time::Wall;

use super::common::*;

/// A log as a steward leaves it: a mark after every third batch, which describes the batch two
/// before it. Then invalid marks: one that describes a message that is not in the log, and one that
/// can't be decoded.
pub(crate) async fn the_newest_mark_at_or_below_a_position_is_found(ports: Ports) {
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
        lost_before: false,
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
    let ended = of_an_ended_life(&fold);
    put_mark(&ports, &ended, 21, ended.at()).await;
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

/// A fold that is one message ahead of `fold`, at a message that the log does not have there.
fn of_an_ended_life(fold: &Fold) -> Fold {
    let mut ended = fold.clone();
    let (lost, token) = (batch(666, &Bytes::new()), own());
    let message = Message {
        sequence: fold.at().sequence.next(),
        timestamp: Wall::default(),
        token: Some(&token),
        header: Ok(&lost),
    };
    ended.apply(message).unwrap();
    ended
}

fn mark_record(fold: &Fold, number: u64, described: Anchor) -> Record {
    Record::Mark(MarkRecord {
        message_id: MessageId(2000 + number),
        life: fold.lineage().current().unwrap(),
        writer: WriterId(1),
        hlc: Hlc::from_bits(number),
        described,
        agents: Vec::new(),
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
        .append(&shard(), &SubjectToken::Agent, &header, body)
        .await
        .await
        .unwrap();
}
