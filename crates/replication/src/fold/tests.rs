use std::time::Duration;

use super::*;
use crate::coordinates::WriterId;
use crate::header::{BodySeal, ClockLimits, LifeLink, StageTimes};
use crate::names::GroupName;

mod floors;
mod gaps;
mod lives;
mod properties;

pub(super) fn name(region: &str) -> RegionName {
    RegionName::parse(region).expect("a valid name")
}

pub(super) fn log(region: &str) -> LogName {
    LogName {
        set: SetName::parse("shop").expect("a valid name"),
        region: name(region),
        shard: Shard {
            group: GroupName::parse("default").expect("a valid name"),
            partition: 0,
        },
    }
}

pub(super) fn header(log: &LogName, record: Record) -> Header {
    Header {
        set: log.set.clone(),
        shard: log.shard.clone(),
        record,
        body: BodySeal::default(),
        stages: StageTimes::default(),
    }
}

pub(super) fn life(number: u64) -> Life {
    Life {
        number,
        nonce: number * 1000,
    }
}

pub(super) fn life_record(link: LifeLink) -> Record {
    Record::Life(LifeRecord {
        message_id: MessageId(link.life.number),
        link,
        lost_before: false,
    })
}

pub(super) fn first_life() -> Record {
    life_record(LifeLink {
        life: life(1),
        parent: None,
        fork: Sequence::NONE,
    })
}

pub(super) fn millis(millis: u64) -> Hlc {
    Hlc::at(Wall::from_millis(millis))
}

pub(super) fn batch(id: u64, stamp: u64) -> Record {
    let stamp = millis(stamp);
    Record::Batch(Local {
        message_id: MessageId(id),
        writer: WriterId(1),
        lowest_stamp: stamp,
        highest_stamp: stamp,
    })
}

fn mark(id: u64, stamp: u64, described: u64, of: Life) -> Record {
    Record::Mark(MarkRecord {
        message_id: MessageId(id),
        life: of,
        writer: WriterId(1),
        hlc: millis(stamp),
        described: Anchor {
            sequence: Sequence(described),
            message_id: MessageId(0),
        },
        agents: Vec::new(),
    })
}

/// A membership record with these clock limits, in milliseconds.
pub(super) fn clock_record(number: u64, ahead: u64, behind: u64) -> Record {
    Record::Membership {
        message_id: MessageId(number),
        membership: Membership {
            number,
            members: vec![name("eu-west")],
            fenced: vec![],
            groups: vec![],
            clock: ClockLimits {
                max_ahead: Duration::from_millis(ahead),
                max_behind: Duration::from_millis(behind),
            },
        },
    }
}

pub(super) fn range(origin: &str, lineage: &Lineage, first: u64, through: u64) -> Record {
    Record::Range(Range {
        origin: name(origin),
        lineage: lineage.clone(),
        previous: MessageId(first.saturating_sub(1)),
        first: Sequence(first),
        through: Anchor {
            sequence: Sequence(through),
            message_id: MessageId(through),
        },
        highest_stamp: millis(through),
        admission_floor: Hlc::ZERO,
    })
}

fn lineage(forks: &[u64]) -> Lineage {
    let mut lineage = Lineage::default();
    for (at, fork) in forks.iter().enumerate() {
        let link = LifeLink {
            life: life(at as u64 + 1),
            parent: lineage.current(),
            fork: Sequence(*fork),
        };
        assert!(lineage.begin(link));
    }
    lineage
}

/// A fold with its own clock: each message is stored at `now`.
struct Reader {
    fold: Fold,
    now: Wall,
}

impl Reader {
    fn new() -> Self {
        let mut reader = Self {
            fold: Fold::new(log("eu-west")),
            now: Wall::from_millis(100_000),
        };
        assert!(matches!(
            reader.read(first_life()),
            Verdict::Accepted(Accepted::Life(_))
        ));
        reader
    }

    fn read(&mut self, record: Record) -> Verdict {
        let token = match &record {
            Record::Batch(_) => SubjectToken::Origin(name("eu-west")),
            Record::Range(range) => SubjectToken::Origin(range.origin.clone()),
            Record::Gap(_) => SubjectToken::Gateway,
            _ => SubjectToken::Agent,
        };
        self.read_under(record, &token)
    }

    fn read_under(&mut self, record: Record, token: &SubjectToken) -> Verdict {
        let header = header(&log("eu-west"), record);
        self.message(Ok(&header), Some(token))
    }

    fn message(&mut self, header: Result<&Header, &HeaderError>, token: Option<&SubjectToken>) -> Verdict {
        let sequence = self.fold.at().sequence.next();
        self.fold
            .apply(Message {
                sequence,
                timestamp: self.now,
                token,
                header,
            })
            .expect("the next sequence was given")
    }

    fn accepts(&mut self, record: Record) -> bool {
        matches!(self.read(record), Verdict::Accepted(_))
    }
}

#[test]
fn nothing_counts_before_the_first_life() {
    let mut reader = Reader {
        fold: Fold::new(log("eu-west")),
        now: Wall::from_millis(100_000),
    };
    assert_eq!(reader.read(batch(1, 100_000)), Verdict::Void(Void::NoLife));
    assert_eq!(reader.fold.position(), None);
    assert!(reader.accepts(first_life()));
    assert_eq!(reader.read(first_life()), Verdict::Void(Void::LifeNotCurrent));
    assert_eq!(
        reader.fold.position(),
        Some(Position {
            life: life(1),
            sequence: Sequence(3)
        })
    );
}

#[test]
fn a_local_batch_counts_once() {
    let mut reader = Reader::new();
    assert!(reader.accepts(batch(1, 100_000)));
    assert_eq!(reader.read(batch(1, 100_000)), Verdict::Void(Void::Repeated));
    assert!(reader.accepts(batch(2, 100_000)));
}

#[test]
fn a_stamp_ahead_of_the_log_stays_void_after_time_catches_up() {
    let mut reader = Reader::new();
    assert_eq!(reader.read(batch(1, 100_501)), Verdict::Void(Void::ClockAhead));
    assert!(reader.accepts(batch(2, 100_500)));
    reader.now = Wall::from_millis(101_000);
    assert_eq!(reader.read(batch(1, 100_501)), Verdict::Void(Void::Repeated));
    assert!(reader.accepts(batch(3, 100_501)));
}

#[test]
fn a_stamp_max_behind_the_highest_is_void() {
    let mut reader = Reader::new();
    assert!(reader.accepts(batch(1, 100_000)));
    assert_eq!(reader.read(batch(2, 90_000)), Verdict::Void(Void::TooLate));
    assert!(reader.accepts(batch(3, 90_001)));
}

#[test]
fn every_stamp_of_a_batch_is_judged() {
    let mut reader = Reader::new();
    assert!(reader.accepts(batch(1, 100_000)));
    let spanning = |lowest, highest| {
        Record::Batch(Local {
            message_id: MessageId(lowest),
            writer: WriterId(1),
            lowest_stamp: millis(lowest),
            highest_stamp: millis(highest),
        })
    };
    assert_eq!(
        reader.read(spanning(89_000, 100_000)),
        Verdict::Void(Void::TooLate)
    );
    assert_eq!(
        reader.read(spanning(99_000, 110_000)),
        Verdict::Void(Void::ClockAhead)
    );
    assert_eq!(reader.fold.highest_stamp(), millis(100_000));
}

#[test]
fn a_membership_record_changes_the_clock_limits_from_there_on() {
    let mut reader = Reader::new();
    assert!(reader.accepts(clock_record(7, 2000, 10_000)));
    assert!(reader.accepts(batch(1, 102_000)));
    assert_eq!(
        reader.read(clock_record(7, 1, 10_000)),
        Verdict::Void(Void::MembershipNotNewer)
    );
    assert!(reader.accepts(clock_record(8, 1, 10_000)));
    assert_eq!(reader.read(batch(2, 101_000)), Verdict::Void(Void::ClockAhead));
}

#[test]
fn a_greater_max_behind_does_not_lower_the_floor() {
    let mut reader = Reader::new();
    assert!(reader.accepts(batch(1, 100_000)));
    let floor = reader.fold.admission_floor();
    assert!(reader.accepts(clock_record(1, 500, 60_000)));
    assert_eq!(reader.fold.admission_floor(), floor);
    assert_eq!(reader.read(batch(2, 90_000)), Verdict::Void(Void::TooLate));
    assert!(reader.accepts(batch(3, 90_001)));
}

#[test]
fn a_kind_counts_only_under_its_own_token() {
    let mut reader = Reader::new();
    let wrong = Verdict::Void(Void::WrongToken);
    let eu = SubjectToken::Origin(name("eu-west"));
    let us = SubjectToken::Origin(name("us-east"));
    assert_eq!(reader.read_under(batch(1, 100_000), &us), wrong);
    assert_eq!(reader.read_under(batch(1, 100_000), &SubjectToken::Agent), wrong);
    assert_eq!(
        reader.read_under(range("us-east", &lineage(&[0]), 1, 2), &eu),
        wrong
    );
    assert_eq!(
        reader.read_under(range("eu-west", &lineage(&[0]), 1, 2), &eu),
        wrong
    );
    assert_eq!(
        reader.read_under(range("us-east", &lineage(&[0]), 1, 2), &SubjectToken::Gateway),
        wrong
    );
    assert_eq!(reader.read_under(mark(3, 100_000, 1, life(1)), &eu), wrong);
    assert_eq!(
        reader.read_under(mark(3, 100_000, 1, life(1)), &SubjectToken::Gateway),
        wrong
    );
}

#[test]
fn ranges_count_in_order_without_holes_or_repetition() {
    let mut reader = Reader::new();
    let lives = lineage(&[0]);
    assert_eq!(
        reader.read(range("us-east", &lives, 4, 9)),
        Verdict::Void(Void::NotNext { next: Sequence(1) })
    );
    assert!(reader.accepts(range("us-east", &lives, 1, 3)));
    assert_eq!(
        reader.read(range("us-east", &lives, 1, 3)),
        Verdict::Void(Void::NotNext { next: Sequence(4) })
    );
    assert!(reader.accepts(range("us-east", &lives, 4, 9)));
    assert!(reader.accepts(range("ap-south", &lives, 1, 1)));
    assert_eq!(
        reader
            .fold
            .origin(&name("us-east"))
            .map(|o| o.cursor.position.sequence),
        Some(Sequence(9))
    );
}

#[test]
fn a_range_after_another_message_than_the_cursors_is_void() {
    let mut reader = Reader::new();
    let lives = lineage(&[0]);
    assert!(reader.accepts(range("us-east", &lives, 1, 3)));
    let Record::Range(next) = range("us-east", &lives, 4, 9) else {
        unreachable!("built as a range")
    };
    let stale = Range {
        previous: MessageId(77),
        ..next.clone()
    };
    let void = Verdict::Void(Void::OtherHistory);
    assert_eq!(reader.read(Record::Range(stale.clone())), void);
    assert_eq!(reader.read(Record::Gap(stale)), void);
    assert!(reader.accepts(Record::Range(next)));
}

#[test]
fn a_mark_is_newer_than_the_last_and_of_this_life() {
    let mut reader = Reader::new();
    assert!(reader.accepts(batch(1, 100_000)));
    assert!(reader.accepts(mark(2, 100_001, 1, life(1))));
    assert_eq!(
        reader.read(mark(3, 100_002, 1, life(1))),
        Verdict::Void(Void::StaleMark)
    );
    assert_eq!(
        reader.read(mark(4, 100_003, 50, life(1))),
        Verdict::Void(Void::StaleMark)
    );
    assert_eq!(
        reader.read(mark(5, 100_004, 3, life(2))),
        Verdict::Void(Void::LifeNotCurrent)
    );
    assert!(reader.accepts(mark(6, 100_005, 3, life(1))));
}

#[test]
fn an_unknown_kind_stops_and_garbage_does_not() {
    let mut reader = Reader::new();
    let before = reader.fold.clone();
    let unknown = HeaderError::Unknown {
        what: "kind",
        number: 7,
    };
    assert_eq!(
        reader.message(Err(&unknown), None),
        Verdict::Stop {
            what: "kind",
            number: 7
        }
    );
    assert_eq!(reader.fold, before);
    let garbage = HeaderError::Malformed("not protobuf");
    assert_eq!(
        reader.message(Err(&garbage), None),
        Verdict::Void(Void::Malformed)
    );
    assert_eq!(reader.fold.at().sequence, Sequence(2));
}

#[test]
fn a_missing_sequence_is_an_error_and_changes_nothing() {
    let mut reader = Reader::new();
    let before = reader.fold.clone();
    let header = header(&log("eu-west"), batch(1, 100_000));
    let message = Message {
        sequence: Sequence(9),
        timestamp: reader.now,
        token: None,
        header: Ok(&header),
    };
    assert_eq!(
        reader.fold.apply(message),
        Err(Gone {
            expected: Sequence(2),
            found: Sequence(9)
        })
    );
    assert_eq!(reader.fold, before);
}

#[test]
fn identifiers_beyond_the_bound_are_refused_as_too_late() {
    let mut reader = Reader::new();
    let ids = crate::limits::RECENT_IDS as u64 + 10;
    for id in 1..=ids {
        assert!(reader.accepts(batch(id, 100_000 + id / 100)));
    }
    assert!(!reader.accepts(batch(1, 100_000)));
    assert!(reader.fold.admission_floor() >= millis(100_000));
}
