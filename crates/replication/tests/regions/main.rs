//! Regions that replicate to each other through the real machines and the real fold, with faults
//! everywhere between them: appends lost, duplicated, late, out of order and unanswered, two
//! gateways that send the same records, links cut, logs that lose their tails. After everything
//! heals, each accepted write is in every region, once, and the model becomes quiet.
#![allow(clippy::unwrap_used)]

mod lane;
mod region;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use region::Broken;
use world::{Fate, Step, World};

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Stored),
        1 => Just(Fate::StoredTwice),
        1 => Just(Fate::StoredUnanswered),
        1 => Just(Fate::Lost),
    ]
}

fn step(lost_tails: bool) -> impl Strategy<Value = Step> {
    let any = 0usize..1000;
    let few = 1usize..8;
    prop_oneof![
        8 => (any.clone(), proptest::option::of(0usize..3), prop_oneof![4 => 0usize..200, 1 => 1000usize..5000])
            .prop_map(|(region, hot, bytes)| Step::Write { region, hot, bytes }),
        2 => any.clone().prop_map(|region| Step::Mark { region }),
        8 => (any.clone(), few.clone()).prop_map(|(lane, messages)| Step::Send { lane, messages }),
        8 => (any.clone(), few.clone()).prop_map(|(lane, frames)| Step::Deliver { lane, frames }),
        10 => (any.clone(), any.clone(), fate())
            .prop_map(|(region, append, fate)| Step::Land { region, append, fate }),
        6 => (any.clone(), any.clone(), few.clone())
            .prop_map(|(region, gateway, messages)| Step::ReadHead { region, gateway, messages }),
        4 => any.clone().prop_map(|region| Step::Agent { region }),
        4 => (any.clone(), any.clone()).prop_map(|(lane, gateway)| Step::Connect { lane, gateway }),
        1 => any.clone().prop_map(|lane| Step::Cut { lane }),
        1 => (any, 1usize..12, proptest::bool::ANY).prop_map(move |(region, messages, read)| Step::LoseTail {
            region,
            messages: if lost_tails { messages } else { 0 },
            read,
        }),
        4 => (1u64..900).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// Some regions, how far each one's clock is ahead in milliseconds, and the steps of the run.
#[derive(Debug, Clone)]
struct Story {
    regions: usize,
    ahead_ms: [u64; 3],
    steps: Vec<Step>,
}

fn story(lost_tails: bool) -> impl Strategy<Value = Story> {
    let warm = (0usize..12).prop_map(|lane| Step::Connect { lane, gateway: lane });
    let ahead_ms = [0u64..400, 0u64..400, 0u64..400];
    (
        2usize..4,
        ahead_ms,
        vec(warm, 0..6),
        vec(step(lost_tails), 20..300),
    )
        .prop_map(|(regions, ahead_ms, warm, steps)| {
            let heads = (0..3 * world::GATEWAYS).map(|at| Step::ReadHead {
                region: at / world::GATEWAYS,
                gateway: at,
                messages: 1,
            });
            Story {
                regions,
                ahead_ms,
                steps: heads.chain(warm).chain(steps).collect(),
            }
        })
}

fn run(story: &Story, broken: Broken) -> Result<World, TestCaseError> {
    let mut world = World::new(story.regions, &story.ahead_ms, broken);
    story.steps.iter().for_each(|step| world.step(*step));
    world.settle()?;
    Ok(world)
}

/// Everything that any region's agent has accepted as its own is applied in all regions; for a hot
/// key, that write or a newer one.
fn everything_is_everywhere(world: &World) -> Result<(), TestCaseError> {
    for (at, origin) in world.regions.iter().enumerate() {
        for region in &world.regions {
            let missing: Vec<_> = origin
                .own
                .iter()
                .filter(|write| !region.applied.contains_key(write))
                .collect();
            prop_assert!(
                missing.is_empty(),
                "{} lacks {missing:?} of region {at}\n{}",
                region.name.region,
                world.describe()
            );
            for (id, version) in &origin.hot {
                let held = region.store.held(id).map(|held| &held.cell.version);
                prop_assert!(
                    held >= Some(version),
                    "{} has {held:?} of {id:?} and lacks {version:?} of region {at}\n{}",
                    region.name.region,
                    world.describe()
                );
            }
        }
    }
    Ok(())
}

fn without_lost_tails(story: &Story, broken: Broken) -> Result<(), TestCaseError> {
    let world = run(story, broken)?;
    everything_is_everywhere(&world)?;
    for region in &world.regions {
        prop_assert_eq!(region.store.digest(), world.regions[0].store.digest());
        for (write, times) in &region.applied {
            prop_assert_eq!(
                *times,
                1,
                "{} applied {} more than once",
                &region.name.region,
                write
            );
        }
    }
    Ok(())
}

fn with_lost_tails(story: &Story, broken: Broken) -> Result<(), TestCaseError> {
    let world = run(story, broken)?;
    everything_is_everywhere(&world)?;
    for region in &world.regions {
        for (write, times) in region.accepted_writes(true) {
            prop_assert_eq!(times, 1, "the log of {} has {} twice", &region.name.region, write);
        }
    }
    Ok(())
}

type Property = fn(&Story, Broken) -> Result<(), TestCaseError>;

/// Whether the property fails for some story when a rule of the model is broken.
fn is_noticed(broken: Broken, lost_tails: bool, property: Property) -> bool {
    let config = ProptestConfig {
        cases: 300,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    runner
        .run(&story(lost_tails), |story| property(&story, broken))
        .is_err()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 80, failure_persistence: None, max_shrink_time: 30_000, ..ProptestConfig::default()
    })]

    #[test]
    fn every_write_is_applied_everywhere_exactly_once(story in story(false)) {
        without_lost_tails(&story, Broken::Nothing)?;
    }

    #[test]
    fn lost_tails_lose_nothing_that_was_accepted(story in story(true)) {
        with_lost_tails(&story, Broken::Nothing)?;
    }
}

#[test]
fn an_agent_that_applies_what_is_void_is_noticed() {
    assert!(is_noticed(Broken::VoidIsApplied, false, without_lost_tails));
}

#[test]
fn regions_that_answer_each_others_ranges_are_noticed() {
    assert!(is_noticed(Broken::RangesAreAnswered, false, without_lost_tails));
}

#[test]
fn a_lost_tail_without_a_new_life_is_noticed() {
    assert!(is_noticed(Broken::LostTailIsIgnored, true, with_lost_tails));
}

#[test]
fn an_agent_that_ignores_a_tail_only_a_peer_has_is_noticed() {
    assert!(is_noticed(Broken::IgnoresDoubt, true, with_lost_tails));
}

/// A lost tail that no process at home had read: a range of it is appended where the peer expects
/// the range that has its sequences now, whose successor is already under way.
fn a_displaced_range() -> Story {
    let (home, lane, other_lane) = (0, 0, 1);
    let land = Step::Land {
        region: 1,
        append: 0,
        fate: Fate::Stored,
    };
    let read = |region| Step::ReadHead {
        region,
        gateway: 0,
        messages: 9,
    };
    let send = |lane, messages| Step::Send { lane, messages };
    let deliver = |lane| Step::Deliver { lane, frames: 9 };
    let write = Step::Write {
        region: home,
        hot: None,
        bytes: 1,
    };
    let through_second = [
        write,
        read(home),
        read(1),
        Step::ReadHead {
            region: home,
            gateway: 1,
            messages: 9,
        },
    ];
    let sent = [
        Step::Connect { lane, gateway: 0 },
        send(lane, 9),
        deliver(lane),
        land,
        read(1),
        deliver(lane),
    ];
    let third_under_way = [write, send(lane, 9), deliver(lane), Step::Cut { lane }];
    let lost = Step::LoseTail {
        region: home,
        messages: 1,
        read: false,
    };
    let again = [
        write,
        Step::Connect {
            lane: other_lane,
            gateway: 0,
        },
        send(other_lane, 3),
    ];
    let next = [
        write,
        send(other_lane, 1),
        Step::Wait { millis: 5 },
        send(other_lane, 1),
        deliver(other_lane),
    ];
    let mut steps = vec![];
    steps.extend(through_second);
    steps.extend(sent);
    steps.extend(third_under_way);
    steps.push(lost);
    steps.extend(again);
    steps.extend(next);
    steps.extend([land, land, land]);
    Story {
        regions: 2,
        ahead_ms: [0; 3],
        steps,
    }
}

#[test]
fn a_lost_tails_range_does_not_displace_its_replacement() {
    with_lost_tails(&a_displaced_range(), Broken::Nothing).unwrap();
}
