use super::*;

#[test]
fn a_gap_moves_the_cursor_and_leaves_the_need_of_a_sync() {
    let mut reader = Reader::new();
    let Record::Range(gap) = range("us-east", &lineage(&[0]), 1, 5) else {
        unreachable!("built as a range")
    };
    assert!(reader.accepts(Record::Gap(gap)));
    assert!(reader.accepts(range("us-east", &lineage(&[0]), 6, 7)));
    let origin = reader
        .fold
        .origin(&name("us-east"))
        .expect("a range was accepted");
    assert!(origin.needs_sync());
    assert_eq!(origin.whole_through().sequence, Sequence::NONE);
}

#[test]
fn what_came_before_a_gap_stays_whole_whatever_follows_it() {
    let mut reader = Reader::new();
    assert!(reader.accepts(range("us-east", &lineage(&[0]), 1, 5)));
    for through in [8, 12] {
        let Record::Range(gap) = range("us-east", &lineage(&[0]), through - 2, through) else {
            unreachable!("built as a range")
        };
        assert!(reader.accepts(Record::Gap(gap)));
        assert!(reader.accepts(range("us-east", &lineage(&[0]), through + 1, through + 1)));
    }
    let origin = reader
        .fold
        .origin(&name("us-east"))
        .expect("ranges were accepted");
    assert_eq!(origin.whole_through().sequence, Sequence(5));
    assert_eq!(origin.cursor.position.sequence, Sequence(13));
    let stored = Fold::decode(reader.fold.log().clone(), &reader.fold.encode());
    assert_eq!(stored.expect("what was encoded"), reader.fold);
}
