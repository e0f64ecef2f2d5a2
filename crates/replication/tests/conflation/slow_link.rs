//! One lane, a link of 1 Mb/s with a round trip of 80 ms, and a peer that appends and applies
//! immediately.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use isthmus_replication::body;
use isthmus_replication::cell::{CellId, ContentType, Field};
use isthmus_replication::change::{Change, Op};
use isthmus_replication::coordinates::{AppliedThrough, Life, MessageId, Sequence, Shard, WriterId};
use isthmus_replication::fold::{Fold, LogName, Message, SubjectToken};
use isthmus_replication::header::{BodySeal, Codec, Header, LifeLink, LifeRecord, Local, Record, StageTimes};
use isthmus_replication::hlc::{Clock, Hlc};
use isthmus_replication::limits;
use isthmus_replication::link::lane::{LaneReport, RangeFrame};
use isthmus_replication::names::{BucketName, GroupName, Key, RegionName, SetName};
use isthmus_replication::seen::{Seen, Stamp};
use isthmus_replication::sending::{ReaderOrder, Sending};
use isthmus_replication::store::Store;
use isthmus_replication::time::{Mono, Now, Wall};
use isthmus_replication::version::Version;

const BYTES_PER_MS: u64 = 125;
const ONE_WAY_MS: u64 = 40;
/// Frames that the link's shell takes before it reports that it has no room.
const LINK_QUEUE: usize = 8;
/// A message of the agent is formed this often.
const MESSAGE_MS: u64 = 10;
const LIFE: Life = Life { number: 1, nonce: 1 };

/// The write load, and when the link is cut.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    pub hot_per_second: u64,
    pub cold_per_second: u64,
    pub cut_ms: Range<u64>,
    pub for_ms: u64,
}

/// The results of a run.
pub(crate) struct Run {
    pub home: Store,
    pub peer: Store,
    /// Milliseconds from the write to the apply at the peer, for each key that is written once.
    pub delays_ms: Vec<u64>,
    pub cold_written: u64,
    pub cold_arrived: Vec<u64>,
    pub hot_arrived: Vec<Hlc>,
    pub left_out: u64,
    pub packed_ranges: u64,
    written_at: Vec<u64>,
    clock: Clock,
    newest_hot: Option<Hlc>,
    log: Vec<(u64, Header, Bytes)>,
    read: usize,
    run: u64,
    sending: Sending,
    free_at: u64,
    there: VecDeque<(u64, u64, RangeFrame)>,
    back: VecDeque<(u64, LaneReport)>,
}

fn region() -> RegionName {
    RegionName::parse("eu-west").unwrap()
}

fn name() -> LogName {
    LogName {
        set: SetName::parse("shop").unwrap(),
        region: region(),
        shard: Shard {
            group: GroupName::parse("default").unwrap(),
            partition: 0,
        },
    }
}

fn at(ms: u64) -> Now {
    Now {
        mono: Mono::from_nanos(ms * 1_000_000),
        wall: Wall::from_millis(1_000_000 + ms),
    }
}

fn report(end: Option<&Header>) -> LaneReport {
    let cursor = end.and_then(|header| match &header.record {
        Record::Range(range) => range.end(),
        _ => None,
    });
    LaneReport {
        shard: name().shard,
        generation: 1,
        life: Some(LIFE),
        cursor,
        applied: cursor.map(|cursor| AppliedThrough(cursor.position)),
        window: limits::LANE_WINDOW_BYTES,
        hold: None,
        needs_sync: false,
    }
}

impl Run {
    pub(crate) fn of(traffic: &Traffic) -> Self {
        let mut run = Self::new();
        let mut now = 0;
        while now < traffic.for_ms || run.cold_arrived.len() < run.written_at.len() || !run.there.is_empty() {
            if now < traffic.for_ms && now.is_multiple_of(MESSAGE_MS) {
                run.write(now, traffic);
            }
            run.send(now, &traffic.cut_ms);
            run.arrive(now);
            assert!(now < 10 * traffic.for_ms, "never drained");
            now += 1;
        }
        run.cold_written = run.written_at.len() as u64;
        run.left_out = run.sending.spared().changes;
        run
    }

    fn new() -> Self {
        let mut run = Self {
            home: Store::default(),
            peer: Store::default(),
            delays_ms: vec![],
            cold_written: 0,
            cold_arrived: vec![],
            hot_arrived: vec![],
            left_out: 0,
            packed_ranges: 0,
            written_at: vec![],
            clock: Clock::default(),
            newest_hot: None,
            log: vec![],
            read: 0,
            run: 0,
            sending: Sending::new(name()),
            free_at: 0,
            there: VecDeque::new(),
            back: VecDeque::new(),
        };
        let link = LifeLink {
            life: LIFE,
            parent: None,
            fork: Sequence::NONE,
        };
        run.append(
            0,
            Record::Life(LifeRecord {
                message_id: MessageId(1),
                link,
                lost_before: false,
            }),
            vec![],
        );
        let mut head = Fold::new(name());
        head.apply(run.message(0)).unwrap();
        run.sending.handle_head(at(0), &head);
        run.sending.handle_welcome(at(0), &report(None));
        run
    }

    fn append(&mut self, now: u64, record: Record, changes: Vec<Change>) {
        let body = if changes.is_empty() {
            Bytes::new()
        } else {
            body::encode(&region(), &changes)
        };
        let header = Header {
            set: name().set,
            shard: name().shard,
            record,
            body: BodySeal::of(&body, changes.len() as u32),
            stages: StageTimes::default(),
        };
        changes
            .into_iter()
            .for_each(|change| drop(self.home.apply(change, Wall::default())));
        self.log.push((now, header, body));
    }

    fn message(&self, index: usize) -> Message<'_> {
        static AGENT: SubjectToken = SubjectToken::Agent;
        static ORIGIN: std::sync::LazyLock<SubjectToken> =
            std::sync::LazyLock::new(|| SubjectToken::Origin(region()));
        let (appended, header, _) = &self.log[index];
        let token = if matches!(header.record, Record::Life(_)) {
            &AGENT
        } else {
            &*ORIGIN
        };
        Message {
            sequence: Sequence(index as u64 + 1),
            timestamp: at(*appended).wall,
            token: Some(token),
            header: Ok(header),
        }
    }

    /// One message of an agent: its share of the hot key's writes, with the writes of other keys
    /// among them.
    fn write(&mut self, now: u64, traffic: &Traffic) {
        let hot = traffic.hot_per_second * MESSAGE_MS / 1000;
        let cold = traffic.cold_per_second * MESSAGE_MS / 1000;
        let mut changes = vec![];
        for n in 0..cold {
            changes.extend((0..hot / cold).map(|_| self.hot(now)));
            if n == 0 {
                changes.extend((0..hot % cold).map(|_| self.hot(now)));
            }
            let key = self.written_at.len().to_string();
            self.written_at.push(now);
            changes.push(self.change(now, &key, Seen::default()));
        }
        let local = Local {
            message_id: MessageId(self.log.len() as u64 + 1),
            writer: WriterId(1),
            lowest_stamp: changes[0].version.hlc,
            highest_stamp: changes.last().unwrap().version.hlc,
        };
        self.append(now, Record::Batch(local), changes);
    }

    fn hot(&mut self, now: u64) -> Change {
        let mut seen = Seen::default();
        if let Some(hlc) = self.newest_hot {
            seen.note(&region(), Stamp::of_any_writer(hlc));
        }
        let change = self.change(now, "hot", seen);
        self.newest_hot = Some(change.version.hlc);
        change
    }

    fn change(&mut self, now: u64, key: &str, seen: Seen) -> Change {
        let id = CellId {
            bucket: BucketName::parse("carts").unwrap(),
            key: Key::parse(key).unwrap(),
            field: Field::NONE,
        };
        Change {
            id,
            version: Version {
                hlc: self.clock.stamp(at(now).wall),
                region: region(),
                writer: WriterId(1),
            },
            seen,
            expires_at: None,
            op: Op::Put {
                value: Bytes::from_static(&[b'v'; 40]),
                content_type: ContentType::default(),
            },
            trace: None,
        }
    }

    fn send(&mut self, now: u64, cut: &Range<u64>) {
        while let Some((_, report)) = self.back.pop_front_if(|(due, _)| *due <= now) {
            self.sending.handle_ack(at(now), &report);
        }
        self.sending.handle_timeout(at(now));
        while let Some(order) = self.sending.poll_reader() {
            let ReaderOrder::Start { run, at_most } = order else {
                continue;
            };
            assert_eq!(at_most, Sequence::NONE, "the lane begins once");
            (self.run, self.read) = (run, 0);
            self.sending
                .handle_reader_started(at(now), run, Fold::new(name()));
        }
        while self.sending.wants_messages() && self.read < self.log.len() {
            let (index, body) = (self.read, self.log[self.read].2.clone());
            let mut sending = std::mem::replace(&mut self.sending, Sending::new(name()));
            sending.handle_message(at(now), self.run, self.message(index), &body);
            self.sending = sending;
            self.read += 1;
            self.transmit(now, cut);
        }
        self.transmit(now, cut);
        assert!(self.sending.poll_event().is_none());
    }

    fn transmit(&mut self, now: u64, cut: &Range<u64>) {
        while self.there.iter().filter(|(sent, ..)| *sent > now).count() < LINK_QUEUE {
            let Some(frame) = self.sending.poll_transmit(at(now)) else {
                return;
            };
            let begins = if cut.contains(&now) { cut.end } else { now };
            self.free_at = self.free_at.max(begins) + frame.cost().div_ceil(BYTES_PER_MS);
            self.there
                .push_back((self.free_at, self.free_at + ONE_WAY_MS, frame));
        }
    }

    fn arrive(&mut self, now: u64) {
        while let Some((.., frame)) = self.there.pop_front_if(|(_, due, _)| *due <= now) {
            let header = Header::decode(&frame.header).unwrap();
            header.body.check(&frame.body).unwrap();
            self.packed_ranges += u64::from(header.body.codec != Codec::Plain);
            for change in body::open(header.body.codec, &region(), frame.body).unwrap() {
                self.apply(now, change);
            }
            self.back.push_back((now + ONE_WAY_MS, report(Some(&header))));
        }
    }

    fn apply(&mut self, now: u64, change: Change) {
        match change.id.key.as_str().parse::<u64>() {
            Ok(cold) => {
                self.cold_arrived.push(cold);
                self.delays_ms.push(now - self.written_at[cold as usize]);
            }
            Err(_) => self.hot_arrived.push(change.version.hlc),
        }
        let applied = self.peer.apply(change, Wall::default());
        assert!(
            applied.into_conflict().is_none(),
            "one region's writes, each over the one before, conflict with none"
        );
    }
}
