use super::samples::log;
use super::*;
use crate::follow::search::{Finding, Search};

const FIRST: u64 = 11;

fn anchor(sequence: u64, id: u64) -> Anchor {
    Anchor {
        sequence: Sequence(sequence),
        message_id: MessageId(id),
    }
}

/// The positions of a log with the messages 11, 12 and so on, newest first, and its beginning.
fn known(last: u64) -> Vec<Anchor> {
    let anchors = (1..=last).rev().map(|at| anchor(at, FIRST - 1 + at));
    anchors.chain([Anchor::default()]).collect()
}

/// Answers the search from a log with these messages, trimmed before `first`. Returns the finding
/// and the number of questions.
fn answer_all(search: &mut Search, ids: &[u64], first: u64) -> (Finding, u64) {
    let mut now = Mono::default();
    for number in 1.. {
        let question = match search.finding(&History::default()) {
            Ok(finding) => return (finding, number - 1),
            Err(question) => question,
        };
        let query = LogQuery { number, question };
        search.ask(query);
        now = now.max(search.pending().unwrap().deadline().unwrap());
        assert_eq!(search.poll_query(now), Some(query));
        search.handle_answer(
            now,
            match question {
                Question::At(at) if at.0 < first => LogAnswer::Stored(StoredAt::Trimmed),
                Question::At(at) => LogAnswer::Stored(match ids.get(at.0 as usize - 1) {
                    Some(id) => StoredAt::Message(MessageId(*id)),
                    None => StoredAt::Nothing,
                }),
                Question::MarkThrough(_) => LogAnswer::Mark {
                    state: None,
                    first: Sequence(first),
                },
                Question::End => panic!("a search does not ask where the log ends"),
            },
        );
    }
    unreachable!()
}

fn fork_of(ids: &[u64]) -> Option<u64> {
    let mut known = known(4);
    let at = known.remove(0);
    let mut search = Search::new(log("eu-west"), Some(at), known);
    match answer_all(&mut search, ids, 1).0 {
        Finding::Intact => None,
        Finding::Fork(anchor, _) => Some(anchor.sequence.0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shared_position_needs_two_messages() {
    assert_eq!(fork_of(&[11, 12, 13, 14, 15]), None);
    assert_eq!(fork_of(&[11, 12, 13]), Some(3));
    assert_eq!(fork_of(&[11, 12, 77, 78]), Some(2));
    assert_eq!(fork_of(&[]), Some(0));
    // The log was recreated, and a late copy of one message is at its old sequence.
    assert_eq!(fork_of(&[70, 71, 13, 72, 73]), Some(0));
    assert_eq!(fork_of(&[70, 71, 72, 14]), Some(0));
}

#[test]
fn a_short_log_is_believed_after_three_answers() {
    let mut search = Search::new(log("eu-west"), None, known(4));
    let (finding, questions) = answer_all(&mut search, &[11], 1);
    assert!(
        matches!(finding, Finding::Fork(at, _) if at == anchor(1, 11)),
        "{finding:?}"
    );
    // Three for 4, one each for 3, 2 and 1, and the state.
    assert_eq!(questions, 7);
}

#[test]
fn a_short_answer_is_asked_again_only_after_a_while() {
    let mut search = Search::new(log("eu-west"), None, known(1));
    let question = Question::At(Sequence(1));
    let ask = |search: &mut Search, question| {
        search.ask(LogQuery { number: 1, question });
        search.pending().unwrap().deadline().unwrap()
    };
    ask(&mut search, question);
    let now = Mono::default().after(Duration::from_secs(9));
    search.handle_answer(now, LogAnswer::Stored(StoredAt::Nothing));
    assert_eq!(ask(&mut search, question), now.after(ASK_AGAIN));
    search.handle_answer(now, LogAnswer::Stored(StoredAt::Message(MessageId(11))));
    assert_eq!(ask(&mut search, Question::MarkThrough(Sequence(1))), now);
}

#[test]
fn trimmed_messages_contradict_nothing() {
    let mut trimmed = Search::new(log("eu-west"), None, known(4));
    let (finding, _) = answer_all(&mut trimmed, &[11, 12, 13], 4);
    assert!(matches!(finding, Finding::Lost), "{finding:?}");
    let mut search = Search::new(log("eu-west"), Some(anchor(4, 14)), known(3));
    let (finding, _) = answer_all(&mut search, &[11, 12, 13, 14], 4);
    assert!(matches!(finding, Finding::Intact), "{finding:?}");
}

#[test]
fn a_peers_search_finds_the_own_floor() {
    let floor_of = |own: Vec<Anchor>, ids: &[u64]| {
        let search = Search::new(log("eu-west"), Some(anchor(4, 14)), known(2));
        match answer_all(&mut search.with_own(own), ids, 1).0 {
            Finding::PeersFork(fork, _, floor) => (fork.sequence.0, floor),
            other => panic!("{other:?}"),
        }
    };
    // The log has everything that this store read; then it lacks 3; then it lacks 2 and 3.
    assert_eq!(floor_of(known(3), &[11, 12, 13]), (2, None));
    assert_eq!(floor_of(known(3), &[11, 12]), (2, Some(Hlc::ZERO)));
    assert_eq!(floor_of(known(3), &[11]), (1, Some(Hlc::ZERO)));
}
