//! Three regions that write while one of them takes what it missed from another.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::cell::{Cell, ContentType, Field};
use crate::change::{Change, Op};
use crate::coordinates::{Anchor, Life, MessageId, Sequence, WriterId};
use crate::fold::{Accepted, Fold, LogName, Message, SubjectToken, Verdict};
use crate::header::{
    BodySeal, ClockLimits, Header, LifeLink, LifeRecord, Local, MarkRecord, Membership, Range, Record,
    StageTimes, SyncStep,
};
use crate::names::{BucketName, GroupName, Key, RegionName, SetName};
use crate::seen::Seen;
use crate::store::Store;
use crate::time::{Mono, Now, Wall};

mod region;
mod rules;

use region::{REGIONS, Region, name};

const RATE: u64 = 1_000_000_000;

/// One step of a history.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// A region writes a key, or deletes it.
    Write { region: usize, key: u8, deletes: bool },
    /// A lane brings so many messages.
    Deliver { from: usize, to: usize, messages: u64 },
    /// A region appends a mark, and collects.
    Mark(usize),
    /// Time passes, in milliseconds.
    Pass(u64),
    /// A region removes from memory what it has collected.
    Reclaim(usize),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..3usize, 0u8..12, any::<bool>())
            .prop_map(|(region, key, deletes)| Action::Write { region, key, deletes }),
        6 => (0..3usize, 1..3usize, 1u64..6).prop_map(|(from, step, messages)| Action::Deliver {
            from, to: (from + step) % 3, messages,
        }),
        3 => (0..3usize).prop_map(Action::Mark),
        3 => (1u64..9_000).prop_map(Action::Pass),
        1 => (0..3usize).prop_map(Action::Reclaim),
    ]
}

/// The regions, and which lanes carry nothing.
struct World {
    regions: Vec<Region>,
    now: u64,
    cut: Vec<(usize, usize)>,
    /// The newest write of each key.
    newest: BTreeMap<u8, Change>,
    written: u64,
}

impl World {
    fn new() -> Self {
        Self {
            regions: REGIONS.into_iter().map(Region::new).collect(),
            now: 1_000_000,
            cut: Vec::new(),
            newest: BTreeMap::new(),
            written: 0,
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Write { region, key, deletes } => {
                self.now += 1;
                self.written += 1;
                let change = self.regions[region].write(self.now, key, deletes, self.written);
                self.newest.insert(key, change);
            }
            Action::Deliver { from, to, messages } if !self.cut.contains(&(from, to)) => {
                self.deliver(from, to, messages);
            }
            Action::Deliver { .. } => {}
            Action::Mark(region) => {
                self.now += 1;
                self.regions[region].mark(self.now);
            }
            Action::Pass(millis) => self.now += millis,
            Action::Reclaim(region) => self.regions[region].reclaim(),
        }
    }

    fn deliver(&mut self, from: usize, to: usize, messages: u64) {
        let cursor = self.regions[to].cursor(&name(REGIONS[from]));
        let after = self.regions[from].range_after(cursor, messages);
        if let Some((range, changes)) = after {
            self.regions[to].receive(self.now, range, changes);
        }
    }

    /// All lanes bring everything.
    fn settle(&mut self) {
        for _ in 0..3 {
            for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
                self.deliver(from, to, u64::MAX);
            }
        }
    }

    fn check(&self) {
        for region in &self.regions {
            for key in 0..12 {
                let expected = self.newest.get(&key).and_then(|change| match &change.op {
                    Op::Put { value, .. } => Some(value.clone()),
                    Op::Delete => None,
                });
                assert_eq!(region.value(key), expected, "key {key} in {}", region.name());
            }
        }
    }
}

/// Runs a sync of region 0 from `source`, with an action of others between any two steps, until it
/// has ended once. The target is killed after so many answers and begins again.
fn sync(world: &mut World, source: usize, between: &[Action], killed_after: Option<usize>) -> SyncProgress {
    let wants = Wants {
        origins: [name(REGIONS[1]), name(REGIONS[2])].into(),
        lost: false,
        members: [name(REGIONS[source])].into(),
    };
    let mut target = world.regions[0].target(1);
    let mut between = between.iter();
    let mut answers = 0;
    for step in 0..10_000u64 {
        if let Some(action) = between.next() {
            world.act(*action);
            let region = &mut world.regions[0];
            region.pass_on(&mut target);
        }
        let now = Now {
            mono: Mono::from_nanos(step * 1_000_000_000),
            wall: Wall::from_millis(world.now),
        };
        if let Some(asked) = target.poll_request(now.mono, &world.regions[0].fold, &wants) {
            let request = Request::decode(&asked.request.encode()).unwrap();
            let answer = world.regions[source].answer(&request).encode();
            let region = &world.regions[0];
            target.handle_answer(
                now.mono,
                SourceAnswer::Bytes(&answer),
                &region.fold,
                &region.store,
            );
            answers += 1;
        }
        if killed_after == Some(answers) {
            answers += 1;
            target = world.regions[0].target(2);
        }
        while let Some((record, body)) = target.poll_record(now, &world.regions[0].fold, &wants) {
            world.regions[0].append_sync(world.now, record, body);
            world.regions[0].pass_on(&mut target);
        }
        while let Some(event) = target.poll_event() {
            match event {
                Event::Completed { progress, .. } => return progress,
                Event::Violation { invalid, .. } => panic!("{invalid}"),
                _ => {}
            }
        }
    }
    panic!("the sync does not end");
}

proptest! {
    #[test]
    fn scenario_21_a_region_cut_beyond_retention_becomes_equal(
        before in vec(action(), 0..60),
        cut in vec(action(), 0..60),
        between in vec(action(), 0..40),
        source in 1..3usize,
        killed_after in proptest::option::of(1..4usize),
        both in any::<bool>(),
    ) {
        let mut world = World::new();
        before.into_iter().for_each(|action| world.act(action));
        world.cut = vec![(source, 0)];
        if both {
            world.cut = vec![(1, 0), (2, 0)];
        }
        cut.into_iter().for_each(|action| world.act(action));
        // The lane of the source goes on once the sync has begun; a lane that needs no sync too.
        world.cut.retain(|(from, _)| *from != source);
        sync(&mut world, source, &between, killed_after);
        world.cut.clear();
        let missing: Vec<_> = world.regions[0].fold.origins()
            .filter(|(region, origin)| **region == name(REGIONS[source]) && origin.needs_sync())
            .map(|(region, _)| region.clone()).collect();
        prop_assert!(missing.is_empty(), "{missing:?}");
        world.settle();
        world.check();
    }
}
