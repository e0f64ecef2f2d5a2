//! Compares a store that applies a window's survivors with one that applies all changes.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::cell::{CellId, ContentType};
use crate::coordinates::WriterId;
use crate::hlc::Hlc;
use crate::store::Store;
use crate::time::Wall;
use crate::version::Version;

const OWN: &str = "m";
const OTHERS: [&str; 2] = ["a", "z"];

fn region(name: &str) -> RegionName {
    RegionName::parse(name).expect("a valid name")
}

fn id(key: &str, field: &str) -> CellId {
    CellId {
        bucket: BucketName::parse("b").expect("a valid name"),
        key: Key::parse(key).expect("a valid key"),
        field: Field::new(Bytes::copy_from_slice(field.as_bytes())).expect("short"),
    }
}

fn change(of: &str, hlc: u64, seen: &[(&str, u64)], id: CellId) -> Change {
    let mut known = Seen::default();
    for (name, hlc) in seen {
        known.note(&region(name), Stamp::of_any_writer(Hlc::from_bits(*hlc)));
    }
    Change {
        id,
        version: Version {
            hlc: Hlc::from_bits(hlc),
            region: region(of),
            writer: WriterId(1),
        },
        seen: known,
        expires_at: hlc.is_multiple_of(5).then(|| Wall::from_millis(hlc + 1)),
        op: match hlc % 4 {
            0 => Op::Delete,
            _ => Op::Put {
                value: hlc.to_string().into_bytes().into(),
                content_type: ContentType::default(),
            },
        },
        trace: None,
    }
}

/// Changes of some regions: few cells, so that they collide; stamps in any order; any `seen`. Each
/// version belongs to one cell.
fn changes(of: Vec<&'static str>, most: usize) -> impl Strategy<Value = Vec<Change>> {
    let seen = prop_oneof![
        2 => Just(vec![]),
        3 => (0u64..40).prop_map(|own| vec![(OWN, own)]),
        2 => (0u64..40, 0u64..4).prop_map(|(own, other)| vec![(OWN, own), ("a", other * 10)]),
        1 => (0u64..40, 0u64..40).prop_map(|(a, z)| vec![("a", a), ("z", z)]),
    ];
    let drawn = (prop::sample::select(of), 0u64..20, 0u64..2, seen);
    vec(drawn, 0..most).prop_map(|drawn| {
        let change = |(of, n, key, seen): (&str, u64, u64, Vec<(&str, u64)>)| {
            let field = ["", "", "", "f", "g"][n as usize % 5];
            change(of, 2 * n + key, &seen, id(["k", "l"][key as usize], field))
        };
        drawn.into_iter().map(change).collect()
    })
}

/// Applies changes and returns the losers of true conflicts.
fn apply(store: &mut Store, changes: &[Change]) -> BTreeSet<(CellId, Version)> {
    let losers = changes.iter().filter_map(|change| {
        let conflict = store.apply(change.clone(), Wall::default()).into_conflict();
        let loser = conflict?.loser.version;
        Some((change.id.clone(), loser))
    });
    losers.collect()
}

fn survivors(messages: &[Vec<Change>]) -> Vec<Change> {
    let mut window = Window::default();
    messages
        .iter()
        .for_each(|message| window.append(Window::of(message.clone())));
    let (left_out, all) = (window.left_out(), messages.concat().len() as u64);
    let (bytes, (body, number)) = (window.bytes(), window.into_body(&region(OWN)));
    assert!(
        body.len() <= bytes,
        "{} bytes where {bytes} were reported",
        body.len()
    );
    let survivors = body::decode(&region(OWN), body).expect("a sound body");
    assert_eq!(survivors.len(), number as usize);
    assert_eq!(survivors.len() as u64 + left_out, all);
    survivors
}

fn is_own((_, version): &&(CellId, Version)) -> bool {
    version.region == region(OWN)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_left_has_the_effect_of_all(
        before in changes(vec![OWN, OTHERS[0], OTHERS[1]], 8),
        messages in vec(changes(vec![OWN], 6), 1..8),
        after in changes(vec![OWN, OTHERS[0], OTHERS[1]], 8),
    ) {
        let (mut all, mut left) = (Store::default(), Store::default());
        let mut conflicts = (BTreeSet::new(), BTreeSet::new());
        for part in [&before, &messages.concat(), &after] {
            conflicts.0.extend(apply(&mut all, part));
        }
        for part in [&before, &survivors(&messages), &after] {
            conflicts.1.extend(apply(&mut left, part));
        }
        prop_assert_eq!(left.digest(), all.digest());
        prop_assert_eq!(left.cells(), all.cells());
        let others = |of: &BTreeSet<(CellId, Version)>| of.iter().filter(|loser| !is_own(loser)).cloned().collect::<Vec<_>>();
        prop_assert_eq!(others(&conflicts.1), others(&conflicts.0));
        prop_assert!(conflicts.1.is_subset(&conflicts.0), "{:?} beside {:?}", conflicts.1, conflicts.0);
    }

    #[test]
    fn a_window_that_has_room_makes_one_message(messages in vec(changes(vec![OWN], 12), 1..8)) {
        let mut window = Window::default();
        for message in messages {
            let next = Window::of(message);
            let fits = window.has_room_for(&next);
            window.append(next);
            prop_assert!(fits && window.bytes() <= limits::MESSAGE_BODY_BYTES);
        }
    }
}

fn kept(changes: &[Change]) -> Vec<(u64, u64)> {
    let kept = survivors(&[changes.to_vec()]);
    let own = region(OWN);
    let newest = |seen: &Seen| seen.newest(&own).map_or(0, |stamp| stamp.hlc.bits());
    kept.iter()
        .map(|c| (c.version.hlc.bits(), newest(&c.seen)))
        .collect()
}

#[test]
fn conflation_keeps_a_hot_keys_newest_with_what_all_had_seen() {
    let chain = [(11, 5), (13, 11), (15, 13), (14, 3)]
        .map(|(hlc, seen)| change(OWN, hlc, &[(OWN, seen)], id("k", "")));
    assert_eq!(kept(&chain), [(15, 13)]);
}

#[test]
fn a_change_that_saw_a_foreign_write_replaces_none_that_had_not() {
    let blind = change(OWN, 11, &[(OWN, 5)], id("k", ""));
    let knowing = change(OWN, 13, &[(OWN, 11), ("a", 9)], id("k", ""));
    assert_eq!(kept(&[blind, knowing]), [(11, 5), (13, 11)]);
}

#[test]
fn a_field_and_its_whole_key_never_replace_each_other() {
    let cells = ["f", "", "f", "", "g", "g"].map(|field| id("k", field));
    let chain: Vec<Change> = (0u64..)
        .zip(cells)
        .map(|(n, id)| change(OWN, 10 + n, &[], id))
        .collect();
    let left: Vec<u64> = kept(&chain).into_iter().map(|(hlc, _)| hlc).collect();
    assert_eq!(left, [10, 11, 12, 13, 15]);
}

#[test]
fn a_window_of_large_changes_has_room_only_for_replacements() {
    let large = |hlc: u64, key: &str| {
        let value = vec![0; 100 * 1024].into();
        let content_type = ContentType::default();
        Window::of(vec![Change {
            op: Op::Put { value, content_type },
            ..change(OWN, hlc, &[], id(key, ""))
        }])
    };
    let mut window = large(11, "k");
    window.append(large(12, "l"));
    assert!(!window.has_room_for(&large(13, "n")));
    assert!(window.has_room_for(&large(13, "k")));
    assert!(Window::default().has_room_for(&window));
}
