use super::*;

fn version(stamp: u64) -> String {
    format!("{stamp:016x}-eu-west-00000000000000aa")
}

fn invoke(write: u64, key: &str, value: Option<&str>) -> HistoryEntry {
    HistoryEntry::Invoke {
        write,
        region: "eu-west".into(),
        key: key.into(),
        value: value.map(Into::into),
        at_ms: 0,
    }
}

fn ok(write: u64, stamp: u64) -> HistoryEntry {
    HistoryEntry::Ok {
        write,
        version: version(stamp),
        at_ms: 0,
    }
}

fn read(agent: &str, key: &str, stamp: Option<u64>, value: Option<&str>) -> HistoryEntry {
    HistoryEntry::Read {
        agent: agent.into(),
        key: key.into(),
        version: stamp.map(version),
        value: value.map(Into::into),
    }
}

fn agents() -> HistoryEntry {
    HistoryEntry::Agents {
        agents: vec!["eu-west/agent-1".into(), "us-east/agent-1".into()],
    }
}

/// One key written twice, another written and deleted, a third with an unknown last write that did
/// happen.
fn good() -> Vec<HistoryEntry> {
    let mut history = vec![
        invoke(1, "a", Some("a1")),
        ok(1, 10),
        invoke(2, "a", Some("a2")),
        ok(2, 20),
        invoke(3, "b", Some("b1")),
        ok(3, 11),
        invoke(4, "b", None),
        ok(4, 21),
        invoke(5, "c", Some("c1")),
        ok(5, 12),
        invoke(6, "c", Some("c2")),
        HistoryEntry::Unknown {
            write: 6,
            reason: "timeout".into(),
            at_ms: 0,
        },
        invoke(7, "c", Some("c3")),
        HistoryEntry::Fail {
            write: 7,
            reason: "log_full".into(),
            at_ms: 0,
        },
        agents(),
    ];
    for agent in ["eu-west/agent-1", "us-east/agent-1"] {
        history.push(read(agent, "a", Some(20), Some("a2")));
        history.push(read(agent, "b", Some(21), None));
        history.push(read(agent, "c", Some(22), Some("c2")));
    }
    history
}

fn wrongs(history: &[HistoryEntry]) -> Vec<Wrong> {
    judge(history)
        .violations
        .into_iter()
        .map(|violation| violation.what)
        .collect()
}

#[test]
fn a_good_history_passes_and_is_counted() {
    let verdict = judge(&good());
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.acknowledged, verdict.failed, verdict.unknown), (5, 1, 1));
    assert_eq!((verdict.keys, verdict.agents), (3, 2));
}

#[test]
fn removing_any_write_that_is_held_at_the_end_fails() {
    for write in [2, 4, 6] {
        let mut history = good();
        history.retain(|entry| !matches!(entry, HistoryEntry::Invoke { write: w, .. } if *w == write));
        let wrongs = wrongs(&history);
        assert!(
            wrongs.iter().any(|wrong| matches!(wrong, Wrong::Invented { .. })),
            "{write}: {wrongs:?}"
        );
    }
}

#[test]
fn an_agent_that_lost_a_write_fails() {
    let mut history = good();
    history.push(read("us-east/agent-1", "a", Some(10), Some("a1")));
    assert!(matches!(wrongs(&history)[..], [Wrong::Lost { .. }]));
    history.push(read("us-east/agent-1", "a", None, None));
    assert!(matches!(wrongs(&history)[..], [Wrong::Lost { holds: None, .. }]));
}

#[test]
fn a_deleted_key_that_came_back_fails_as_such() {
    let mut history = good();
    history.push(read("us-east/agent-1", "b", Some(11), Some("b1")));
    let wrongs = wrongs(&history);
    assert!(matches!(wrongs[..], [Wrong::CameBack { .. }]), "{wrongs:?}");
}

#[test]
fn a_delete_that_was_collected_is_not_lost() {
    let mut history = good();
    history.push(read("us-east/agent-1", "b", None, None));
    assert!(wrongs(&history).is_empty(), "{:?}", wrongs(&history));
    history.push(session_read("b", 21, None, None));
    assert!(wrongs(&history).is_empty(), "{:?}", wrongs(&history));
    // A value that was seen after the delete is lost.
    history.push(session_read("b", 22, None, None));
    assert!(matches!(wrongs(&history)[..], [Wrong::Stale { .. }]));
}

fn session_read(key: &str, seen: u64, shown: Option<u64>, value: Option<&str>) -> HistoryEntry {
    HistoryEntry::SessionRead {
        agent: "us-east/agent-1".into(),
        key: key.into(),
        seen: version(seen),
        version: shown.map(version),
        value: value.map(Into::into),
    }
}

#[test]
fn a_session_may_be_shown_the_same_or_newer_and_nothing_older() {
    let mut history = good();
    history.extend([
        session_read("a", 10, Some(10), Some("a1")),
        session_read("a", 10, Some(20), Some("a2")),
        session_read("b", 11, Some(21), None),
        session_read("c", 12, Some(22), Some("c2")),
    ]);
    let verdict = judge(&history);
    assert_eq!((verdict.session_reads, verdict.violations), (4, vec![]));
    for (stale, shown) in [
        (session_read("a", 20, Some(10), Some("a1")), true),
        (session_read("a", 20, None, None), false),
    ] {
        let mut history = good();
        history.push(stale);
        let wrongs = wrongs(&history);
        assert!(
            matches!(&wrongs[..], [Wrong::Stale { shown: found, .. }] if found.is_some() == shown),
            "{wrongs:?}"
        );
    }
}

#[test]
fn a_session_that_was_shown_a_refused_or_invented_write_fails() {
    let mut history = good();
    history.push(session_read("c", 12, Some(23), Some("c3")));
    assert!(matches!(wrongs(&history)[..], [Wrong::Refused { .. }]));
    let mut history = good();
    history.push(session_read("a", 10, Some(15), Some("nobody's")));
    assert!(matches!(wrongs(&history)[..], [Wrong::Invented { .. }]));
}

#[test]
fn a_refused_write_must_not_be_seen() {
    let mut history = good();
    history.push(read("us-east/agent-1", "c", Some(23), Some("c3")));
    assert!(matches!(wrongs(&history)[..], [Wrong::Refused { .. }]));
}

#[test]
fn a_value_under_another_writes_version_is_invented() {
    let mut history = good();
    history.push(read("us-east/agent-1", "a", Some(20), Some("a1")));
    assert!(matches!(wrongs(&history)[..], [Wrong::Invented { .. }]));
}

#[test]
fn an_unknown_delete_explains_only_a_newer_tombstone() {
    let mut history = vec![
        invoke(1, "a", Some("a1")),
        ok(1, 10),
        invoke(2, "a", None),
        agents(),
    ];
    history.extend(["eu-west/agent-1", "us-east/agent-1"].map(|agent| read(agent, "a", Some(11), None)));
    assert_eq!(wrongs(&history), []);
    history.push(read("us-east/agent-1", "a", Some(9), None));
    assert!(matches!(wrongs(&history)[..], [Wrong::Lost { .. }]));
}

#[test]
fn agents_that_differ_or_were_not_read_fail() {
    let mut history = good();
    history.push(read("us-east/agent-1", "c", Some(12), Some("c1")));
    assert!(matches!(wrongs(&history)[..], [Wrong::Differs { .. }]));
    let mut history = good();
    history.retain(
        |entry| !matches!(entry, HistoryEntry::Read { agent, key, .. } if agent.starts_with("us") && key == "a"),
    );
    assert_eq!(wrongs(&history), [Wrong::NotRead]);
}

#[test]
fn an_empty_history_proves_nothing_and_bad_versions_are_said() {
    assert_eq!(wrongs(&[]), [Wrong::ProvesNothing]);
    let bad = HistoryEntry::Ok {
        write: 1,
        version: "7".into(),
        at_ms: 0,
    };
    let mut history = good();
    history.push(bad);
    assert!(matches!(wrongs(&history)[..], [Wrong::NoVersion { .. }]));
}
