//! Regions with several writers each: what is set aside, compared with what each writer knew.
//!
//! For every write the model records the set of writes that its process had applied from its
//! region's log or had written itself. It does not use stamps, so it can't share a mistake with
//! `seen`.

use std::collections::VecDeque;

use super::*;

const WRITERS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// A process writes with a stamp that is `ahead` above everything it has written or applied.
    Write {
        writer: usize,
        ahead: u64,
        deletes: bool,
    },
    /// The oldest write in flight of a process reaches its log, or is void.
    Land { writer: usize, counts: bool },
    /// The youngest write in flight of a process reaches its log before the others.
    Overtake { writer: usize },
    /// A process applies `messages` messages of its log.
    Apply { writer: usize, messages: usize },
    /// What a region wrote since the last range reaches the other region, conflated or whole.
    Forward { from: usize, conflated: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let writer = 0..2 * WRITERS;
    let step = prop_oneof![
        5 => (writer.clone(), 1u64..6, any::<bool>())
            .prop_map(|(writer, ahead, deletes)| Step::Write { writer, ahead, deletes }),
        4 => (writer.clone(), prop::bool::weighted(0.9)).prop_map(|(writer, counts)| Step::Land { writer, counts }),
        1 => writer.clone().prop_map(|writer| Step::Overtake { writer }),
        3 => (writer, 1usize..4).prop_map(|(writer, messages)| Step::Apply { writer, messages }),
        1 => (0usize..2, any::<bool>()).prop_map(|(from, conflated)| Step::Forward { from, conflated }),
    ];
    vec(step, 1..60)
}

/// A message of a log, and the writes that a process knows after it has applied the message.
#[derive(Debug, Clone)]
struct Logged {
    changes: Vec<Change>,
    stands_for: BTreeSet<Version>,
    is_local: bool,
}

#[derive(Debug, Default)]
struct Process {
    store: Store,
    applied: usize,
    highest: u64,
    in_flight: VecDeque<Change>,
    knows: BTreeSet<Version>,
}

#[derive(Debug, Default)]
struct Model {
    processes: Vec<Process>,
    logs: [Vec<Logged>; 2],
    forwarded: [usize; 2],
    /// What the process of each write knew at that write.
    knew: BTreeMap<Version, BTreeSet<Version>>,
}

fn home(writer: usize) -> usize {
    writer / WRITERS
}

impl Model {
    fn new() -> Self {
        Self {
            processes: (0..2 * WRITERS).map(|_| Process::default()).collect(),
            ..Self::default()
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write {
                writer,
                ahead,
                deletes,
            } => self.write(writer, ahead, deletes),
            Step::Land { writer, counts } => {
                if let Some(change) = self.processes[writer].in_flight.pop_front().filter(|_| counts) {
                    self.land(writer, change);
                }
            }
            Step::Overtake { writer } => {
                if let Some(change) = self.processes[writer].in_flight.pop_back() {
                    self.land(writer, change);
                }
            }
            Step::Apply { writer, messages } => (0..messages).for_each(|_| self.apply(writer)),
            Step::Forward { from, conflated } => self.forward(from, conflated),
        }
    }

    fn write(&mut self, writer: usize, ahead: u64, deletes: bool) {
        let process = &mut self.processes[writer];
        process.highest += ahead;
        let mut change = super::write(&process.store, home(writer), process.highest, deletes);
        change.version.writer = WriterId(writer as u64);
        if let Some(before) = process.in_flight.back() {
            change.seen.join(&before.seen);
        }
        self.knew.insert(change.version.clone(), process.knows.clone());
        process.knows.insert(change.version.clone());
        process.in_flight.push_back(change);
    }

    fn land(&mut self, writer: usize, change: Change) {
        self.logs[home(writer)].push(Logged {
            stands_for: BTreeSet::from([change.version.clone()]),
            changes: vec![change],
            is_local: true,
        });
    }

    fn apply(&mut self, writer: usize) {
        let process = &mut self.processes[writer];
        let Some(logged) = self.logs[home(writer)].get(process.applied) else {
            return;
        };
        process.applied += 1;
        process.knows.extend(logged.stands_for.iter().cloned());
        for change in &logged.changes {
            process.highest = process.highest.max(change.version.hlc.bits());
            process.store.apply(change.clone(), Wall::default());
        }
    }

    fn forward(&mut self, from: usize, conflated: bool) {
        let span = &self.logs[from][self.forwarded[from]..];
        let own: Vec<&Logged> = span.iter().filter(|logged| logged.is_local).collect();
        self.forwarded[from] = self.logs[from].len();
        if own.is_empty() {
            return;
        }
        let changes: Vec<Change> = own
            .iter()
            .flat_map(|logged| logged.changes.iter().cloned())
            .collect();
        let changes = match conflated {
            true => conflate(from, &changes),
            false => changes,
        };
        let stands_for = own
            .iter()
            .flat_map(|logged| logged.stands_for.iter().cloned())
            .collect();
        self.logs[1 - from].push(Logged {
            changes,
            stands_for,
            is_local: false,
        });
    }
}

/// Conflates a backlog by the rule of the product.
fn conflate(from: usize, changes: &[Change]) -> Vec<Change> {
    use crate::sending::conflation::Window;
    let region = region(from);
    let mut window = Window::default();
    for change in changes {
        window.append(Window::of(vec![change.clone()]));
    }
    body::decode(&region, window.into_body(&region).0).unwrap()
}

/// The names of what an agent of region `at` sets aside when it applies `logged`. When it has
/// reached `again.1`, it restarts from a checkpoint: it applies the messages from `again.0` once
/// more, over its newer store.
fn named(at: usize, logged: &[Logged], again: Option<(usize, usize)>) -> BTreeSet<String> {
    let (mut store, mut names) = (Store::default(), BTreeSet::new());
    for (place, message) in logged.iter().enumerate() {
        if let Some((from, _)) = again.filter(|(_, reached)| *reached == place) {
            let repeated = logged[from..place].iter().flat_map(|message| &message.changes);
            repeated.for_each(|change| drop(store.apply(change.clone(), Wall::default())));
        }
        for change in &message.changes {
            let applied = match message.is_local {
                true => store.apply_first(change.clone(), Wall::default()),
                false => store.apply(change.clone(), Wall::default()),
            };
            let conflict = applied.into_conflict();
            let entry = conflict.and_then(|conflict| {
                Entry::of_conflict(&log(at), Wall::default(), change.id.clone(), conflict)
            });
            names.extend(entry.map(|entry| entry.name()));
        }
    }
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// With several writers per region, a write that no greater write of its log knew is set aside,
    /// and one that all of them knew is not. Messages reach the log in any order, conflated or not,
    /// and an agent that restarts reads them again.
    #[test]
    fn scenario_42_conflicts_are_exact_with_many_writers_a_region(
        steps in steps(), again in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let mut model = Model::new();
        steps.iter().for_each(|step| model.step(step));
        for at in 0..2 {
            let logged = &model.logs[at];
            let versions: Vec<&Version> = logged.iter().flat_map(|logged| &logged.stands_for).collect();
            let own = |version: &&&Version| version.region == region(at);
            let (mut unknown_to_all, mut unknown_to_one) = (BTreeSet::new(), BTreeSet::new());
            for version in versions.iter().filter(own) {
                let greater: Vec<bool> = versions.iter().filter(|other| **other > *version)
                    .map(|other| model.knew[*other].contains(*version)).collect();
                let name = format!("conflict-0-{version}");
                if !greater.is_empty() && greater.iter().all(|knew| !knew) {
                    unknown_to_all.insert(name.clone());
                }
                if greater.iter().any(|knew| !knew) {
                    unknown_to_one.insert(name);
                }
            }
            let found = named(at, logged, None);
            prop_assert!(found.is_superset(&unknown_to_all), "{:?} without {:?}", found, unknown_to_all);
            prop_assert!(found.is_subset(&unknown_to_one), "{:?} beyond {:?}", found, unknown_to_one);
            let (one, other) = (again.0.index(logged.len() + 1), again.1.index(logged.len() + 1));
            let replayed = named(at, logged, Some((one.min(other), one.max(other))));
            prop_assert_eq!(&found, &replayed);
        }
    }
}
