//! The outcomes that clients receive match the log, under any losses, repeats, delays and clocks.

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Fate, Step, World, check};
use super::*;
use crate::ids::MessageIds;

fn fate() -> impl Strategy<Value = Fate> {
    let short = 0u64..50;
    prop_oneof![
        6 => (short.clone(), short.clone()).prop_map(|(stored, answered)| Fate::Answered(stored, answered)),
        1 => Just(Fate::Lost),
        1 => short.clone().prop_map(Fate::Broken),
        2 => (0u64..15_000).prop_map(Fate::Silent),
        2 => (short.clone(), 0u64..15_000).prop_map(|(first, second)| Fate::Doubled(first, second)),
        1 => short.prop_map(Fate::Full),
    ]
}

fn step(skews: &'static [i64], patience: u64) -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0usize..2, 0u8..3, 1..patience).prop_map(|(agent, key, patience)| Step::Write(agent, key, patience)),
        8 => (0usize..2, 1usize..6).prop_map(|(agent, messages)| Step::Read(agent, messages)),
        4 => (0u64..20).prop_map(Step::Pass),
        2 => (0u64..4000).prop_map(Step::Pass),
        1 => (0usize..2, prop::sample::select(skews)).prop_map(|(agent, skew)| Step::Skew(agent, skew)),
    ]
}

const SKEWS: &[i64] = &[0, 0, 400, -400, 3000, -15_000, 28_800_000];

fn run(agents: usize, fates: Vec<Fate>, steps: &[Step]) -> World {
    let mut world = World::new(agents, fates);
    for step in steps {
        world.step(*step);
    }
    world.heal();
    world
}

proptest! {
    #[test]
    fn clients_get_the_outcome_that_counts(fates in vec(fate(), 1..40), steps in vec(step(SKEWS, 9000), 1..120)) {
        let world = run(2, fates, &steps);
        prop_assert_eq!(check(&world, &world.counted()), Ok(()));
        for agent in &world.agents {
            prop_assert_eq!(agent.store.digest(), world.agents[0].store.digest());
            prop_assert_eq!(agent.writer.held_bytes(), 0);
        }
    }

    #[test]
    fn with_a_right_clock_no_message_of_a_writer_voids_another(
        fates in vec(fate(), 1..40), steps in vec(step(&[0], 60_000), 1..120)
    ) {
        let world = run(1, fates, &steps);
        prop_assert_eq!(check(&world, &world.counted()), Ok(()));
        for outcome in world.agents[0].outcomes.values() {
            prop_assert!(!matches!(outcome, Outcome::Failed(Failure::Void(_))), "{:?}", outcome);
        }
    }

    #[test]
    fn identifiers_do_not_repeat(seed: u128) {
        let mut ids = MessageIds::new(seed);
        let drawn: std::collections::BTreeSet<MessageId> = (0..1000).map(|_| ids.next_id()).collect();
        prop_assert_eq!(drawn.len(), 1000);
    }
}

#[test]
fn the_check_fails_where_a_repeat_counts() {
    let steps = [Step::Write(0, 0, 5000), Step::Pass(100), Step::Read(0, 9)];
    let world = run(1, vec![Fate::Doubled(1, 2)], &steps);
    assert_eq!(check(&world, &world.counted()), Ok(()));
    let all: Vec<(String, Sequence)> = (1..)
        .zip(&world.log.0)
        .flat_map(|(at, stored)| {
            let changes = body::decode(&log_name().region, stored.body.clone()).unwrap();
            changes
                .into_iter()
                .map(move |change| (super::model::value(&change), Sequence(at)))
        })
        .collect();
    assert!(check(&world, &all).is_err());
}
