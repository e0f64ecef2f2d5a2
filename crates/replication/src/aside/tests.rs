//! Entries as bytes, and conflicts checked against a model of which writes have seen which others.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::cell::{ContentHash, ContentType, Field};
use crate::coordinates::{MessageId, WriterId};
use crate::hlc::Hlc;
use crate::names::{BucketName, GroupName, Key, SetName};
use crate::seen::Seen;

mod writers;

const REGIONS: [&str; 3] = ["a", "b", "c"];

fn region(at: usize) -> RegionName {
    RegionName::parse(REGIONS[at]).unwrap()
}

fn log(at: usize) -> LogName {
    LogName {
        set: SetName::parse("shop").unwrap(),
        region: region(at),
        shard: shard(0),
    }
}

fn shard(partition: u16) -> Shard {
    Shard {
        group: GroupName::parse("default").unwrap(),
        partition,
    }
}

fn cell(key: &str, field: Vec<u8>) -> CellId {
    CellId {
        bucket: BucketName::parse("carts").unwrap(),
        key: Key::parse(key).unwrap(),
        field: Field::new(field.into()).unwrap(),
    }
}

fn version() -> impl Strategy<Value = Version> {
    (any::<u64>(), 0usize..3, any::<u64>()).prop_map(|(hlc, at, writer)| Version {
        hlc: Hlc::from_bits(hlc),
        region: region(at),
        writer: WriterId(writer),
    })
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        (vec(any::<u8>(), 0..40), "[a-z/]{0,12}").prop_map(|(bytes, text)| Content::Value {
            bytes: bytes.into(),
            content_type: ContentType::new(&text).unwrap(),
        }),
        Just(Content::Tombstone),
        any::<u128>().prop_map(|hash| Content::Swept(ContentHash(hash))),
    ]
}

fn kept_write() -> impl Strategy<Value = Kept> {
    let why = prop_oneof![
        Just(Why::Clock),
        Just(Why::TooLate),
        version().prop_map(|winner| Why::Conflict { winner }),
    ];
    let id = ("[a-z/é]{1,12}", vec(any::<u8>(), 0..4));
    let expires_at = proptest::option::of(1u64..u64::MAX / 1000);
    (why, id, version(), expires_at, content()).prop_map(|(why, (key, field), version, ends, content)| {
        Kept::Write(KeptWrite {
            why,
            id: cell(&key, field),
            version,
            expires_at: ends.map(Wall::from_millis),
            content,
        })
    })
}

fn kept_range() -> impl Strategy<Value = Kept> {
    let numbers = (
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
    );
    (0usize..3, numbers, "[ -~]{0,40}", vec(any::<u8>(), 0..60)).prop_map(|(at, numbers, detail, body)| {
        let (first, through, number, nonce, id) = numbers;
        Kept::Range(KeptRange {
            origin: region(at),
            first: Sequence(first),
            through: Cursor {
                position: Position {
                    life: Life { number, nonce },
                    sequence: Sequence(through),
                },
                message_id: MessageId(id),
            },
            detail,
            body: body.into(),
        })
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let kept = prop_oneof![kept_write(), kept_range()];
    (any::<u16>(), any::<u64>(), kept).prop_map(|(partition, at, kept)| Entry {
        shard: shard(partition),
        at: Wall::from_micros(at),
        kept,
    })
}

/// A write of one key by a region that has applied some of the other writes.
#[derive(Debug, Clone)]
struct Step {
    region: usize,
    learns: Vec<prop::sample::Index>,
    deletes: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0usize..3, vec(any::<prop::sample::Index>(), 0..4), any::<bool>());
    vec(
        step.prop_map(|(region, learns, deletes)| Step {
            region,
            learns,
            deletes,
        }),
        1..14,
    )
}

/// The next write of region `at` over what its store holds, as a writer builds it.
fn write(store: &Store, at: usize, hlc: u64, deletes: bool) -> Change {
    let id = cell("17", Vec::new());
    let mut seen = Seen::default();
    if let Some(held) = store.held(&id) {
        seen.join(&held.cell.seen);
        seen.observe(&held.cell.version);
    }
    let version = Version {
        hlc: Hlc::from_bits(hlc),
        region: region(at),
        writer: WriterId(at as u64),
    };
    let op = match deletes {
        true => Op::Delete,
        false => Op::Put {
            value: version.to_string().into_bytes().into(),
            content_type: ContentType::default(),
        },
    };
    Change {
        id,
        version,
        seen,
        expires_at: None,
        op,
        trace: None,
    }
}

/// The writes of regions that each know some of the others' writes, or all of them if `all` is set.
fn writes(steps: &[Step], all: bool) -> Vec<Change> {
    let mut stores: Vec<Store> = REGIONS.iter().map(|_| Store::default()).collect();
    let mut written: Vec<Change> = Vec::new();
    for (hlc, step) in steps.iter().enumerate() {
        let store = &mut stores[step.region];
        let learnt: Vec<Change> = match (all, written.is_empty()) {
            (true, _) => written.clone(),
            (false, true) => Vec::new(),
            (false, false) => step.learns.iter().map(|at| at.get(&written).clone()).collect(),
        };
        for change in learnt {
            store.apply(change, Wall::default());
        }
        let change = write(store, step.region, hlc as u64 + 1, step.deletes);
        store.apply(change.clone(), Wall::default());
        written.push(change);
    }
    written
}

/// The entries that region `at` sets aside when it applies `changes`, by name, and how often each
/// one was found.
fn set_aside<'a>(at: usize, changes: impl IntoIterator<Item = &'a Change>) -> BTreeMap<String, (Entry, u32)> {
    let (mut store, mut entries) = (Store::default(), BTreeMap::new());
    for change in changes {
        let applied = store.apply(change.clone(), Wall::default());
        let conflict = applied.into_conflict();
        let id = change.id.clone();
        let entry = conflict.and_then(|conflict| Entry::of_conflict(&log(at), Wall::default(), id, conflict));
        if let Some(entry) = entry {
            entries.entry(entry.name()).or_insert((entry, 0)).1 += 1;
        }
    }
    entries
}

fn name_of(change: &Change) -> String {
    format!("conflict-0-{}", change.version)
}

fn has_seen(later: &Change, earlier: &Change) -> bool {
    !later.clone().into_cell().1.overwrites_unseen(&earlier.version)
}

/// The names of the writes of region `at` that are losers, as decided by `lost` from the later
/// writes.
fn losers(at: usize, changes: &[Change], lost: impl Fn(&Change, &[&Change]) -> bool) -> BTreeSet<String> {
    let own = changes
        .iter()
        .filter(|change| change.version.region == region(at));
    own.filter(|loser| {
        let later: Vec<&Change> = changes
            .iter()
            .filter(|other| other.version > loser.version)
            .collect();
        lost(loser, &later)
    })
    .map(name_of)
    .collect()
}

proptest! {
    #[test]
    fn an_entry_round_trips(entry in entry()) {
        prop_assert_eq!(Entry::decode(entry.encode()), Ok(entry.clone()));
        let name = entry.name();
        prop_assert!(name.len() <= 200 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)), "{}", name);
    }

    #[test]
    fn any_bytes_are_an_entry_or_an_error(bytes in vec(any::<u8>(), 0..80), entry in entry(), at: prop::sample::Index, flip: u8) {
        let _: Result<Entry, InvalidEntry> = Entry::decode(bytes.into());
        let mut damaged = entry.encode().to_vec();
        let at = at.index(damaged.len());
        damaged[at] ^= flip;
        let _: Result<Entry, InvalidEntry> = Entry::decode(damaged.into());
    }

    /// Every writer has applied everything that was written before it: nothing is lost, in any
    /// order of arrival.
    #[test]
    fn scenario_42_a_causal_only_workload_sets_nothing_aside(
        steps in steps(), order in vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let changes = writes(&steps, true);
        let repeated: Vec<&Change> = order.iter().map(|at| at.get(&changes)).collect();
        for at in 0..REGIONS.len() {
            let entries = set_aside(at, repeated.iter().copied().chain(changes.iter().rev()));
            prop_assert!(entries.is_empty(), "{:?}", entries);
        }
    }

    /// In any order and with any repetition, a region sets aside each of its writes that no other
    /// write has seen and that does not stay, under one name and with its bytes. It never sets
    /// aside a write that every later write has seen.
    #[test]
    fn scenario_42_a_true_conflict_is_set_aside_once_in_any_order(
        steps in steps(), order in vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let changes = writes(&steps, false);
        let repeated: Vec<&Change> = order.iter().map(|at| at.get(&changes)).collect();
        for at in 0..REGIONS.len() {
            let entries = set_aside(at, repeated.iter().copied().chain(changes.iter()));
            let found: BTreeSet<String> = entries.keys().cloned().collect();
            let seen_by_none = losers(at, &changes, |loser, later| {
                !later.is_empty() && later.iter().all(|other| !has_seen(other, loser))
            });
            let unseen_by_one = losers(at, &changes, |loser, later| later.iter().any(|other| !has_seen(other, loser)));
            prop_assert!(found.is_superset(&seen_by_none), "{:?} without {:?}", found, seen_by_none);
            prop_assert!(found.is_subset(&unseen_by_one), "{:?} beyond {:?}", found, unseen_by_one);
            for (name, (entry, _)) in entries {
                let loser = changes.iter().find(|change| name_of(change) == name).unwrap();
                let (id, loser) = loser.clone().into_cell();
                let Kept::Write(kept) = entry.kept else { panic!("a write") };
                prop_assert_eq!((kept.id, kept.version, kept.content), (id, loser.version, loser.content));
            }
        }
    }

    /// A log that an agent with an empty store reads again from its beginning gives the same
    /// entries.
    #[test]
    fn scenario_42_a_replay_of_a_log_names_nothing_new(
        steps in steps(), order in vec(any::<prop::sample::Index>(), 1..60),
    ) {
        let changes = writes(&steps, false);
        let logged: Vec<&Change> = order.iter().map(|at| at.get(&changes)).collect();
        for at in 0..REGIONS.len() {
            let (first, again) = (set_aside(at, logged.iter().copied()), set_aside(at, logged.iter().copied()));
            prop_assert_eq!(first, again);
        }
    }

    /// Of two writes that have not seen each other, the lesser one is set aside by its own region
    /// and not by the other, whichever arrives first.
    #[test]
    fn only_its_own_region_sets_aside_the_lesser_concurrent_write(
        (one, other) in (0usize..3, 0usize..3), deletes: (bool, bool), again in 0usize..3,
    ) {
        prop_assume!(one != other);
        let lesser = write(&Store::default(), one, 5, deletes.0);
        let greater = write(&Store::default(), other, 6, deletes.1);
        for arrival in [[&lesser, &greater], [&greater, &lesser]] {
            let repeated = arrival.iter().copied().cycle().take(2 + again);
            let entries = set_aside(one, repeated.clone());
            prop_assert_eq!(entries.keys().collect::<Vec<_>>(), [&name_of(&lesser)]);
            let Kept::Write(kept) = &entries[&name_of(&lesser)].0.kept else { panic!("a write") };
            prop_assert_eq!(&kept.why, &Why::Conflict { winner: greater.version.clone() });
            prop_assert!(set_aside(other, repeated).is_empty());
        }
    }
}

#[test]
fn of_a_void_batch_only_what_is_lost_is_set_aside() {
    use crate::header::{BodySeal, Local, StageTimes};
    let mut store = Store::default();
    let applied = write(&store, 0, 5, false);
    store.apply(applied.clone(), Wall::default());
    let replacing = write(&store, 1, 6, false);
    let lost = Change {
        id: cell("18", Vec::new()),
        ..write(&Store::default(), 0, 7, true)
    };
    let body = body::encode(&region(0), &[applied.clone(), lost.clone()]);
    let local = Local {
        message_id: MessageId(1),
        writer: WriterId(7),
        lowest_stamp: applied.version.hlc,
        highest_stamp: lost.version.hlc,
    };
    let header = Header {
        set: log(0).set,
        shard: shard(0),
        record: Record::Batch(local),
        body: BodySeal::of(&body, 2),
        stages: StageTimes::default(),
    };
    for replaced in [false, true] {
        if replaced {
            store.apply(replacing.clone(), Wall::default());
        }
        for (void, reason) in [
            (Void::ClockAhead, Reason::Clock),
            (Void::TooLate, Reason::TooLate),
        ] {
            let entries = of_void(&log(0), &store, void, Wall::from_micros(9), &header, &body);
            let [entry] = &entries[..] else {
                panic!("{entries:?}")
            };
            assert_eq!((entry.reason(), entry.at), (reason, Wall::from_micros(9)));
            let Kept::Write(kept) = &entry.kept else {
                panic!("a write")
            };
            assert_eq!((&kept.id, &kept.version), (&lost.id, &lost.version));
        }
    }
    assert_eq!(
        of_void(&log(0), &store, Void::Repeated, Wall::default(), &header, &body),
        []
    );
    let damaged = body.slice(1..);
    assert_eq!(
        of_void(
            &log(0),
            &store,
            Void::ClockAhead,
            Wall::default(),
            &header,
            &damaged
        ),
        []
    );
}
