//! Lives of the own log and of an origin's log.

use super::*;
use crate::limits;

#[test]
fn a_new_life_of_the_origin_goes_on_after_the_least_fork() {
    let mut reader = Reader::new();
    assert!(reader.accepts(range("us-east", &lineage(&[0]), 1, 100)));
    let forked = lineage(&[0, 90, 95]);
    assert_eq!(
        reader.read(range("us-east", &forked, 101, 110)),
        Verdict::Void(Void::NotNext { next: Sequence(91) })
    );
    assert!(reader.accepts(range("us-east", &forked, 91, 110)));
    assert_eq!(
        reader.read(range("us-east", &lineage(&[0]), 111, 120)),
        Verdict::Void(Void::OlderLife)
    );
    let mut stranger = Lineage::default();
    assert!(stranger.begin(LifeLink {
        life: Life { number: 9, nonce: 9 },
        parent: None,
        fork: Sequence::NONE
    }));
    let mut cut_short = stranger.clone();
    for number in 10..10 + limits::LINEAGE as u64 {
        let parent = cut_short.current();
        let life = Life { number, nonce: 9 };
        let fork = Sequence::NONE;
        assert!(cut_short.begin(LifeLink { life, parent, fork }));
    }
    assert_eq!(
        reader.read(range("us-east", &cut_short, 1, 120)),
        Verdict::Void(Void::UnknownLineage)
    );
    assert_eq!(
        reader.read(range("us-east", &stranger, 111, 120)),
        Verdict::Void(Void::NotNext { next: Sequence(1) }),
        "a log that was made anew shares nothing"
    );
    assert!(reader.accepts(range("us-east", &stranger, 1, 120)));
    assert_eq!(
        reader.read(range("us-east", &forked, 111, 130)),
        Verdict::Void(Void::OlderLife)
    );
}

#[test]
fn a_recreated_log_says_so_until_a_life_from_its_start() {
    let mut reader = Reader::new();
    assert!(!reader.fold.lost_before());
    let mut begin = |number: u64, fork: u64, lost_before: bool| {
        let parent = reader.fold.lineage().current();
        let record = LifeRecord {
            message_id: MessageId(number),
            link: LifeLink {
                life: life(number),
                parent,
                fork: Sequence(fork),
            },
            lost_before,
        };
        assert!(reader.accepts(Record::Life(record)));
        let decoded =
            Fold::decode(reader.fold.log().clone(), &reader.fold.encode()).expect("a state that was encoded");
        assert_eq!(decoded, reader.fold);
        reader.fold.lost_before()
    };
    assert!(begin(7, 1, true));
    assert!(begin(8, 1, false), "a lost tail brings nothing back");
    assert!(!begin(9, 0, false), "who holds what was before gives it back");
}
