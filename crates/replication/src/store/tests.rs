#![allow(clippy::unwrap_used)]

use bytes::Bytes;

use super::*;
use crate::cell::ContentType;
use crate::change::Op;
use crate::coordinates::WriterId;
use crate::hlc::Hlc;
use crate::limits;
use crate::names::RegionName;
use crate::seen::{Seen, Stamp};
use crate::version::Version;

mod collecting;
mod properties;

pub(super) fn id(bucket: &str, key: &str, field: &str) -> CellId {
    CellId {
        bucket: BucketName::parse(bucket).unwrap(),
        key: Key::parse(key).unwrap(),
        field: Field::new(Bytes::copy_from_slice(field.as_bytes())).unwrap(),
    }
}

pub(super) fn version(hlc: u64, region: &str) -> Version {
    Version {
        hlc: Hlc::from_bits(hlc),
        region: RegionName::parse(region).unwrap(),
        writer: WriterId(region.bytes().map(u64::from).sum()),
    }
}

pub(super) fn put(id: CellId, version: Version, value: &str, expires_at: Option<Wall>) -> Change {
    Change {
        id,
        version,
        seen: Seen::default(),
        expires_at,
        op: Op::Put {
            value: Bytes::copy_from_slice(value.as_bytes()),
            content_type: ContentType::default(),
        },
        trace: None,
    }
}

pub(super) fn delete(id: CellId, version: Version) -> Change {
    Change {
        op: Op::Delete,
        ..put(id, version, "", None)
    }
}

fn at(millis: u64) -> Wall {
    Wall::from_millis(millis)
}

#[test]
fn the_greater_version_wins_and_keeps_its_time_of_application() {
    let mut store = Store::default();
    let cell = id("carts", "17", "");
    assert_eq!(
        store.apply(put(cell.clone(), version(2, "b"), "x", None), at(5)),
        Applied::Won { conflict: None }
    );
    let older = put(cell.clone(), version(1, "a"), "y", None);
    let conflict = Some(Conflict {
        winner: version(2, "b"),
        loser: older.clone().into_cell().1,
    });
    assert_eq!(store.apply(older, at(6)), Applied::Superseded { conflict });
    let again = store.apply(put(cell.clone(), version(2, "b"), "x", None), at(7));
    assert_eq!(again, Applied::Same);
    let clash = store.apply(put(cell.clone(), version(2, "b"), "z", None), at(8));
    assert_eq!(clash, Applied::Clash);
    assert_eq!(store.held(&cell).unwrap().applied_at, at(5));
    assert_eq!(store.cells(), 1);
}

#[test]
fn a_write_that_saw_what_it_replaces_conflicts_on_neither_side() {
    let cell = id("carts", "17", "");
    let first = put(cell.clone(), version(1, "a"), "x", None);
    let mut second = put(cell.clone(), version(2, "b"), "y", None);
    second.seen.observe(&first.version);
    let unseen = put(cell, version(3, "c"), "z", None);
    let mut store = Store::default();
    store.apply(first.clone(), at(0));
    assert_eq!(store.apply(second.clone(), at(0)).into_conflict(), None);
    let conflict = Conflict {
        winner: unseen.version.clone(),
        loser: second.clone().into_cell().1,
    };
    assert_eq!(store.apply(unseen, at(0)).into_conflict(), Some(conflict));
    let mut other = Store::default();
    other.apply(second, at(0));
    assert_eq!(other.apply(first, at(0)), Applied::Superseded { conflict: None });
}

#[test]
fn a_delete_of_the_key_covers_its_fields_whichever_comes_first() {
    let field = |hlc| put(id("h", "k", "f"), version(hlc, "a"), "x", None);
    let root = || delete(id("h", "k", ""), version(5, "a"));
    let (mut before, mut after) = (Store::default(), Store::default());
    before.apply(root(), at(0));
    assert!(before.apply(field(4), at(0)).superseded());
    after.apply(field(4), at(0));
    after.apply(root(), at(0));
    assert_eq!(after.held(&id("h", "k", "f")), None);
    assert_eq!((before.digest(), before.cells()), (after.digest(), after.cells()));
    assert_eq!(before.bytes(), after.bytes());
    assert!(!before.apply(field(6), at(0)).superseded());
    assert_eq!(before.cells(), 2);
}

#[test]
fn an_expired_value_reads_as_deleted_and_a_sweep_frees_it() {
    let mut store = Store::default();
    let cell = id("s", "k", "");
    store.apply(
        put(cell.clone(), version(1, "a"), "a long value", Some(at(10))),
        at(0),
    );
    let (digest, bytes) = (store.digest(), store.bytes());
    let bucket = cell.bucket.clone();
    assert_eq!(store.list(&bucket, "", None, 9, at(9)).keys.len(), 1);
    assert_eq!(store.list(&bucket, "", None, 9, at(10)).keys.len(), 0);
    assert_eq!(store.next_expiry(), Some(at(10)));
    assert_eq!(store.sweep(at(9), 9), 0);
    assert_eq!(store.sweep(at(10), 9), 1);
    assert_eq!(store.sweep(at(99), 9), 0);
    assert_eq!((store.digest(), store.cells()), (digest, 1));
    assert!(store.bytes() < bytes);
    assert_eq!(store.next_expiry(), None);
}

#[test]
fn a_listing_goes_by_prefix_and_page() {
    let mut store = Store::default();
    for key in ["a", "a/1", "a/2", "a/3", "b", "\0", "\u{10ffff}"] {
        store.apply(put(id("l", key, ""), version(1, "a"), "x", None), at(0));
    }
    store.apply(delete(id("l", "a/2", ""), version(2, "a")), at(0));
    store.apply(put(id("k", "a/9", ""), version(1, "a"), "x", None), at(0));
    let bucket = BucketName::parse("l").unwrap();
    let keys =
        |page: &Page| -> Vec<String> { page.keys.iter().map(|listed| listed.key.to_string()).collect() };
    let first = store.list(&bucket, "a/", None, 1, at(0));
    assert_eq!(keys(&first), ["a/1"]);
    let second = store.list(&bucket, "a/", first.next.as_ref(), 9, at(0));
    assert_eq!((keys(&second), second.next), (vec!["a/3".to_owned()], None));
    let all = store.list(&bucket, "", None, 99, at(0));
    assert_eq!(keys(&all), ["\0", "a", "a/1", "a/3", "b", "\u{10ffff}"]);
    assert_eq!(
        store.list(&bucket, "", all.keys.last().map(|l| &l.key), 9, at(0)),
        Page::default()
    );
}

#[test]
fn a_page_is_bounded_by_what_it_passes_over() {
    let mut store = Store::default();
    for key in 0..=limits::LIST_SCANNED {
        store.apply(delete(id("l", &format!("{key:06}"), ""), version(1, "a")), at(0));
    }
    store.apply(put(id("l", "z", ""), version(1, "a"), "x", None), at(0));
    let bucket = BucketName::parse("l").unwrap();
    let first = store.list(&bucket, "", None, 10, at(0));
    assert!(first.keys.is_empty());
    let second = store.list(&bucket, "", first.next.as_ref(), 10, at(0));
    assert_eq!((second.keys.len(), second.next), (1, None));
}

#[test]
fn a_covered_cell_of_a_checkpoint_goes_again_when_it_is_loaded() {
    let mut whole = Store::default();
    whole.apply(put(id("h", "k", "f"), version(1, "a"), "x", None), at(0));
    let field = whole.held(&id("h", "k", "f")).unwrap().clone();
    whole.apply(delete(id("h", "k", ""), version(2, "a")), at(0));
    let root = whole.held(&id("h", "k", "")).unwrap().clone();
    let parts = [(id("h", "k", ""), root), (id("h", "k", "f"), field)];
    for order in [[0, 1], [1, 0]] {
        let mut store = Store::default();
        for part in order {
            let (id, held) = parts[part].clone();
            store.load(id, held);
        }
        assert_eq!((store.digest(), store.cells()), (whole.digest(), 1));
        store.begin_checkpoint();
        assert_eq!(store.next_part(u64::MAX), [(id("h", "k", "f"), None)]);
    }
}

#[test]
fn what_a_region_wrote_above_a_floor_can_be_given_back() {
    let mut store = Store::default();
    store.apply(put(id("b", "old", ""), version(1, "a"), "x", None), at(0));
    store.apply(put(id("b", "put", ""), version(2, "a"), "x", Some(at(9))), at(0));
    store.apply(delete(id("b", "deleted", ""), version(3, "a")), at(0));
    store.apply(put(id("b", "foreign", ""), version(4, "b"), "x", None), at(0));
    let region = RegionName::parse("a").unwrap();
    let mut other = Store::default();
    for change in store.stamped_above(&region, Hlc::from_bits(1)) {
        other.apply(change, at(0));
    }
    for (key, given_back) in [
        ("old", false),
        ("put", true),
        ("deleted", true),
        ("foreign", false),
    ] {
        let held = other.held(&id("b", key, ""));
        assert_eq!(held.is_some(), given_back, "{key}");
        assert!(held.is_none() || held == store.held(&id("b", key, "")));
    }
}

#[test]
fn a_held_write_does_not_know_its_own_writers_later_one() {
    let mut store = Store::default();
    let cell = id("b", "k", "");
    store.apply(put(cell.clone(), version(5, "a"), "x", None), at(5));
    assert!(store.knows(&put(cell.clone(), version(5, "a"), "x", None)));
    assert!(store.knows(&put(cell.clone(), version(4, "a"), "w", None)));
    assert!(!store.knows(&put(cell.clone(), version(6, "a"), "y", None)));
    assert!(!store.knows(&put(cell, version(4, "b"), "z", None)));
}

#[test]
fn the_stored_form_is_fixed() {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    assert_eq!(hex(&id("b", "k\0\u{1}", "f").to_stored()), STORED_NAME);
    let mut store = Store::default();
    let (first, second) = (id("b", "k", ""), id("b", "l", ""));
    let by_one = |hlc| Version {
        writer: WriterId(1),
        ..version(hlc, "a")
    };
    let mut change = put(first.clone(), by_one(2), "x", Some(at(9)));
    let region = RegionName::parse("b").unwrap();
    change.seen.note(&region, Stamp::of_any_writer(Hlc::from_bits(1)));
    store.apply(change, at(7));
    store.apply(delete(second.clone(), by_one(3)), at(8));
    assert_eq!(hex(&store.held(&first).unwrap().to_stored()), STORED_VALUE);
    assert_eq!(hex(&store.held(&second).unwrap().to_stored()), STORED_TOMBSTONE);
    store.sweep(at(9), 1);
    assert_eq!(hex(&store.held(&first).unwrap().to_stored()), STORED_SWEPT);
}

const STORED_NAME: &str = "62006b010001010066";
const STORED_VALUE: &str =
    "090200000000000000120161190100000000000000220c0a01621101000000000000002809300142017849581b000000000000";
const STORED_TOMBSTONE: &str = "090300000000000000120161190100000000000000300249401f000000000000";
const STORED_SWEPT: &str = "090200000000000000120161190100000000000000220c0a0162110100000000000000280930034210c49e55288e1ab84471a24666a4d7ddd349581b000000000000";

/// Applies the changes in every order, and each order a second time; returns the store that all of
/// them end with.
fn in_every_order(changes: &[Change]) -> Store {
    let mut stores: Vec<Store> = orders(changes)
        .into_iter()
        .map(|order| {
            let mut store = Store::default();
            for change in order.iter().chain(&order) {
                store.apply(change.clone(), Wall::default());
            }
            store
        })
        .collect();
    let last = stores.pop().unwrap();
    for store in stores {
        assert_eq!((store.digest(), store.cells()), (last.digest(), last.cells()));
    }
    last
}

fn orders(changes: &[Change]) -> Vec<Vec<Change>> {
    let Some((first, rest)) = changes.split_first() else {
        return vec![Vec::new()];
    };
    let mut all = Vec::new();
    for order in orders(rest) {
        for place in 0..=order.len() {
            let mut order = order.clone();
            order.insert(place, first.clone());
            all.push(order);
        }
    }
    all
}

#[test]
fn scenario_02_of_equal_stamps_the_same_write_wins_everywhere() {
    let key = || id("carts", "k", "");
    let writes = [
        put(key(), version(9, "eu-west"), "here", None),
        put(key(), version(9, "us-east"), "there", None),
        delete(key(), version(9, "ap-south")),
    ];
    let store = in_every_order(&writes);
    assert_eq!(store.held(&key()).unwrap().cell.version, version(9, "us-east"));
    let deleted = in_every_order(&[
        put(key(), version(9, "eu-west"), "here", None),
        delete(key(), version(9, "us-east")),
    ]);
    assert_eq!(deleted.held(&key()).unwrap().cell.live_value(at(0)), None);
}

#[test]
fn scenario_03_two_deletes_outlive_a_third_regions_older_put() {
    let key = || id("carts", "k", "");
    let store = in_every_order(&[
        delete(key(), version(8, "eu-west")),
        delete(key(), version(9, "us-east")),
        put(key(), version(7, "ap-south"), "late", None),
    ]);
    let held = &store.held(&key()).unwrap().cell;
    assert_eq!(
        (&held.version, held.live_value(at(0))),
        (&version(9, "us-east"), None)
    );
}

#[test]
fn scenario_38_an_older_put_does_not_replace_a_swept_value() {
    let key = || id("carts", "k", "");
    let mut store = Store::default();
    store.apply(put(key(), version(9, "eu-west"), "brief", Some(at(5))), at(1));
    let before = store.digest();
    assert_eq!(store.sweep(at(6), 10), 1);
    store.apply(put(key(), version(7, "us-east"), "older", None), at(7));
    let held = &store.held(&key()).unwrap().cell;
    assert_eq!(
        (&held.version, held.live_value(at(8))),
        (&version(9, "eu-west"), None)
    );
    assert_eq!(store.digest(), before);
}
