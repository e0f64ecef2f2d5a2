//! Compares a store that collects, removes and restarts with a slow model that collects.

use std::collections::{BTreeMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::properties::changes;
use super::*;
use crate::cell::Cell;

/// What a log brings, in order.
#[derive(Debug, Clone)]
enum Read {
    Change(Box<Change>),
    /// The collected floor moves.
    Floor(Hlc),
}

/// What happens beside the log.
#[derive(Debug, Clone)]
enum Step {
    Next,
    Begin,
    Part(u64),
    Commit,
    Reclaim(usize),
}

/// The cells that follow from a log, directly by the rule.
#[derive(Debug, Default)]
struct Model {
    cells: BTreeMap<CellId, Cell>,
    floor: Hlc,
}

impl Model {
    fn read(&mut self, entry: &Read) {
        match entry {
            Read::Floor(floor) => {
                self.floor = *floor;
                self.cells.retain(|_, cell| !cell.is_absent_at(*floor));
            }
            Read::Change(change) => {
                let (id, cell) = Change::clone(change).into_cell();
                let root = self.cells.get(&root(&id.bucket, &id.key));
                let is_covered = !id.field.is_none() && root.is_some_and(|root| root.version >= cell.version);
                let held = self.cells.get(&id);
                let is_late = held.is_none() && cell.version.hlc <= self.floor;
                if is_covered || is_late || held.is_some_and(|held| held.version >= cell.version) {
                    return;
                }
                if id.field.is_none() {
                    self.cells.retain(|other, covered| {
                        let is_of_key = other.bucket == id.bucket && other.key == id.key;
                        !is_of_key || covered.version > cell.version
                    });
                }
                if !cell.is_absent_at(self.floor) {
                    self.cells.insert(id, cell);
                } else {
                    self.cells.remove(&id);
                }
            }
        }
    }
}

fn read(store: &mut Store, entry: &Read) {
    match entry {
        Read::Change(change) => {
            store.apply(Change::clone(change), at(0));
        }
        Read::Floor(floor) => store.collect(*floor),
    }
}

fn check(store: &Store, model: &Model) -> Result<(), TestCaseError> {
    let held = store.cells_after(None).filter(|(id, _)| store.held(id).is_some());
    let held: Vec<_> = held.map(|(id, held)| (id, &held.cell.version)).collect();
    let wanted: Vec<_> = model.cells.iter().map(|(id, cell)| (id, &cell.version)).collect();
    prop_assert_eq!(held, wanted);
    prop_assert_eq!(store.cells(), model.cells.len() as u64);
    let mut digest = Digest::default();
    for (id, cell) in &model.cells {
        digest.add(cell.digest(id));
    }
    prop_assert_eq!(store.digest(), digest);
    let bytes: u64 = store
        .cells_after(None)
        .map(|(id, held)| weight(id, &held.cell))
        .sum();
    prop_assert_eq!(store.bytes(), bytes);
    Ok(())
}

/// The last committed checkpoint, and the one that is being written.
#[derive(Default)]
struct Disk {
    cells: BTreeMap<CellId, HeldCell>,
    read: usize,
    floor: Hlc,
    reclaimed: Hlc,
    begun: Option<(usize, Hlc, Vec<StoredCell>)>,
}

impl Disk {
    fn begin(&mut self, store: &mut Store, read: usize) {
        store.begin_checkpoint();
        self.begun = Some((read, store.collected(), Vec::new()));
    }

    fn part(&mut self, store: &mut Store, bytes: u64) {
        if let Some((.., parts)) = &mut self.begun {
            parts.extend(store.next_part(bytes));
        }
    }

    fn commit(&mut self, store: &mut Store) {
        let Some((read, floor, mut parts)) = self.begun.take() else {
            return;
        };
        parts.extend(store.next_part(u64::MAX));
        for (id, held) in parts {
            match held {
                Some(held) => self.cells.insert(id, held),
                None => self.cells.remove(&id),
            };
        }
        store.checkpoint_committed();
        (self.read, self.floor, self.reclaimed) = (read, floor, store.reclaimed());
    }

    fn load(&self) -> Store {
        let mut store = Store::default();
        store.resume_collection(self.floor, self.reclaimed);
        for (id, held) in &self.cells {
            store.load(id.clone(), held.clone());
        }
        store
    }
}

/// Changes in any order, and floors that rise. A floor is among the stamps or among the expiries.
fn log() -> impl Strategy<Value = Vec<Read>> {
    let floor = prop_oneof![0u64..30, (0u64..40).prop_map(|millis| millis << 16)];
    (changes(), vec((any::<prop::sample::Index>(), floor), 0..12)).prop_map(|(changes, floors)| {
        let mut entries: Vec<Read> = changes
            .into_iter()
            .map(|change| Read::Change(Box::new(change)))
            .collect();
        for (place, floor) in floors {
            entries.insert(place.index(entries.len() + 1), Read::Floor(Hlc::from_bits(floor)));
        }
        let mut highest = Hlc::ZERO;
        for entry in &mut entries {
            if let Read::Floor(floor) = entry {
                highest = highest.max(*floor);
                *floor = highest;
            }
        }
        entries
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Next),
        1 => Just(Step::Begin),
        3 => (0u64..2000).prop_map(Step::Part),
        1 => Just(Step::Commit),
        3 => (1usize..5).prop_map(Step::Reclaim),
    ];
    vec(step, 0..120)
}

proptest! {
    #[test]
    fn a_store_that_collects_restarts_as_it_was(log in log(), steps in steps()) {
        let (mut store, mut model, mut disk) = (Store::default(), Model::default(), Disk::default());
        let mut recent = VecDeque::from([Hlc::ZERO; 3]);
        let mut entries = log.iter().enumerate();
        for step in steps.iter().chain(std::iter::repeat_n(&Step::Next, log.len())) {
            match step {
                Step::Next => {
                    let Some((_, entry)) = entries.next() else { continue };
                    read(&mut store, entry);
                    model.read(entry);
                    if let Read::Floor(floor) = entry {
                        recent.push_back(*floor);
                        recent.pop_front();
                    }
                }
                Step::Begin => disk.begin(&mut store, log.len() - entries.len()),
                Step::Part(bytes) => disk.part(&mut store, *bytes),
                Step::Commit => disk.commit(&mut store),
                Step::Reclaim(budget) => {
                    let running = disk.begun.as_ref().map(|(_, floor, _)| *floor);
                    let through = running.into_iter().fold(recent[0], Hlc::min);
                    store.reclaim(through, *budget);
                }
            }
            check(&store, &model)?;
        }
        let mut restarted = disk.load();
        for entry in &log[disk.read..] {
            read(&mut restarted, entry);
        }
        check(&restarted, &model)?;
    }

    #[test]
    fn a_floor_that_goes_back_restores_what_is_in_memory(log in log(), back in any::<prop::sample::Index>()) {
        let mut store = Store::default();
        let mut floors = vec![Hlc::ZERO];
        for entry in &log {
            read(&mut store, entry);
            floors.push(store.collected());
        }
        let floor = *back.get(&floors);
        store.collect(floor);
        let all = store.cells_after(None).filter(|(_, held)| !held.cell.is_absent_at(floor));
        let mut digest = Digest::default();
        let mut cells = 0;
        for (id, held) in all {
            digest.add(held.cell.digest(id));
            cells += 1;
        }
        prop_assert_eq!((store.digest(), store.cells()), (digest, cells));
    }
}
