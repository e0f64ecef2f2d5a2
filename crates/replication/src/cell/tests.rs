use proptest::prelude::*;

use super::*;
use crate::coordinates::WriterId;
use crate::hlc::Hlc;
use crate::names::RegionName;
use crate::seen::Stamp;

fn region(n: u8) -> RegionName {
    RegionName::parse(["ap-south", "eu-west", "us-east"][usize::from(n) % 3]).expect("a valid name")
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        Just(Content::Tombstone),
        (0u8..3, 0u8..2).prop_map(|(value, kind)| Content::Value {
            bytes: Bytes::copy_from_slice(&[value]),
            content_type: ContentType::new(["", "text/plain"][usize::from(kind)]).expect("short"),
        }),
    ]
}

/// Few stamps, regions and writers, so that equal versions with equal and with different contents
/// are common.
fn cell() -> impl Strategy<Value = Cell> {
    (
        1u64..4,
        0u8..3,
        0u64..2,
        content(),
        proptest::option::of(1u64..3),
        any::<bool>(),
        0u8..3,
        0u64..4,
    )
        .prop_map(
            |(hlc, at, writer, content, expires, sweep, seen_region, seen_hlc)| {
                let mut seen = Seen::default();
                seen.note(
                    &region(seen_region),
                    Stamp::of_any_writer(Hlc::from_bits(seen_hlc)),
                );
                let mut cell = Cell {
                    version: Version {
                        hlc: Hlc::from_bits(hlc),
                        region: region(at),
                        writer: WriterId(writer),
                    },
                    seen,
                    expires_at: expires.map(Wall::from_millis),
                    content,
                };
                if sweep {
                    cell.sweep();
                }
                cell
            },
        )
}

fn merged(cells: impl IntoIterator<Item = Cell>) -> Option<Cell> {
    let mut held = None;
    for cell in cells {
        merge(&mut held, cell);
    }
    held
}

/// The reference: the greatest (version, hash), with `seen` joined over its copies, and swept if
/// any copy is swept.
fn reference(cells: &[Cell]) -> Option<Cell> {
    let mut best = cells
        .iter()
        .max_by_key(|c| (c.version.clone(), c.content_hash()))?
        .clone();
    for same in cells.iter().filter(|c| c.version == best.version) {
        best.seen.join(&same.seen);
        if same.content_hash() == best.content_hash() && matches!(same.content, Content::Swept(_)) {
            best.content = same.content.clone();
        }
    }
    Some(best)
}

proptest! {
    #[test]
    fn scenario_07_any_order_and_repetition_ends_equal(
        (cells, shuffled) in proptest::collection::vec(cell(), 1..8)
            .prop_flat_map(|cells| (Just(cells.clone()), Just([cells.clone(), cells].concat()).prop_shuffle()))
    ) {
        let once = merged(cells.clone());
        prop_assert_eq!(&once, &merged(shuffled));
        prop_assert_eq!(once, reference(&cells));
    }

    #[test]
    fn scenario_07_merge_is_associative(a in cell(), b in cell(), c in cell()) {
        let left = merged(merged([a.clone(), b.clone()]).into_iter().chain([c.clone()]));
        let right = merged([a].into_iter().chain(merged([b, c])));
        prop_assert_eq!(left, right);
    }

    #[test]
    fn sweeping_and_seen_change_no_digest(cell in cell()) {
        let id = CellId {
            bucket: BucketName::parse("b").expect("a valid name"),
            key: Key::parse("k").expect("a valid key"),
            field: Field::NONE,
        };
        let mut swept = cell.clone();
        swept.sweep();
        swept.seen.note(&region(0), Stamp::of_any_writer(Hlc::from_bits(99)));
        prop_assert_eq!(cell.digest(&id), swept.digest(&id));
    }
}

#[test]
fn content_that_differs_in_any_part_has_another_hash() {
    let cell = |content, expires_at| Cell {
        version: Version {
            hlc: Hlc::from_bits(1),
            region: region(0),
            writer: WriterId(1),
        },
        seen: Seen::default(),
        expires_at,
        content,
    };
    let value = |bytes: &'static str, kind| Content::Value {
        bytes: Bytes::from_static(bytes.as_bytes()),
        content_type: ContentType::new(kind).expect("short"),
    };
    let hashes = [
        cell(value("ab", ""), None),
        cell(value("b", "a"), None),
        cell(value("ab", "a"), None),
        cell(value("ab", ""), Some(Wall::from_millis(1))),
        cell(Content::Tombstone, None),
        cell(Content::Tombstone, Some(Wall::from_millis(1))),
    ]
    .map(|c| c.content_hash());
    let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
}

#[test]
fn a_winner_that_had_not_seen_the_loser_is_a_true_conflict() {
    let loser = Version {
        hlc: Hlc::from_bits(5),
        region: region(1),
        writer: WriterId(1),
    };
    let mut winner = Cell {
        version: Version {
            hlc: Hlc::from_bits(6),
            region: region(1),
            writer: WriterId(2),
        },
        seen: Seen::default(),
        expires_at: None,
        content: Content::Tombstone,
    };
    assert!(winner.overwrites_unseen(&loser));
    winner.seen.observe(&Version {
        hlc: Hlc::from_bits(4),
        ..loser.clone()
    });
    assert!(winner.overwrites_unseen(&loser));
    winner.seen.observe(&Version {
        writer: WriterId(0),
        ..loser.clone()
    });
    assert!(winner.overwrites_unseen(&loser));
    let mut same_writer = winner.clone();
    same_writer.version.writer = loser.writer;
    assert!(
        !same_writer.overwrites_unseen(&loser),
        "a process knows what it wrote"
    );
    winner.seen.observe(&loser);
    assert!(!winner.overwrites_unseen(&loser));
}
