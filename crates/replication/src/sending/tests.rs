use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::coordinates::{Life, MessageId, Shard, WriterId};
use crate::fold::{Message, SubjectToken};
use crate::header::{BodySeal, LifeLink, LifeRecord, Local, MarkRecord, Record, StageTimes};
use crate::hlc::Hlc;
use crate::names::{GroupName, RegionName, SetName};
use crate::time::Wall;

mod behind;
mod trouble;

fn log() -> LogName {
    LogName {
        set: SetName::parse("shop").expect("a valid name"),
        region: RegionName::parse("eu-west").expect("a valid name"),
        shard: Shard {
            group: GroupName::parse("default").expect("a valid name"),
            partition: 0,
        },
    }
}

fn at(millis: u64) -> Now {
    Now {
        mono: Mono::from_nanos(millis * 1_000_000),
        wall: Wall::from_millis(1_000_000 + millis),
    }
}

const LIFE: Life = Life { number: 1, nonce: 1 };

fn cursor(sequence: u64) -> Cursor {
    Cursor {
        position: Position {
            life: LIFE,
            sequence: Sequence(sequence),
        },
        message_id: MessageId(sequence),
    }
}

fn report(cursor: Option<Cursor>) -> LaneReport {
    LaneReport {
        shard: log().shard,
        generation: 1,
        life: Some(LIFE),
        cursor,
        applied: cursor.map(|cursor| AppliedThrough(cursor.position)),
        window: 10_000,
        hold: None,
        needs_sync: false,
    }
}

/// A lane with its log. Message `n` has the identifier `n`; the first message begins the life.
struct TestLane {
    sending: Sending,
    log: Vec<(Now, SubjectToken, Header, Bytes)>,
    read: usize,
    run: u64,
    now: Now,
}

impl TestLane {
    /// A log with its first life and `writes` writes; the head is known.
    fn new(writes: usize) -> Self {
        let mut lane = Self {
            sending: Sending::new(log()),
            log: vec![],
            read: 0,
            run: 0,
            now: at(0),
        };
        lane.append(SubjectToken::Agent, b"", |message_id| {
            Record::Life(LifeRecord {
                message_id,
                link: LifeLink {
                    life: LIFE,
                    parent: None,
                    fork: Sequence::NONE,
                },
                lost_before: false,
            })
        });
        (0..writes).for_each(|_| lane.write(b"body"));
        let head = lane.fold(lane.log.len());
        lane.sending.handle_head(lane.now, &head);
        lane
    }

    fn append(&mut self, token: SubjectToken, body: &'static [u8], record: impl FnOnce(MessageId) -> Record) {
        let body = Bytes::from_static(body);
        let header = Header {
            set: log().set,
            shard: log().shard,
            record: record(MessageId(self.log.len() as u64 + 1)),
            body: BodySeal::of(&body, u32::from(!body.is_empty())),
            stages: StageTimes::default(),
        };
        self.log.push((self.now, token, header, body));
    }

    fn write(&mut self, body: &'static [u8]) {
        let stamp = Hlc::at(self.now.wall);
        self.append(SubjectToken::Origin(log().region), body, |message_id| {
            Record::Batch(Local {
                message_id,
                writer: WriterId(1),
                lowest_stamp: stamp,
                highest_stamp: stamp,
            })
        });
    }

    fn mark(&mut self) {
        let (hlc, described) = (Hlc::at(self.now.wall), self.log.len() as u64);
        self.append(SubjectToken::Agent, b"", |message_id| {
            Record::Mark(MarkRecord {
                message_id,
                life: LIFE,
                writer: WriterId(1),
                hlc,
                described: Anchor {
                    sequence: Sequence(described),
                    message_id: MessageId(described),
                },
                agents: Vec::new(),
            })
        });
    }

    fn message(at: usize, stored: &(Now, SubjectToken, Header, Bytes)) -> Message<'_> {
        Message {
            sequence: Sequence(at as u64 + 1),
            timestamp: stored.0.wall,
            token: Some(&stored.1),
            header: Ok(&stored.2),
        }
    }

    fn fold(&self, messages: usize) -> Fold {
        let mut fold = Fold::new(log());
        for (at, stored) in self.log.iter().enumerate().take(messages) {
            fold.apply(Self::message(at, stored)).expect("the next sequence");
        }
        fold
    }

    fn connect(&mut self, report: &LaneReport) {
        self.sending.handle_welcome(self.now, report);
        self.start();
    }

    fn start(&mut self) {
        let Some(ReaderOrder::Start { run, at_most }) = self.sending.poll_reader() else {
            panic!("no reader asked for")
        };
        self.run = run;
        self.read = self.log.len().min(at_most.0 as usize);
        self.sending
            .handle_reader_started(self.now, run, self.fold(self.read));
    }

    fn read_all(&mut self) {
        while self.sending.wants_messages() && self.read < self.log.len() {
            let stored = &self.log[self.read];
            let body = stored.3.clone();
            self.sending
                .handle_message(self.now, self.run, Self::message(self.read, stored), &body);
            self.read += 1;
        }
    }

    fn sent(&mut self) -> Vec<(u64, u64, usize)> {
        std::iter::from_fn(|| self.sending.poll_transmit(self.now))
            .map(|frame| {
                let header = Header::decode(&frame.header).expect("a sound header");
                assert_eq!(header.body.check(&frame.body), Ok(()));
                let Record::Range(range) = header.record else {
                    panic!("not a range")
                };
                assert_eq!(range.previous, MessageId(range.first.0 - 1));
                (range.first.0, range.through.sequence.0, frame.body.len())
            })
            .collect()
    }

    fn wait(&mut self, millis: u64) {
        self.now = at(self.now.mono.nanos() / 1_000_000 + millis);
        self.sending.handle_timeout(self.now);
    }
}

#[test]
fn an_idle_lane_sends_at_once_and_a_busy_one_joins_records() {
    let mut lane = TestLane::new(1);
    lane.connect(&report(None));
    lane.read_all();
    assert_eq!(lane.sent(), [(1, 2, 4)]);
    lane.write(b"body");
    lane.write(b"body");
    lane.read_all();
    assert_eq!(lane.sent(), []);
    let due = lane.now.mono.after(limits::GROUP_FORWARD);
    assert_eq!(lane.sending.poll_timeout(), Some((due, Deadline::Flush)));
    lane.wait(2);
    assert_eq!(lane.sent(), [(3, 4, 8)]);
}

#[test]
fn a_range_ends_at_an_own_stamp_and_what_follows_it_waits() {
    let mut lane = TestLane::new(1);
    lane.append(SubjectToken::Origin(log().region), b"void", |message_id| {
        Record::Batch(Local {
            message_id,
            writer: WriterId(1),
            lowest_stamp: Hlc::ZERO,
            highest_stamp: Hlc::ZERO,
        })
    });
    lane.connect(&report(None));
    lane.read_all();
    assert_eq!(lane.sent(), [(1, 2, 4)]);
    lane.wait(10);
    assert_eq!(lane.sent(), []);
    lane.mark();
    lane.read_all();
    lane.wait(10);
    assert_eq!(lane.sent(), [(3, 4, 0)]);
}

#[test]
fn a_lane_goes_on_at_the_peers_cursor() {
    let mut lane = TestLane::new(5);
    lane.connect(&report(Some(cursor(4))));
    lane.read_all();
    assert_eq!(lane.sent(), [(5, 6, 8)]);
    assert_eq!(lane.sending.state(), LaneState::Streaming);
    lane.sending.handle_reset(
        lane.now,
        &LaneReport {
            generation: 2,
            ..report(Some(cursor(3)))
        },
    );
    assert_eq!(lane.sending.state(), LaneState::Reading);
    lane.start();
    lane.read_all();
    assert_eq!(lane.sent(), [(4, 6, 12)]);
}

#[test]
fn an_ack_of_another_generation_says_nothing() {
    let mut lane = TestLane::new(2);
    lane.connect(&report(None));
    let old = LaneReport {
        generation: 7,
        ..report(Some(cursor(3)))
    };
    lane.sending.handle_ack(lane.now, &old);
    lane.sending
        .handle_reset(lane.now, &LaneReport { generation: 1, ..old });
    assert_eq!(lane.sending.cursor(), None);
}

#[test]
fn credit_holds_ranges_back_until_the_cursor_moves() {
    let mut lane = TestLane::new(1);
    lane.connect(&LaneReport {
        window: 1,
        ..report(None)
    });
    lane.read_all();
    assert_eq!(lane.sent(), [(1, 2, 4)]);
    lane.write(b"more");
    lane.read_all();
    lane.wait(10);
    assert_eq!(lane.sent(), []);
    lane.sending.handle_ack(
        lane.now,
        &LaneReport {
            window: 1,
            ..report(Some(cursor(2)))
        },
    );
    assert_eq!(lane.sent(), [(3, 3, 4)]);
}

#[test]
fn a_reader_waits_while_the_lane_holds_much() {
    static LARGE: [u8; 200 * 1024] = [0; 200 * 1024];
    let mut lane = TestLane::new(0);
    (0..20).for_each(|_| lane.write(&LARGE));
    lane.sending.handle_paused(lane.now, true);
    lane.connect(&report(None));
    lane.read_all();
    assert!(lane.read < 10, "{} messages were taken", lane.read);
    assert_eq!(lane.sent(), []);
    assert_eq!(lane.sending.state(), LaneState::Stalled(Stall::Paused));
    lane.sending.handle_paused(lane.now, false);
    assert_eq!(lane.sent().len(), 1);
}
