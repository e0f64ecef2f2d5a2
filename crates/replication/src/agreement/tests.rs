#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::cell::{ContentType, Field};
use crate::change::{Change, Op};
use crate::coordinates::Sequence;
use crate::hlc::Hlc;
use crate::names::{BucketName, GroupName, Key};
use crate::seen::Seen;
use crate::store::Store;
use crate::time::Wall;
use crate::version::Version;

const REGIONS: [&str; 3] = ["a", "b", "c"];

fn region(number: usize) -> RegionName {
    RegionName::parse(REGIONS[number]).unwrap()
}

fn shard() -> Shard {
    Shard {
        group: GroupName::parse("default").unwrap(),
        partition: 0,
    }
}

fn at(seconds: u64) -> Mono {
    Mono::default().after(Duration::from_secs(seconds))
}

fn life(number: u64) -> Life {
    Life {
        number,
        nonce: number,
    }
}

/// A write of `origin`: the `number`th of its log.
fn change(origin: usize, number: usize, key: u8, deletes: bool) -> Change {
    let value = format!("{origin}-{number}");
    Change {
        id: CellId {
            bucket: BucketName::parse("b").unwrap(),
            key: Key::parse(&format!("k{key}")).unwrap(),
            field: Field::NONE,
        },
        version: Version {
            // Stamps of different regions are in any order.
            hlc: Hlc::from_bits(7 + 3 * number as u64 + (key % 5) as u64),
            region: region(origin),
            writer: WriterId(number as u64),
        },
        seen: Seen::default(),
        expires_at: None,
        op: match deletes {
            true => Op::Delete,
            false => Op::Put {
                value: Bytes::from(value),
                content_type: ContentType::default(),
            },
        },
        trace: None,
    }
}

/// One region: how much it has included of each log, and the resulting store.
struct Site {
    store: Store,
    included: [usize; 3],
    observed: Observed,
}

/// Regions that write and include each other's writes in any order.
struct World {
    logs: [Vec<Change>; 3],
    sites: [Site; 3],
    seconds: u64,
}

impl World {
    fn new() -> Self {
        let site = || Site {
            store: Store::default(),
            included: [0; 3],
            observed: Observed::default(),
        };
        Self {
            logs: Default::default(),
            sites: [site(), site(), site()],
            seconds: 0,
        }
    }

    fn write(&mut self, origin: usize, key: u8, deletes: bool) {
        let change = change(origin, self.logs[origin].len(), key, deletes);
        self.logs[origin].push(change);
        self.include(origin, origin, 1);
    }

    /// A range of `origin`'s log arrives, conflated: it has the newest change of each cell.
    fn include(&mut self, site: usize, origin: usize, most: usize) {
        let site = &mut self.sites[site];
        let from = site.included[origin];
        let through = from.saturating_add(most).min(self.logs[origin].len());
        let range = &self.logs[origin][from..through];
        for (place, change) in range.iter().enumerate() {
            let mut later = range[place + 1..].iter();
            if !later.any(|later| later.id == change.id && later.version > change.version) {
                site.store.apply(change.clone(), Wall::default());
            }
        }
        site.included[origin] = through;
    }

    fn observe(&mut self, site: usize) {
        let site = &mut self.sites[site];
        let positions = site.included.iter().enumerate().map(|(origin, through)| {
            let sequence = Sequence(*through as u64);
            (
                region(origin),
                Position {
                    life: life(1),
                    sequence,
                },
            )
        });
        let included = Included::from_positions(positions);
        site.observed.observe(at(self.seconds), included, &site.store);
    }

    fn sample(&self, site: usize) -> Option<Sample> {
        let agent = ProcessName::parse("agent-1").unwrap();
        self.sites[site]
            .observed
            .sample(at(self.seconds), &shard(), &agent, WriterId(1))
    }

    /// Everything arrives everywhere; then each region takes one look per second.
    fn rest(&mut self) {
        for site in 0..3 {
            (0..3).for_each(|origin| self.include(site, origin, usize::MAX));
        }
        for _ in 0..3 {
            self.seconds += 1;
            (0..3).for_each(|site| self.observe(site));
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write { origin: usize, key: u8, deletes: bool },
    Include { site: usize, origin: usize, most: usize },
    Observe { site: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3usize, 0..12u8, any::<bool>()).prop_map(|(origin, key, deletes)| Step::Write {
            origin,
            key,
            deletes
        }),
        (0..3usize, 0..3usize, 1..4usize).prop_map(|(site, origin, most)| Step::Include {
            site,
            origin,
            most
        }),
        (0..3usize).prop_map(|site| Step::Observe { site }),
    ]
}

proptest! {
    #[test]
    fn comparable_parts_are_equal_whatever_order_changes_arrive_in(steps in vec(step(), 1..120)) {
        let mut world = World::new();
        world.rest();
        world.seconds += SETTLE.as_secs();
        let mut samples: [Vec<Sample>; 3] = Default::default();
        for step in steps {
            match step {
                Step::Write { origin, key, deletes } => world.write(origin, key, deletes),
                Step::Include { site, origin, most } => world.include(site, origin, most),
                Step::Observe { site } => {
                    world.observe(site);
                    samples[site].extend(world.sample(site));
                }
            }
        }
        for (ours, theirs) in [(0, 1), (0, 2), (1, 2)] {
            for ours in &samples[ours] {
                for theirs in &samples[theirs] {
                    prop_assert!(compare(ours, theirs).all(|found| found != Some(false)));
                }
            }
        }
        world.rest();
        let samples: Vec<Sample> = (0..3).map(|site| world.sample(site).unwrap()).collect();
        prop_assert!(compare(&samples[0], &samples[1]).all(|found| found == Some(true)), "at rest everything is compared");
        prop_assert!(compare(&samples[1], &samples[2]).all(|found| found == Some(true)));
    }

    #[test]
    fn a_change_that_one_region_lacks_is_found(
        steps in vec((0..3usize, 0..12u8, any::<bool>()), 1..40), lost in any::<prop::sample::Index>()
    ) {
        let mut world = World::new();
        world.rest();
        world.seconds += SETTLE.as_secs();
        for (origin, key, deletes) in &steps {
            world.write(*origin, *key, *deletes);
        }
        let (origin, ..) = steps[lost.index(steps.len())];
        let newest = world.logs[origin].last().unwrap().clone();
        let elsewhere = (origin + 1) % 3;
        let wins = |other: &Change| other.id == newest.id && other.version > newest.version;
        let superseded = world.logs.iter().flatten().any(wins);
        // A delete of what has no value changes nothing that is compared.
        let others = world.logs.iter().flatten().filter(|other| other.id == newest.id && other.version != newest.version);
        let before_it = others.max_by(|one, other| one.version.cmp(&other.version));
        let is_put = |change: &Change| matches!(change.op, Op::Put { .. });
        let shows = !superseded && (is_put(&newest) || before_it.is_some_and(is_put));
        let before = world.logs[origin].len() - 1;
        world.include(elsewhere, origin, before);
        world.sites[elsewhere].included[origin] = before + 1;
        world.rest();
        let (ours, theirs) = (world.sample(origin).unwrap(), world.sample(elsewhere).unwrap());
        let differing = compare(&ours, &theirs).filter(|found| *found == Some(false)).count();
        prop_assert_eq!(differing, usize::from(shows));
    }

    #[test]
    fn a_sample_is_read_as_it_was_written(steps in vec((0..3usize, any::<u8>()), 0..80)) {
        let mut world = World::new();
        world.rest();
        world.seconds += SETTLE.as_secs();
        for (origin, key) in steps {
            world.write(origin, key, false);
            world.observe(origin);
        }
        let sample = world.sample(0).unwrap();
        prop_assert_eq!(Sample::decode(&sample.encode()), Ok(sample));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = (asked(&bytes), Sample::decode(&bytes));
    }
}

#[test]
fn every_part_is_compared_within_a_minute_under_constant_writes() {
    let mut world = World::new();
    world.rest();
    world.seconds += SETTLE.as_secs();
    let (mut agreement, mut kept) = (Agreement::new(at(world.seconds)), VecDeque::new());
    let began = world.seconds;
    let mut number = 0u32;
    while world.seconds < began + 60 {
        world.seconds += 1;
        for _ in 0..30 {
            number += 1;
            let (origin, key) = (
                number as usize % 3,
                (number.wrapping_mul(2_654_435_761) >> 24) as u8,
            );
            world.write(origin, key, false);
            for (site, from) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
                // What was written a moment ago is still on its way.
                let (held, there) = (world.sites[site].included[from], world.logs[from].len());
                world.include(site, from, there.saturating_sub(held + 2));
            }
        }
        (0..3).for_each(|site| world.observe(site));
        if kept.len() == KEPT_SAMPLES {
            kept.pop_front();
        }
        kept.push_back(world.sample(0).unwrap());
        assert_eq!(
            agreement.note(at(world.seconds), &kept, &world.sample(1).unwrap()),
            None
        );
    }
    let found = agreement.found(at(world.seconds));
    assert!(found.all_compared && found.differing == 0, "{found:?}");
    assert!(found.compared_within < Duration::from_secs(60), "{found:?}");
}

#[test]
fn a_lasting_difference_is_reported_hourly_and_when_it_ends() {
    let mut world = World::new();
    world.write(0, 1, false);
    world.rest();
    let lost = change(0, 99, 2, false);
    world.sites[0].store.apply(lost.clone(), Wall::default());
    world.rest();
    world.seconds += SETTLE.as_secs();
    let mut agreement = Agreement::new(at(world.seconds));
    let began = world.seconds;
    let mut reported = Vec::new();
    while world.seconds < began + 3 * 3600 {
        let ours = world.sample(0).unwrap();
        let news = agreement.note(at(world.seconds), [&ours], &world.sample(1).unwrap());
        reported.extend(news.map(|news| (world.seconds - began, news)));
        world.seconds += COMPARE_INTERVAL.as_secs();
    }
    let differ = News::Differ { parts: 1 };
    assert_eq!(reported, [(30, differ), (3630, differ), (7230, differ)]);
    assert_eq!(agreement.found(at(world.seconds)).differing, 1);

    world.sites[1].store.apply(lost, Wall::default());
    world.rest();
    let ours = world.sample(0).unwrap();
    let news = agreement.note(at(world.seconds), [&ours], &world.sample(1).unwrap());
    assert_eq!(news, Some(News::Agree));
    assert_eq!(agreement.found(at(world.seconds)).differing, 0);
}

#[test]
fn a_difference_of_half_a_minute_is_not_reported() {
    let mut world = World::new();
    world.rest();
    let late = change(0, 99, 2, false);
    world.sites[0].store.apply(late.clone(), Wall::default());
    world.rest();
    world.seconds += SETTLE.as_secs();
    let mut agreement = Agreement::new(at(world.seconds));
    for _ in 0..9 {
        world.rest();
        let ours = world.sample(0).unwrap();
        let news = agreement.note(at(world.seconds), [&ours], &world.sample(1).unwrap());
        assert_eq!(news, None);
    }
    world.sites[1].store.apply(late, Wall::default());
    world.rest();
    let ours = world.sample(0).unwrap();
    assert_eq!(
        agreement.note(at(world.seconds), [&ours], &world.sample(1).unwrap()),
        None
    );
}

#[test]
fn a_new_life_or_an_interruption_pauses_reports_for_a_while() {
    let mut observed = Observed::default();
    let store = Store::default();
    let included = |number| {
        let sequence = Sequence(5);
        Included::from_positions([(
            region(0),
            Position {
                life: life(number),
                sequence,
            },
        )])
    };
    let agent = ProcessName::parse("agent-1").unwrap();
    let reported =
        |observed: &Observed, now| observed.sample(at(now), &shard(), &agent, WriterId(1)).is_some();
    observed.observe(at(0), included(1), &store);
    assert!(!reported(&observed, 29));
    observed.observe(at(30), included(1), &store);
    assert!(reported(&observed, 30));
    observed.interrupt();
    assert!(!reported(&observed, 31));
    observed.observe(at(32), included(1), &store);
    assert!(reported(&observed, 32));
    observed.observe(at(33), included(2), &store);
    assert!(!reported(&observed, 62));
    assert!(reported(&observed, 63));
    assert!(
        !included(1).covers(&included(2)),
        "of different lives nobody can say"
    );
}
