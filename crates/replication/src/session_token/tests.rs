#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::header::LifeLink;
use crate::names::GroupName;

fn region(name: &str) -> RegionName {
    RegionName::parse(name).unwrap()
}

fn shard(partition: u16) -> Shard {
    Shard {
        group: GroupName::parse("default").unwrap(),
        partition,
    }
}

fn life(number: u64) -> Life {
    Life { number, nonce: 1000 }
}

fn position(number: u64, sequence: u64) -> Position {
    Position {
        life: life(number),
        sequence: Sequence(sequence),
    }
}

/// The lives 1, 2, … with these forks.
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

fn frontier(applied: &[(&str, &[u64], u64)]) -> Frontier {
    let origin = |(name, forks, sequence): &(&str, &[u64], u64)| {
        let at = position(forks.len() as u64, *sequence);
        let applied = Applied {
            whole: at,
            shown: at,
            lineage: lineage(forks),
        };
        (region(name), applied)
    };
    Frontier {
        shard: shard(0),
        origins: applied.iter().map(origin).collect(),
    }
}

fn token(positions: &[(&str, u16, Position)]) -> SessionToken {
    let mut token = SessionToken::default();
    for (origin, partition, position) in positions {
        token
            .note(&region(origin), &shard(*partition), *position)
            .unwrap();
    }
    token
}

#[test]
fn a_store_that_applied_less_is_behind_and_says_how_far() {
    let token = token(&[
        ("a", 0, position(1, 9)),
        ("b", 0, position(1, 3)),
        ("a", 1, position(1, 99)),
    ]);
    let store = frontier(&[("a", &[0], 4)]);
    let Check::Behind(behind) = token.satisfied_by(&store) else {
        panic!("not behind");
    };
    let distances: Vec<Option<u64>> = behind.iter().map(Behind::distance).collect();
    assert_eq!(distances, [Some(5), Some(3)]);
    let store = frontier(&[("a", &[0], 9), ("b", &[0], 3)]);
    assert_eq!(token.satisfied_by(&store), Check::Satisfied);
}

#[test]
fn positions_of_an_ended_life_count_only_up_to_the_fork() {
    let store = frontier(&[("a", &[0, 5], 7)]);
    let check = |want| token(&[("a", 0, want)]).satisfied_by(&store);
    assert_eq!(check(position(1, 5)), Check::Satisfied);
    let lost = Check::NeedsSync {
        origin: region("a"),
        want: position(1, 6),
        shared: Some(Sequence(5)),
    };
    assert_eq!(check(position(1, 6)), lost);
    assert_eq!(check(position(2, 7)), Check::Satisfied);
    assert!(matches!(check(position(2, 8)), Check::Behind(_)));
    assert!(
        matches!(check(position(3, 1)), Check::Behind(_)),
        "a life not heard of yet"
    );
}

#[test]
fn a_life_that_the_log_does_not_know_is_lost_not_late() {
    let store = frontier(&[("a", &[0, 5], 7)]);
    let mut stray = position(2, 6);
    stray.life.nonce = 1;
    let check = token(&[("a", 0, stray)]).satisfied_by(&store);
    assert!(matches!(check, Check::NeedsSync { shared: None, .. }));
}

#[test]
fn what_is_lost_comes_before_what_is_late() {
    let store = frontier(&[("b", &[0, 5], 7)]);
    let token = token(&[("a", 0, position(1, 9)), ("b", 0, position(1, 6))]);
    assert!(matches!(token.satisfied_by(&store), Check::NeedsSync { .. }));
}

#[test]
fn a_read_moves_shared_positions_to_the_current_life() {
    let mut token = token(&[
        ("a", 0, position(1, 4)),
        ("a", 0, position(2, 6)),
        ("a", 1, position(1, 4)),
    ]);
    token.note_read(&frontier(&[("a", &[0, 5, 9], 8)])).unwrap();
    let expected = [("a", 0, position(3, 8)), ("a", 1, position(1, 4))];
    assert_eq!(token, self::token(&expected));
}

#[test]
fn a_token_is_bounded_and_its_largest_text_is_read() {
    let mut token = SessionToken::default();
    let origin = region(&"r".repeat(limits::NAME_BYTES));
    let widest = Position {
        life: Life {
            number: u64::MAX,
            nonce: u64::MAX,
        },
        sequence: Sequence(u64::MAX),
    };
    let shard = |at: usize| Shard {
        group: GroupName::parse(&format!("{at:032}")).unwrap(),
        partition: limits::PARTITIONS - 1,
    };
    for at in 0..limits::SESSION_POSITIONS {
        token.note(&origin, &shard(at), widest).unwrap();
    }
    let beyond = shard(limits::SESSION_POSITIONS);
    assert_eq!(token.note(&origin, &beyond, widest), Err(TooManyPositions));
    assert_eq!(token.note(&origin, &shard(0), widest), Ok(()));
    assert!(token.to_string().len() <= limits::SESSION_BYTES);
    assert_eq!(token.to_string().parse(), Ok(token));
}

#[test]
fn the_text_is_fixed() {
    let token = token(&[
        ("a", 0, position(1, 300)),
        ("a", 11, position(2, 1)),
        ("b", 0, position(1, 2)),
    ]);
    let text = "1;a:default,0.1.3e8.12c,b.2.3e8.1;b:default,0.1.3e8.2";
    assert_eq!(token.to_string(), text);
    assert_eq!(text.parse(), Ok(token));
}

#[test]
fn text_that_is_no_token_is_an_error() {
    let bad = [
        "",
        "2",
        "1;",
        "1;A:g",
        "1;a:",
        "1;a:g,",
        "1;a:g,0.1.1",
        "1;a:g,0.1.1.1.1",
        "1;a:g,0.1.1.G",
        "1;a:g,400.1.1.1",
        "1;a:g,0.1.1.+1",
        "1;a:g,0.1.1.10000000000000000",
        "1 ",
        "%",
    ];
    for text in bad {
        assert!(text.parse::<SessionToken>().is_err(), "{text}");
    }
    assert!("1".parse::<SessionToken>().unwrap().is_empty());
    let long = format!("1;a:g{}", ",0.1.1.1".repeat(limits::SESSION_BYTES));
    assert!(long.parse::<SessionToken>().is_err());
}

fn tokens() -> impl Strategy<Value = SessionToken> {
    let position = (
        prop::sample::select(vec!["a", "b-1", "c"]),
        0u16..3,
        1u64..4,
        0u64..40,
    );
    vec(position, 0..20).prop_map(|positions| {
        let mut token = SessionToken::default();
        for (origin, partition, number, sequence) in positions {
            let _ = token.note(
                &region(origin),
                &shard(partition),
                self::position(number, sequence),
            );
        }
        token
    })
}

proptest! {
    #[test]
    fn text_round_trips(token in tokens()) {
        prop_assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn any_text_is_a_token_or_an_error(text in ".{0,60}", near in "1(;[a-b](:[a-b](,[0-9a-g.]{0,9}){0,2}){0,2}){0,2}") {
        for text in [text, near] {
            if let Ok(token) = text.parse::<SessionToken>() {
                prop_assert_eq!(token.to_string().parse(), Ok(token));
            }
        }
    }

    #[test]
    fn merging_is_commutative_and_idempotent(a in tokens(), b in tokens()) {
        let merged = |first: &SessionToken, second: &SessionToken| {
            let mut token = first.clone();
            token.merge(second).unwrap();
            token
        };
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
    }

    #[test]
    fn a_store_satisfies_a_merged_token_when_it_satisfies_both(
        a in tokens(), b in tokens(), forks in vec(0u64..30, 0..3), through in 0u64..40
    ) {
        let forks: Vec<u64> = std::iter::once(0).chain(forks).collect();
        let store = frontier(&[("a", &forks, through), ("b-1", &forks, through), ("c", &[0], 39)]);
        let mut both = a.clone();
        both.merge(&b).unwrap();
        let satisfied = |token: &SessionToken| token.satisfied_by(&store) == Check::Satisfied;
        prop_assert_eq!(satisfied(&both), satisfied(&a) && satisfied(&b));
    }

    #[test]
    fn what_a_store_showed_it_satisfies_later(
        token in tokens(), forks in vec(0u64..30, 0..3), through in 0u64..40, more in 0u64..10
    ) {
        let forks: Vec<u64> = std::iter::once(0).chain(forks).collect();
        let mut token = token;
        let before = token.satisfied_by(&frontier(&[("a", &forks, through)]));
        token.note_read(&frontier(&[("a", &forks, through)])).unwrap();
        let after = token.satisfied_by(&frontier(&[("a", &forks, through + more)]));
        if before == Check::Satisfied {
            prop_assert_eq!(after, Check::Satisfied);
        }
    }
}

#[test]
fn a_read_across_a_gap_needs_a_sync_there_and_all_elsewhere() {
    let mut gapped = frontier(&[("eu-west", &[0], 5)]);
    for applied in gapped.origins.values_mut() {
        applied.shown = position(1, 9);
    }
    let before = token(&[("eu-west", 0, position(1, 5))]);
    assert_eq!(before.satisfied_by(&gapped), Check::Satisfied);
    let mut reader = SessionToken::default();
    reader.note_read(&gapped).expect("one position");
    assert!(matches!(reader.satisfied_by(&gapped), Check::NeedsSync { .. }));
    let behind = frontier(&[("eu-west", &[0], 8)]);
    assert!(matches!(reader.satisfied_by(&behind), Check::Behind(_)));
    assert_eq!(
        reader.satisfied_by(&frontier(&[("eu-west", &[0], 9)])),
        Check::Satisfied
    );
}
