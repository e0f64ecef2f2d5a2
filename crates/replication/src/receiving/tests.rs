use super::*;
use crate::body;
use crate::coordinates::{Anchor, Life, MessageId, Position, Sequence, Shard};
use crate::fold::Message;
use crate::header::{BodySeal, HeaderError, Kind, LifeLink, LifeRecord, Lineage, StageTimes};
use crate::hlc::Hlc;
use crate::names::{GroupName, SetName};
use crate::time::Wall;

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

fn origin() -> RegionName {
    RegionName::parse("us-east").expect("a valid name")
}

fn at(millis: u64) -> Now {
    Now {
        mono: Mono::from_nanos(millis * 1_000_000),
        wall: Wall::from_millis(1_000_000 + millis),
    }
}

fn lineage(lives: u64) -> Lineage {
    let mut lineage = Lineage::default();
    for number in 1..=lives {
        let link = LifeLink {
            life: Life {
                number,
                nonce: number,
            },
            parent: lineage.current(),
            fork: Sequence((number - 1) * 10),
        };
        assert!(lineage.begin(link));
    }
    lineage
}

fn range(first: u64, through: u64) -> Range {
    Range {
        origin: origin(),
        lineage: lineage(1),
        previous: MessageId(first - 1),
        first: Sequence(first),
        through: Anchor {
            sequence: Sequence(through),
            message_id: MessageId(through),
        },
        highest_stamp: Hlc::at(at(0).wall),
        admission_floor: Hlc::ZERO,
    }
}

fn header(record: Record, body: &[u8]) -> Header {
    Header {
        set: log().set,
        shard: log().shard,
        record,
        body: BodySeal::of(body, 0),
        stages: StageTimes::default(),
    }
}

fn frame_of(header: &Header, body: Bytes) -> RangeFrame {
    RangeFrame {
        shard: log().shard,
        generation: 1,
        header: header.encode(),
        body,
    }
}

fn header_of(frame: &RangeFrame) -> Header {
    Header::decode(&frame.header).expect("a sound header")
}

fn frame(range: Range) -> RangeFrame {
    let body = body::encode(&origin(), &[]);
    frame_of(&header(Record::Range(range), &body), body)
}

/// A lane into a log that is read as it is written.
struct TestLane {
    receiving: Receiving,
    head: Fold,
    now: Now,
}

impl TestLane {
    fn new() -> Self {
        let mut lane = Self {
            receiving: Receiving::new(log(), origin(), Duration::from_secs(2), &Fold::new(log())),
            head: Fold::new(log()),
            now: at(0),
        };
        lane.begin_life(1, Sequence::NONE);
        lane.receiving = Receiving::new(log(), origin(), Duration::from_secs(2), &lane.head);
        let welcome = lane.receiving.poll_welcome();
        assert_eq!(
            (welcome.generation, welcome.cursor, welcome.hold),
            (1, None, None)
        );
        lane
    }

    fn begin_life(&mut self, number: u64, fork: Sequence) {
        let record = Record::Life(LifeRecord {
            message_id: MessageId(number),
            link: LifeLink {
                life: Life {
                    number,
                    nonce: number,
                },
                parent: self.head.lineage().current(),
                fork,
            },
            lost_before: false,
        });
        let verdict = self.store(&SubjectToken::Agent, &header(record, b""));
        assert!(matches!(verdict, Verdict::Accepted(_)));
    }

    fn take(&mut self, first: u64, through: u64) -> bool {
        let taken = self
            .receiving
            .handle_range(self.now, frame(range(first, through)))
            .expect("an honest range");
        taken.is_some_and(|taken| taken.through == Sequence(through))
    }

    fn appends(&mut self) -> Vec<Append> {
        std::iter::from_fn(|| self.receiving.poll_append(self.now)).collect()
    }

    /// Appends a message and reads it back.
    fn store(&mut self, token: &SubjectToken, header: &Header) -> Verdict {
        let message = Message {
            sequence: self.head.at().sequence.next(),
            timestamp: self.now.wall,
            token: Some(token),
            header: Ok(header),
        };
        let verdict = self.head.apply(message).expect("the next sequence");
        self.receiving
            .handle_read_back(self.now, Some(header), &verdict, &self.head);
        verdict
    }

    fn stores(&mut self, append: &Append) -> bool {
        matches!(self.store(&append.token, &append.header), Verdict::Accepted(_))
    }

    fn cursor(&self) -> u64 {
        self.receiving
            .cursor()
            .map_or(0, |cursor| cursor.position.sequence.0)
    }

    fn wait(&mut self, millis: u64) {
        self.now = at(self.now.mono.nanos() / 1_000_000 + millis);
        self.receiving.handle_timeout(self.now);
    }
}

fn firsts(appends: &[Append]) -> Vec<u64> {
    let first = |append: &Append| match &append.header.record {
        Record::Range(range) | Record::Gap(range) => range.first.0,
        other => panic!("not a range: {other:?}"),
    };
    appends.iter().map(first).collect()
}

#[test]
fn ranges_are_appended_at_once_and_acknowledged_when_read_back() {
    let mut lane = TestLane::new();
    assert!(lane.take(1, 3));
    assert!(lane.take(4, 6));
    let appends = lane.appends();
    assert_eq!(firsts(&appends), [1, 4]);
    assert_eq!(lane.receiving.poll_report(), None);
    assert!(lane.stores(&appends[0]));
    let Some(Frame::Ack(ack)) = lane.receiving.poll_report() else {
        panic!("no ack")
    };
    assert_eq!(ack.cursor.map(|cursor| cursor.message_id), Some(MessageId(3)));
    assert!(lane.stores(&appends[1]));
    assert_eq!(lane.cursor(), 6);
    assert!(!lane.receiving.has_work());
    assert_eq!(lane.receiving.held_bytes(), 0);
}

#[test]
fn ranges_that_came_back_void_are_appended_again_in_their_turn() {
    let mut lane = TestLane::new();
    lane.take(1, 3);
    lane.take(4, 6);
    lane.take(7, 9);
    let appends = lane.appends();
    assert!(!lane.stores(&appends[1]));
    assert_eq!(lane.appends(), []);
    assert!(!lane.stores(&appends[2]));
    assert!(lane.stores(&appends[0]));
    let again = lane.appends();
    assert_eq!(firsts(&again), [4, 7]);
    assert_eq!(again[0].header, appends[1].header);
    assert!(lane.stores(&again[0]) && lane.stores(&again[1]));
    assert_eq!(lane.cursor(), 9);
}

#[test]
fn a_lost_append_is_appended_again_and_those_behind_it_after_it() {
    let mut lane = TestLane::new();
    lane.take(1, 3);
    lane.take(4, 6);
    let appends = lane.appends();
    assert!(!lane.stores(&appends[1]));
    lane.receiving
        .handle_append_failed(lane.now, appends[0].id, AppendFailure::Unanswered);
    assert_eq!(lane.appends(), []);
    let due = lane.now.mono.after(limits::APPEND_RETRY);
    assert_eq!(
        lane.receiving.poll_timeout(lane.now),
        Some((due, Deadline::Append))
    );
    lane.wait(500);
    assert_eq!(firsts(&lane.appends()), [1, 4]);
}

#[test]
fn an_append_that_is_never_read_back_is_appended_again() {
    let mut lane = TestLane::new();
    lane.take(1, 3);
    let appends = lane.appends();
    lane.receiving.handle_appended(lane.now, appends[0].id);
    lane.wait(1999);
    assert_eq!(lane.appends(), []);
    lane.wait(1);
    assert_eq!(firsts(&lane.appends()), [1]);
}

#[test]
fn known_ranges_are_dropped_and_others_begin_the_lane_again() {
    let mut lane = TestLane::new();
    lane.take(1, 3);
    let appends = lane.appends();
    assert!(lane.stores(&appends[0]));
    while lane.receiving.poll_report().is_some() {}
    assert!(!lane.take(1, 3));
    assert_eq!(lane.appends(), []);
    assert!(matches!(lane.receiving.poll_report(), Some(Frame::Ack(_))));
    assert!(!lane.take(5, 6));
    let Some(Frame::Reset(reset)) = lane.receiving.poll_report() else {
        panic!("no reset")
    };
    assert_eq!(reset.generation, 2);
    assert_eq!(
        reset.cursor.map(|cursor| cursor.position.sequence),
        Some(Sequence(3))
    );
    lane.take(4, 6);
    assert_eq!(
        lane.appends(),
        [],
        "a range of the generation before is not taken"
    );
    let next = RangeFrame {
        generation: 2,
        ..frame(range(4, 6))
    };
    lane.receiving
        .handle_range(lane.now, next)
        .expect("an honest range");
    assert_eq!(firsts(&lane.appends()), [4]);
}

#[test]
fn a_range_cut_elsewhere_begins_the_lane_again() {
    let mut lane = TestLane::new();
    lane.take(1, 5);
    lane.appends();
    let other = frame(range(1, 3));
    assert!(matches!(
        lane.store(&SubjectToken::Origin(origin()), &header_of(&other)),
        Verdict::Accepted(_)
    ));
    assert!(matches!(lane.receiving.poll_report(), Some(Frame::Reset(_))));
    assert!(!lane.receiving.has_work());
}

#[test]
fn a_new_life_of_the_own_log_begins_the_lane_again() {
    let mut lane = TestLane::new();
    lane.take(1, 3);
    let fork = lane.head.at().sequence;
    lane.begin_life(2, fork);
    let Some(Frame::Reset(reset)) = lane.receiving.poll_report() else {
        panic!("no reset")
    };
    assert_eq!(reset.life.map(|life| life.number), Some(2));
    assert!(!lane.receiving.has_work());
}
