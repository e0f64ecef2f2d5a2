//! Compares the store with a slow, obvious model: all changes ever applied, and the cells that
//! result from them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Changes with one content per version, as writers make them.
pub(super) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let cell = (
        prop::sample::select(vec!["b", "c"]),
        prop::sample::select(vec!["k", "k/1", "k/2", "\u{1}", "\0"]),
        prop::sample::select(vec!["", "", "", "f", "g"]),
    );
    let change = (
        cell,
        1u64..30,
        prop::sample::select(vec!["x", "y", "z"]),
        any::<bool>(),
        any::<bool>(),
    );
    vec(change, 1..40).prop_map(|drawn| {
        let mut changes: Vec<Change> = Vec::new();
        for ((bucket, key, field), hlc, region, deletes, expires) in drawn {
            let (id, version) = (id(bucket, key, field), version(hlc, region));
            if changes.iter().any(|change| change.version == version) {
                continue;
            }
            let ends = expires.then(|| at(hlc + 5));
            changes.push(match deletes {
                true => delete(id, version),
                false => put(id, version.clone(), &version.to_string(), ends),
            });
        }
        changes
    })
}

/// The cells that result from a set of changes, directly by the rule.
fn model(changes: &[Change]) -> BTreeMap<CellId, Cell> {
    let mut cells: BTreeMap<CellId, Cell> = BTreeMap::new();
    for change in changes {
        let (id, cell) = change.clone().into_cell();
        if cells.get(&id).is_none_or(|held| held.version < cell.version) {
            cells.insert(id, cell);
        }
    }
    let roots = cells.clone();
    cells.retain(|id, cell| {
        let root = roots.get(&root(&id.bucket, &id.key));
        id.field.is_none() || root.is_none_or(|root| root.version < cell.version)
    });
    cells
}

fn normal(cells: &BTreeMap<CellId, Cell>) -> Vec<(CellId, Version, crate::cell::ContentHash)> {
    let normal = |(id, cell): (&CellId, &Cell)| (id.clone(), cell.version.clone(), cell.content_hash());
    cells.iter().map(normal).collect()
}

fn cells(store: &Store) -> BTreeMap<CellId, Cell> {
    let cell = |(id, held): (&CellId, &HeldCell)| (id.clone(), held.cell.clone());
    store.cells.iter().map(cell).collect()
}

fn check(store: &Store, changes: &[Change]) -> Result<(), TestCaseError> {
    let expected = model(changes);
    prop_assert_eq!(normal(&cells(store)), normal(&expected));
    prop_assert_eq!(store.cells(), expected.len() as u64);
    let mut digest = Digest::default();
    for (id, cell) in &expected {
        digest.add(cell.digest(id));
    }
    prop_assert_eq!(store.digest(), digest);
    let bytes: u64 = cells(store).iter().map(|(id, cell)| weight(id, cell)).sum();
    prop_assert_eq!(store.bytes(), bytes);
    Ok(())
}

/// All keys of a bucket, page by page.
fn keys(store: &Store, bucket: &str, prefix: &str, limit: usize, wall: Wall) -> Vec<(Key, Version)> {
    let bucket = BucketName::parse(bucket).unwrap();
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(&bucket, prefix, after.as_ref(), limit, wall);
        assert!(page.keys.len() <= limit);
        keys.extend(page.keys.into_iter().map(|listed| (listed.key, listed.version)));
        match page.next {
            Some(next) => after = Some(next),
            None => return keys,
        }
    }
}

fn model_keys(changes: &[Change], bucket: &str, prefix: &str, wall: Wall) -> Vec<(Key, Version)> {
    let mut keys: BTreeMap<Key, Version> = BTreeMap::new();
    for (id, cell) in model(changes) {
        let listed = id.bucket.as_str() == bucket && id.key.as_str().starts_with(prefix);
        if listed && cell.live_value(wall).is_some() {
            let newest = keys.entry(id.key).or_insert_with(|| cell.version.clone());
            *newest = newest.clone().max(cell.version);
        }
    }
    keys.into_iter().collect()
}

#[derive(Debug, Clone)]
enum Step {
    Apply(prop::sample::Index),
    Sweep(u64, usize),
    Begin,
    Part(u64),
    Commit,
    Fail,
    Lose,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => any::<prop::sample::Index>().prop_map(Step::Apply),
        2 => (0u64..40, 0usize..4).prop_map(|(wall, budget)| Step::Sweep(wall, budget)),
        1 => Just(Step::Begin),
        3 => (0u64..2000).prop_map(Step::Part),
        1 => Just(Step::Commit),
        1 => Just(Step::Fail),
        1 => Just(Step::Lose),
    ];
    vec(step, 0..120)
}

/// The cells on disk, and the parts of an unfinished checkpoint.
#[derive(Default)]
struct Disk {
    cells: BTreeMap<Vec<u8>, Bytes>,
    applied: usize,
    begun: Option<(usize, Vec<StoredCell>)>,
}

impl Disk {
    fn step(&mut self, store: &mut Store, step: &Step, applied: usize) {
        match step {
            Step::Begin => {
                store.begin_checkpoint();
                self.begun = Some((applied, Vec::new()));
            }
            Step::Part(bytes) => {
                if let Some((_, parts)) = &mut self.begun {
                    parts.extend(store.next_part(*bytes));
                }
            }
            Step::Commit => {
                let Some((at, mut parts)) = self.begun.take() else {
                    return;
                };
                parts.extend(store.next_part(u64::MAX));
                for (id, held) in parts {
                    match held {
                        Some(held) => self.cells.insert(id.to_stored(), held.to_stored()),
                        None => self.cells.remove(&id.to_stored()),
                    };
                }
                store.checkpoint_committed();
                self.applied = at;
            }
            Step::Fail => {
                self.begun = None;
                store.checkpoint_failed();
            }
            Step::Lose => {
                *self = Self::default();
                store.checkpoint_lost();
            }
            Step::Apply(_) | Step::Sweep(..) => {}
        }
    }

    fn load(&self) -> Store {
        let mut store = Store::default();
        for (id, held) in &self.cells {
            let id = CellId::from_stored(id).expect("written by a checkpoint");
            store.load(id, HeldCell::from_stored(held).expect("written by a checkpoint"));
        }
        store
    }
}

proptest! {
    #[test]
    fn scenario_07_any_order_and_repetition_comes_to_the_same_cells(
        changes in changes(),
        order in vec(any::<prop::sample::Index>(), 0..80),
        sweeps in vec((0u64..40, 0usize..5), 0..10),
    ) {
        let mut store = Store::default();
        let repeated: Vec<&Change> = order.iter().map(|at| at.get(&changes)).collect();
        let mut sweeps = sweeps.into_iter();
        for (place, change) in repeated.into_iter().chain(changes.iter().rev()).enumerate() {
            store.apply(change.clone(), at(place as u64));
            if let Some((wall, budget)) = sweeps.next() {
                store.sweep(at(wall), budget);
            }
        }
        check(&store, &changes)?;
    }

    #[test]
    fn a_listing_gives_every_live_key_once_in_order(
        changes in changes(), limit in 1usize..4, wall in 0u64..40,
        bucket in prop::sample::select(vec!["b", "c", "d"]),
        prefix in prop::sample::select(vec!["", "k", "k/", "k/1", "\u{1}", "\0", "nothing"]),
    ) {
        let mut store = Store::default();
        for change in &changes {
            store.apply(change.clone(), at(0));
        }
        let expected = model_keys(&changes, bucket, prefix, at(wall));
        prop_assert_eq!(keys(&store, bucket, prefix, limit, at(wall)), expected);
    }

    #[test]
    fn a_checkpoint_and_later_changes_restore_the_same_store(changes in changes(), steps in steps()) {
        let (mut store, mut disk) = (Store::default(), Disk::default());
        let mut applied: Vec<Change> = Vec::new();
        for step in &steps {
            match step {
                Step::Apply(which) => {
                    applied.push(which.get(&changes).clone());
                    store.apply(which.get(&changes).clone(), at(applied.len() as u64));
                }
                Step::Sweep(wall, budget) => {
                    store.sweep(at(*wall), *budget);
                }
                _ => disk.step(&mut store, step, applied.len()),
            }
        }
        let mut restarted = disk.load();
        for change in &applied[disk.applied..] {
            restarted.apply(change.clone(), at(0));
        }
        check(&restarted, &applied)?;
        disk.step(&mut store, &Step::Begin, applied.len());
        disk.step(&mut store, &Step::Commit, applied.len());
        prop_assert_eq!(store.dirty(), 0);
        prop_assert_eq!(cells(&disk.load()), cells(&store));
        check(&disk.load(), &applied)?;
    }

    #[test]
    fn names_order_as_bytes_as_they_order_as_names(
        a in ("[a-z0-9-]{1,4}", "[\0\u{1}\u{2}a]{1,4}", vec(any::<u8>(), 0..3)),
        b in ("[a-z0-9-]{1,4}", "[\0\u{1}\u{2}a]{1,4}", vec(any::<u8>(), 0..3)),
    ) {
        let [a, b] = [a, b].map(|(bucket, key, field)| CellId {
            bucket: BucketName::parse(&bucket).unwrap(),
            key: Key::parse(&key).unwrap(),
            field: Field::new(field.into()).unwrap(),
        });
        prop_assert_eq!(a.to_stored().cmp(&b.to_stored()), a.cmp(&b));
        prop_assert_eq!(CellId::from_stored(&a.to_stored()), Ok(a));
    }

    #[test]
    fn any_bytes_are_a_stored_cell_or_an_error(bytes in vec(any::<u8>(), 0..80)) {
        let _: Result<CellId, InvalidStored> = CellId::from_stored(&bytes);
        let _: Result<HeldCell, InvalidStored> = HeldCell::from_stored(&bytes);
    }
}
