#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::body;
use crate::cell::{CellId, ContentType, Field};
use crate::change::Change;
use crate::coordinates::{Life, Shard};
use crate::fold::{LogName, Message, SubjectToken};
use crate::header::{BodySeal, Header, LifeLink, LifeRecord, Record, StageTimes};
use crate::names::{BucketName, GroupName, Key, RegionName, SetName};
use crate::time::Wall;

mod model;
mod properties;
mod stories;

/// True time at the start, in milliseconds.
pub(super) const EPOCH: u64 = 1_000_000;

pub(super) fn log_name() -> LogName {
    LogName {
        set: SetName::parse("shop").unwrap(),
        region: RegionName::parse("eu-west").unwrap(),
        shard: Shard {
            group: GroupName::parse("default").unwrap(),
            partition: 0,
        },
    }
}

pub(super) fn cell(key: &str) -> CellId {
    CellId {
        bucket: BucketName::parse("carts").unwrap(),
        key: Key::parse(key).unwrap(),
        field: Field::NONE,
    }
}

pub(super) fn life_header(number: u64, parent: Option<Life>, fork: Sequence) -> Header {
    let link = LifeLink {
        life: Life { number, nonce: 7 },
        parent,
        fork,
    };
    Header {
        set: log_name().set,
        shard: log_name().shard,
        record: Record::Life(LifeRecord {
            message_id: MessageId(number),
            link,
            lost_before: false,
        }),
        body: BodySeal::default(),
        stages: StageTimes::default(),
    }
}

#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) at: Wall,
    pub(super) token: SubjectToken,
    pub(super) header: Header,
    pub(super) body: Bytes,
}

/// A log with its reader: every read goes through the real fold.
#[derive(Debug, Default)]
pub(super) struct Log(pub(super) Vec<Stored>);

impl Log {
    pub(super) fn new() -> Self {
        let mut log = Self::default();
        log.append(
            0,
            SubjectToken::Agent,
            life_header(1, None, Sequence::NONE),
            Bytes::new(),
        );
        log
    }

    pub(super) fn append(&mut self, now: u64, token: SubjectToken, header: Header, body: Bytes) -> Sequence {
        self.0.push(Stored {
            at: Wall::from_millis(EPOCH + now),
            token,
            header,
            body,
        });
        Sequence(self.0.len() as u64)
    }

    /// Folds the message after `fold` and returns its verdict and the changes that count.
    pub(super) fn read(&self, fold: &mut Fold) -> Option<(Verdict, Vec<Change>)> {
        let stored = self.0.get(fold.at().sequence.0 as usize)?;
        let message = Message {
            sequence: fold.at().sequence.next(),
            timestamp: stored.at,
            token: Some(&stored.token),
            header: Ok(&stored.header),
        };
        let verdict = fold.apply(message).unwrap();
        let counts = matches!(&verdict, Verdict::Accepted(accepted) if accepted.carries_own_changes());
        let changes = match counts {
            true => body::decode(&log_name().region, stored.body.clone()).unwrap(),
            false => Vec::new(),
        };
        Some((verdict, changes))
    }
}

/// An agent's writer with its fold and store.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) writer: Writer,
    pub(super) fold: Fold,
    pub(super) store: Store,
    /// Its wall clock minus true time, in milliseconds.
    pub(super) skew: i64,
    pub(super) outcomes: BTreeMap<Ticket, Outcome>,
    pub(super) events: Vec<Event>,
}

impl Agent {
    pub(super) fn new(run: u64) -> Self {
        let fold = Fold::new(log_name());
        Self {
            writer: Writer::new(&fold, WriterId(run), u128::from(run)),
            fold,
            store: Store::default(),
            skew: 0,
            outcomes: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn now(&self, now: u64) -> Now {
        Now {
            mono: Mono::from_nanos(now * 1_000_000),
            wall: Wall::from_millis((EPOCH + now).saturating_add_signed(self.skew)),
        }
    }

    pub(super) fn write(
        &mut self,
        now: u64,
        key: &str,
        value: &str,
        patience: u64,
    ) -> Result<Ticket, Refused> {
        let write = Write {
            id: cell(key),
            op: Op::Put {
                value: Bytes::copy_from_slice(value.as_bytes()),
                content_type: ContentType::default(),
            },
            ttl: None,
            trace: None,
            deadline: Mono::from_nanos((now + patience) * 1_000_000),
        };
        self.writer.handle_write(self.now(now), write)
    }

    pub(super) fn read(&mut self, now: u64, log: &Log) -> bool {
        let Some((verdict, changes)) = log.read(&mut self.fold) else {
            return false;
        };
        let wall = self.now(now).wall;
        let apply = |change: Change| self.store.apply(change, wall).superseded();
        let superseded: Vec<bool> = changes.into_iter().map(apply).collect();
        self.writer
            .handle_message(self.now(now), &self.fold, &verdict, &superseded);
        self.collect();
        true
    }

    pub(super) fn read_all(&mut self, now: u64, log: &Log) {
        while self.read(now, log) {}
    }

    pub(super) fn timeout(&mut self, now: u64) {
        self.writer.handle_timeout(self.now(now));
        self.collect();
    }

    pub(super) fn poll(&mut self, now: u64) -> Option<Append> {
        let append = self.writer.poll_append(self.now(now), &self.store);
        self.collect();
        append
    }

    pub(super) fn collect(&mut self) {
        while let Some((ticket, outcome)) = self.writer.poll_outcome() {
            let earlier = self.outcomes.insert(ticket, outcome);
            assert_eq!(earlier, None, "a write has one outcome");
        }
        self.events
            .extend(std::iter::from_fn(|| self.writer.poll_event()));
    }

    /// Appends everything that is due and reads it back.
    pub(super) fn commit(&mut self, now: u64, log: &mut Log) {
        while let Some(append) = self.poll(now) {
            let sequence = log.append(now, append.token, append.header, append.body);
            self.writer.handle_published(append.message_id, sequence);
        }
        self.read_all(now, log);
    }
}

/// An agent that has read back its barrier.
pub(super) fn ready(log: &mut Log) -> Agent {
    let mut agent = Agent::new(1);
    agent.commit(0, log);
    assert!(agent.writer.is_ready());
    agent
}
