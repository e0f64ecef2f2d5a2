//! The floor below which nothing can arrive any more, and through where tombstones are collected.

use super::*;
use crate::header::Membership;

fn membership(number: u64, fenced: &[&str]) -> Record {
    Record::Membership {
        message_id: MessageId(1000 + number),
        membership: Membership {
            number,
            members: ["ap-south", "eu-west", "us-east"].map(name).into(),
            fenced: fenced.iter().map(|region| name(region)).collect(),
            groups: Vec::new(),
            clock: ClockLimits::default(),
        },
    }
}

/// A range of one message, with the origin's admission floor.
fn range_with(origin: &str, at: u64, floor: u64) -> Record {
    match range(origin, &lineage(&[0]), at, at) {
        Record::Range(range) => Record::Range(Range {
            admission_floor: millis(floor),
            ..range
        }),
        _ => unreachable!("built as a range"),
    }
}

fn mark_by(id: u64, stamp: u64, described: u64, agents: &[u64]) -> Record {
    match mark(id, stamp, described, life(1)) {
        Record::Mark(mark) => Record::Mark(MarkRecord {
            agents: agents.iter().copied().map(WriterId).collect(),
            ..mark
        }),
        _ => unreachable!("built as a mark"),
    }
}

fn stored(fold: &Fold) -> Fold {
    Fold::decode(fold.log().clone(), &fold.encode()).expect("what was encoded")
}

#[test]
fn the_floor_is_the_least_of_all_members_and_collected_at_marks() {
    let mut reader = Reader::new();
    assert!(reader.accepts(batch(1, 100_000)));
    assert_eq!(reader.fold.floor(), Hlc::ZERO, "nobody knows who the members are");
    assert!(reader.accepts(membership(1, &[])));
    assert!(reader.accepts(range_with("us-east", 1, 70_000)));
    assert_eq!(reader.fold.floor(), Hlc::ZERO, "nothing came from ap-south");
    assert!(reader.accepts(range_with("ap-south", 1, 80_000)));
    assert_eq!(reader.fold.floor(), millis(70_000));
    assert_eq!(reader.fold.collected(), Hlc::ZERO);
    assert!(reader.accepts(mark(2, 100_001, 1, life(1))));
    assert_eq!(reader.fold.collected(), millis(70_000));
    assert!(reader.accepts(range_with("us-east", 2, 99_000)));
    assert!(reader.accepts(range_with("ap-south", 2, 99_000)));
    assert_eq!(reader.fold.floor(), reader.fold.admission_floor());
    assert_eq!(stored(&reader.fold), reader.fold);
}

#[test]
fn a_gap_holds_the_floor_and_a_fenced_region_does_not() {
    let mut reader = Reader::new();
    assert!(reader.accepts(batch(1, 100_000)));
    assert!(reader.accepts(membership(1, &[])));
    assert!(reader.accepts(range_with("us-east", 1, 70_000)));
    assert!(reader.accepts(range_with("ap-south", 1, 70_000)));
    assert!(reader.accepts(mark(2, 100_001, 1, life(1))));
    let Record::Range(gap) = range_with("us-east", 2, 80_000) else {
        unreachable!("built as a range")
    };
    assert!(reader.accepts(Record::Gap(gap)));
    assert_eq!(reader.fold.floor(), Hlc::ZERO, "older changes may be missing");
    assert!(reader.accepts(mark(3, 100_002, 2, life(1))));
    assert_eq!(reader.fold.collected(), millis(70_000), "it never goes back");
    assert!(reader.accepts(membership(2, &["us-east"])));
    assert_eq!(reader.fold.floor(), millis(70_000));
}

#[test]
fn the_own_floor_stays_at_the_fork_until_everybody_gave_back() {
    let mut reader = Reader::new();
    assert!(reader.accepts(batch(1, 90_000)));
    assert!(reader.accepts(mark_by(2, 90_001, 1, &[7, 8])));
    let at_fork = reader.fold.admission_floor();
    let link = LifeLink {
        life: life(2),
        parent: Some(life(1)),
        fork: Sequence(3),
    };
    assert!(reader.accepts(life_record(link)));
    assert!(reader.accepts(batch(3, 100_000)));
    assert!(reader.fold.admission_floor() > at_fork);
    assert_eq!(reader.fold.own_floor(), at_fork);
    let mut ends = |id: u64, writer: u64, stamp: u64| {
        let local = Local {
            message_id: MessageId(id),
            writer: WriterId(writer),
            lowest_stamp: millis(stamp),
            highest_stamp: millis(stamp),
        };
        assert!(reader.accepts(Record::Restored { local, ended: true }));
        let next = MarkRecord {
            message_id: MessageId(id + 100),
            life: life(2),
            writer: WriterId(7),
            hlc: millis(100_000 + id),
            described: reader.fold.at(),
            agents: Vec::new(),
        };
        assert!(reader.accepts(Record::Mark(next)));
        assert_eq!(stored(&reader.fold), reader.fold);
        reader.fold.own_floor()
    };
    assert_eq!(ends(4, 7, 89_000), at_fork);
    assert!(ends(5, 8, 89_500) > at_fork);
}
