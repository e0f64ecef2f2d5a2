#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::coordinates::{Cursor, Life};
use crate::header::{LifeLink, Lineage};

mod model;
mod samples;
mod search;

use model::Region;

/// What happens to a region of two agents and one log.
#[derive(Debug, Clone)]
enum Happens {
    /// An agent writes a key.
    Write { agent: usize, key: u8 },
    /// An agent reads up to `messages` messages.
    Read { agent: usize, messages: usize },
    /// An agent does everything else that is due.
    Drive { agent: usize },
    /// An agent appends a mark.
    Mark { agent: usize },
    /// A peer region takes over what is in the log, as the agent has read it.
    Forward { agent: usize },
    /// The log loses its tail: `stays` percent of its messages stay.
    Lose { stays: usize },
    /// A peer doubts, and this agent learns of it.
    Doubt { agent: usize },
    /// An agent begins a checkpoint, or commits it.
    Checkpoint { agent: usize, commits: bool },
    /// An agent crashes and starts again with its last checkpoint.
    Restart { agent: usize },
    /// A mark or an acknowledgement contradicts what an agent read.
    Contradict { agent: usize },
    /// An agent can't read the log for a while.
    FailToRead { agent: usize },
    /// Time passes.
    Pass { millis: u64 },
}

fn happens() -> impl Strategy<Value = Happens> {
    let agent = || 0..2usize;
    prop_oneof![
        12 => (agent(), 0..24u8).prop_map(|(agent, key)| Happens::Write { agent, key }),
        12 => (agent(), 0..24usize).prop_map(|(agent, messages)| Happens::Read { agent, messages }),
        16 => agent().prop_map(|agent| Happens::Drive { agent }),
        2 => agent().prop_map(|agent| Happens::Mark { agent }),
        3 => agent().prop_map(|agent| Happens::Forward { agent }),
        2 => (0..=100usize).prop_map(|stays| Happens::Lose { stays }),
        3 => agent().prop_map(|agent| Happens::Doubt { agent }),
        3 => (agent(), any::<bool>()).prop_map(|(agent, commits)| Happens::Checkpoint { agent, commits }),
        1 => agent().prop_map(|agent| Happens::Restart { agent }),
        1 => agent().prop_map(|agent| Happens::Contradict { agent }),
        1 => agent().prop_map(|agent| Happens::FailToRead { agent }),
        6 => (0..1000u64).prop_map(|millis| Happens::Pass { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2_000)))]

    /// Whatever a log loses, and no matter which agent notices first: in the end both agents serve
    /// one state, a fresh reader of the log has the same state, and it includes everything that any
    /// store held.
    #[test]
    fn what_a_lost_tail_held_is_given_back_whoever_noticed(
        all in proptest::collection::vec(happens(), 1..400),
        seed in any::<u64>(),
    ) {
        let mut region = Region::new(seed);
        region.settle();
        for happens in all {
            region.happens(&happens);
        }
        region.settle();
    }
}

#[test]
fn a_log_without_a_life_gets_its_first_one_and_serves() {
    let mut region = Region::new(1);
    region.settle();
    let lives = region.agents[0].fold.lineage().links().to_vec();
    assert_eq!(lives.len(), 1);
    assert_eq!(lives[0].parent, None);
}

#[test]
fn a_doubt_before_the_readers_own_check_strands_nothing() {
    let mut region = Region::new(2);
    region.settle();
    for key in 0..8 {
        region.happens(&Happens::Write { agent: 0, key });
    }
    region.settle();
    region.happens(&Happens::Forward { agent: 0 });
    let shared = region.log.len();
    for key in 8..16 {
        region.happens(&Happens::Write { agent: 1, key });
    }
    region.settle();
    let held = region.agents[0].store.cells();
    region.forward_as_read_by(1);
    region.lose(shared - 4);
    region.happens(&Happens::Doubt { agent: 0 });
    region.happens(&Happens::Doubt { agent: 1 });
    for _ in 0..60 {
        region.happens(&Happens::Drive { agent: 0 });
        region.happens(&Happens::Drive { agent: 1 });
        region.happens(&Happens::Pass { millis: 300 });
    }
    for agent in &region.agents {
        let is_held = |event: &Event| matches!(event, Event::TailHeldByPeer { .. });
        assert!(agent.events.iter().any(is_held), "{:?}", agent.events);
    }
    region.settle();
    assert_eq!(region.agents[0].store.cells(), held);
    assert_eq!(region.agents[0].fold.lineage().links().len(), 2);
}

#[test]
fn a_log_trimmed_above_all_known_positions_needs_a_sync() {
    let mut region = Region::new(3);
    region.settle();
    for key in 0..16 {
        region.happens(&Happens::Write { agent: 0, key });
    }
    region.settle();
    region.lose(2);
    region.log.trim(2);
    region.happens(&Happens::Read {
        agent: 0,
        messages: 1,
    });
    for _ in 0..60 {
        region.happens(&Happens::Drive { agent: 0 });
        region.happens(&Happens::Read {
            agent: 0,
            messages: 1,
        });
        region.happens(&Happens::Pass { millis: 300 });
    }
    let phase = region.agents[0].follow.phase();
    assert!(phase.needs_sync().is_some(), "{phase:?}");
}

#[test]
fn an_unreadable_log_is_read_again_later() {
    let mut region = Region::new(4);
    region.settle();
    let agent = &mut region.agents[0];
    let now = Mono::default().after(Duration::from_secs(1000));
    let why = || ReaderEnd::Unreadable("no stream".to_owned());
    agent.follow.handle_reader_end(now, &agent.fold, why());
    assert_eq!(*agent.follow.phase(), Phase::Unreadable("no stream".to_owned()));
    assert_eq!(
        agent.follow.poll_timeout(now),
        Some((now.after(READ_AGAIN), Deadline::OpenReader))
    );
    assert!(!agent.follow.is_consistent(agent.fold.at()));
    let due = now.after(READ_AGAIN);
    agent.follow.handle_timeout(due, &agent.fold, &agent.store);
    assert_eq!(*agent.follow.phase(), Phase::CatchingUp);
    let steps: Vec<Step> = std::iter::from_fn(|| agent.follow.poll_step()).collect();
    assert!(
        matches!(
            steps[..],
            [Step::CloseReader, Step::Emit(_), Step::Emit(_), Step::OpenReader]
        ),
        "{steps:?}"
    );
}

#[test]
fn an_implausible_doubt_is_ignored() {
    let mut region = Region::new(5);
    region.settle();
    let life = Life {
        number: u64::MAX,
        nonce: 7,
    };
    let mut lineage = Lineage::default();
    lineage.begin(LifeLink {
        life,
        parent: None,
        fork: Sequence::NONE,
    });
    let agent = &mut region.agents[0];
    let cursor = Cursor {
        position: crate::coordinates::Position {
            life,
            sequence: Sequence(9),
        },
        message_id: MessageId(9),
    };
    let doubt = samples::doubt(&agent.fold, cursor, Vec::new(), lineage);
    let now = Mono::default().after(Duration::from_secs(1000));
    agent.follow.handle_doubt(now, &agent.fold, doubt);
    assert_eq!(*agent.follow.phase(), Phase::Serving);
    let steps: Vec<Step> = std::iter::from_fn(|| agent.follow.poll_step()).collect();
    assert!(
        matches!(steps[..], [Step::Emit(Event::ImplausibleDoubt { .. })]),
        "{steps:?}"
    );
}

#[test]
fn a_life_is_read_again_from_its_fork_once() {
    let mut reread = RereadRule::default();
    let life = |number| Life { number, nonce: 1 };
    let link = |number, parent: Option<u64>| LifeLink {
        life: life(number),
        parent: parent.map(life),
        fork: Sequence(4),
    };
    assert!(!reread.handle_life(&link(1, None)));
    assert!(reread.handle_life(&link(2, Some(1))));
    assert!(!reread.handle_life(&link(2, Some(1))));
    assert!(reread.handle_life(&link(3, Some(2))));
    assert!(!reread.handle_life(&link(2, Some(1))));
}

#[test]
fn a_search_goes_on_after_the_log_could_not_be_read() {
    let mut region = Region::new(8);
    region.settle();
    let agent = &mut region.agents[0];
    let now = Mono::default().after(Duration::from_secs(1000));
    agent.follow.handle_contradiction(now, &agent.fold);
    let question = agent.follow.poll_query(now).unwrap().question;
    assert!(matches!(question, Question::At(_)), "{question:?}");
    assert_eq!(agent.follow.poll_query(now), None);
    let end = ReaderEnd::Unreadable("no stream".to_owned());
    agent.follow.handle_reader_end(now, &agent.fold, end);
    let due = now.after(READ_AGAIN);
    agent.follow.handle_timeout(due, &agent.fold, &agent.store);
    let end = agent.follow.poll_query(due).unwrap();
    assert_eq!(end.question, Question::End);
    let answer = LogAnswer::End(agent.fold.at().sequence);
    agent.follow.handle_answer(due, &agent.fold, end.number, answer);
    assert_eq!(agent.follow.poll_query(due).unwrap().question, question);
}

#[test]
fn an_answer_to_an_earlier_question_is_not_taken() {
    let mut region = Region::new(6);
    let agent = &mut region.agents[0];
    let now = Mono::default();
    let first = agent.follow.poll_query(now).unwrap();
    assert_eq!(first.question, Question::End);
    agent
        .follow
        .handle_reader_end(now, &agent.fold, ReaderEnd::Unreadable("gone".to_owned()));
    assert_eq!(agent.follow.poll_query(now), None);
    let due = now.after(READ_AGAIN);
    agent.follow.handle_timeout(due, &agent.fold, &agent.store);
    let second = agent.follow.poll_query(due).unwrap();
    assert_ne!(first.number, second.number);
    agent
        .follow
        .handle_answer(due, &agent.fold, first.number, LogAnswer::End(Sequence(9)));
    agent.follow.handle_timeout(due, &agent.fold, &agent.store);
    assert!(agent.follow.poll_record(due).is_none());
    let answer = LogAnswer::End(Sequence::NONE);
    agent
        .follow
        .handle_answer(due, &agent.fold, second.number, answer);
    agent.follow.handle_timeout(due, &agent.fold, &agent.store);
    assert!(agent.follow.poll_record(due).is_some());
}

#[test]
fn messages_read_after_the_log_was_asked_are_no_loss() {
    let mut region = Region::new(9);
    let agent = &mut region.agents[0];
    let mut now = Mono::default();
    let mut known = 0;
    for read in [5, 9, 12, 15, 20] {
        let Some(query) = agent.follow.poll_query(now) else {
            break;
        };
        // The log ended here when it answered; the agent has read more since then.
        let mut ahead = agent.fold.clone();
        while ahead.at().sequence.0 < read {
            ahead = samples::passed(ahead);
        }
        agent.fold = ahead;
        let answer = LogAnswer::End(Sequence(known.max(read - 2)));
        agent.follow.handle_answer(now, &agent.fold, query.number, answer);
        known = read;
        now = now.after(CHECK_END);
    }
    assert_eq!(*agent.follow.phase(), Phase::CatchingUp);
    agent.follow.handle_timeout(now, &agent.fold, &agent.store);
    assert!(agent.follow.search.is_none());
}

#[test]
fn a_life_record_is_appended_once_with_an_empty_body() {
    let mut region = Region::new(7);
    let agent = &mut region.agents[0];
    let now = Mono::default();
    let query = agent.follow.poll_query(now).unwrap();
    agent
        .follow
        .handle_answer(now, &agent.fold, query.number, LogAnswer::End(Sequence::NONE));
    agent.follow.handle_timeout(now, &agent.fold, &agent.store);
    let own = agent.follow.poll_record(now).unwrap();
    assert_eq!((own.body, own.changes), (Bytes::new(), 0));
    assert!(agent.follow.poll_record(now).is_none());
}
