//! The judgement on a history.
//!
//! Problem: merges throw away the older of two writes, and a write whose answer was lost may have happened, so that "the last
//! write is there" can't be asked. Sketch: of each key take the greatest version that was acknowledged. What an agent holds
//! at the end must be a write of this history that was not refused, and must be at least that new. An acknowledged
//! write is known by its version; an unknown one by its value, which is unique; an unknown delete has neither, so that any
//! tombstone newer than the greatest acknowledged version may be its. Invariant: a lost acknowledged write makes the agent hold
//! something older, or nothing; an invented one has a value or version that nobody wrote. Beyond that the agents must agree.
//! What a session was shown meanwhile must be such a write too, at least as new as what the session had seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use isthmus_replication::version::Version;
use serde::Serialize;

use super::record::Entry;

/// What a history proves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Acknowledged writes.
    pub acknowledged: usize,
    /// Refused writes.
    pub failed: usize,
    /// Writes whose outcome is unknown, also those without any outcome.
    pub unknown: usize,
    /// Keys written.
    pub keys: usize,
    /// Agents read.
    pub agents: usize,
    /// Reads with a session while there were writes.
    pub session_reads: usize,
    /// What must not be; empty = nothing acknowledged was lost.
    pub violations: Vec<Violation>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// The agent, `region/name`; empty if it concerns the history itself.
    pub agent: String,
    /// The key; empty if it concerns no single one.
    pub key: String,
    /// What is wrong.
    pub what: Wrong,
}

/// What is wrong with an agent's key, or with a history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "wrong", rename_all = "snake_case")]
pub enum Wrong {
    /// The agent holds nothing, or something older than the greatest acknowledged write.
    Lost {
        /// The greatest acknowledged version.
        acknowledged: String,
        /// What the agent holds.
        holds: Option<String>,
    },
    /// The agent holds a value that is older than an acknowledged delete.
    CameBack {
        /// The version of the delete.
        deleted: String,
        /// What the agent holds.
        holds: String,
    },
    /// A session was shown something older than what it had seen, or nothing.
    Stale {
        /// What it had seen.
        seen: String,
        /// What it was shown.
        shown: Option<String>,
    },
    /// The agent holds something that nobody of this history wrote.
    Invented {
        /// The version held.
        version: Option<String>,
        /// The value held.
        value: Option<String>,
    },
    /// The agent holds a write that was refused.
    Refused {
        /// The value held.
        value: String,
    },
    /// The agent was not read for this key.
    NotRead,
    /// Another agent holds another version.
    Differs {
        /// The other agent.
        from: String,
        /// What this one holds.
        holds: Option<String>,
        /// What the other holds.
        other: Option<String>,
    },
    /// A version of the history is none.
    NoVersion {
        /// The text.
        version: String,
    },
    /// No agent was read at all, or nothing was acknowledged: nothing is proved.
    ProvesNothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Acknowledged(Version),
    Failed,
    Unknown,
}

#[derive(Debug)]
struct Write {
    value: Option<String>,
    outcome: Outcome,
}

impl Write {
    fn acknowledged(&self) -> Option<&Version> {
        match &self.outcome {
            Outcome::Acknowledged(version) => Some(version),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    version: Option<Version>,
    value: Option<String>,
}

/// Judges a history.
pub fn judge(history: &[Entry]) -> Verdict {
    let mut verdict = Verdict::default();
    let keys = writes_by_key(history, &mut verdict);
    judge_sessions(history, &keys, &mut verdict);
    let (agents, held) = reads(history, &mut verdict);
    verdict.keys = keys.len();
    verdict.agents = agents.len();
    if agents.is_empty() || verdict.acknowledged == 0 {
        verdict.violations.push(Violation {
            agent: String::new(),
            key: String::new(),
            what: Wrong::ProvesNothing,
        });
    }
    for (key, writes) in &keys {
        let mut first: Option<(&String, &Held)> = None;
        for agent in &agents {
            let wrong = match held.get(&(agent.clone(), key.clone())) {
                None => Some(Wrong::NotRead),
                Some(held) => judge_key(writes, held).or_else(|| match first {
                    Some((other, same)) if same != held => Some(Wrong::Differs {
                        from: other.clone(),
                        holds: held.version.as_ref().map(Version::to_string),
                        other: same.version.as_ref().map(Version::to_string),
                    }),
                    Some(_) => None,
                    None => {
                        first = Some((agent, held));
                        None
                    }
                }),
            };
            if let Some(what) = wrong {
                verdict.violations.push(Violation {
                    agent: agent.clone(),
                    key: key.clone(),
                    what,
                });
            }
        }
    }
    verdict
}

/// The judgement on what a session was shown while there were writes.
fn judge_sessions(history: &[Entry], keys: &BTreeMap<String, Vec<Write>>, verdict: &mut Verdict) {
    for entry in history {
        let Entry::SessionRead {
            agent,
            key,
            seen,
            version,
            value,
        } = entry
        else {
            continue;
        };
        verdict.session_reads += 1;
        let shown = Held {
            version: version.as_ref().and_then(|version| parse(version, verdict)),
            value: value.clone(),
        };
        let Some(seen) = parse(seen, verdict) else {
            continue;
        };
        let writes = keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let wrong = match &shown.version {
            Some(version) if *version >= seen => unexplained(writes, version, &shown.value),
            _ => Some(Wrong::Stale {
                seen: seen.to_string(),
                shown: version.clone(),
            }),
        };
        verdict.violations.extend(wrong.map(|what| Violation {
            agent: agent.clone(),
            key: key.clone(),
            what,
        }));
    }
}

fn judge_key(writes: &[Write], held: &Held) -> Option<Wrong> {
    let greatest = writes
        .iter()
        .filter_map(|write| Some((write.acknowledged()?, &write.value)))
        .max_by_key(|(version, _)| *version);
    let lost = |acknowledged: &Version, was: &Option<String>| match (&held.version, was, &held.value) {
        (Some(version), None, Some(_)) => Wrong::CameBack {
            deleted: acknowledged.to_string(),
            holds: version.to_string(),
        },
        _ => Wrong::Lost {
            acknowledged: acknowledged.to_string(),
            holds: held.version.as_ref().map(Version::to_string),
        },
    };
    let Some(version) = &held.version else {
        return greatest.map(|(acknowledged, was)| lost(acknowledged, was));
    };
    unexplained(writes, version, &held.value).or_else(|| {
        let newer = greatest.filter(|(acknowledged, _)| *acknowledged > version);
        newer.map(|(acknowledged, was)| lost(acknowledged, was))
    })
}

/// What is wrong with a version and value as such: nobody wrote it, or it was refused.
fn unexplained(writes: &[Write], version: &Version, value: &Option<String>) -> Option<Wrong> {
    let same_content = || writes.iter().filter(|write| write.value == *value);
    let known = same_content().any(|write| write.acknowledged() == Some(version));
    let possible = || same_content().any(|write| write.outcome == Outcome::Unknown);
    if known || possible() {
        return None;
    }
    let refused = same_content().any(|write| write.outcome == Outcome::Failed);
    Some(match value {
        Some(value) if refused => Wrong::Refused { value: value.clone() },
        value => Wrong::Invented {
            version: Some(version.to_string()),
            value: value.clone(),
        },
    })
}

fn writes_by_key(history: &[Entry], verdict: &mut Verdict) -> BTreeMap<String, Vec<Write>> {
    let mut outcomes: HashMap<u64, Outcome> = HashMap::new();
    for entry in history {
        match entry {
            Entry::Ok { write, version, .. } => match parse(version, verdict) {
                Some(version) => {
                    outcomes.insert(*write, Outcome::Acknowledged(version));
                }
                None => continue,
            },
            Entry::Fail { write, .. } => {
                outcomes.insert(*write, Outcome::Failed);
            }
            _ => {}
        }
    }
    let mut keys: BTreeMap<String, Vec<Write>> = BTreeMap::new();
    for entry in history {
        if let Entry::Invoke {
            write, key, value, ..
        } = entry
        {
            let outcome = outcomes.remove(write).unwrap_or(Outcome::Unknown);
            match outcome {
                Outcome::Acknowledged(_) => verdict.acknowledged += 1,
                Outcome::Failed => verdict.failed += 1,
                Outcome::Unknown => verdict.unknown += 1,
            }
            keys.entry(key.clone()).or_default().push(Write {
                value: value.clone(),
                outcome,
            });
        }
    }
    keys
}

fn reads(history: &[Entry], verdict: &mut Verdict) -> (BTreeSet<String>, HashMap<(String, String), Held>) {
    let mut agents = BTreeSet::new();
    let mut held = HashMap::new();
    for entry in history {
        match entry {
            Entry::Agents { agents: named } => agents.extend(named.iter().cloned()),
            Entry::Read {
                agent,
                key,
                version,
                value,
            } => {
                let version = version.as_ref().and_then(|version| parse(version, verdict));
                held.insert(
                    (agent.clone(), key.clone()),
                    Held {
                        version,
                        value: value.clone(),
                    },
                );
            }
            _ => {}
        }
    }
    (agents, held)
}

fn parse(text: &str, verdict: &mut Verdict) -> Option<Version> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let what = Wrong::NoVersion {
            version: text.to_owned(),
        };
        verdict.violations.push(Violation {
            agent: String::new(),
            key: String::new(),
            what,
        });
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(stamp: u64) -> String {
        format!("{stamp:016x}-eu-west-00000000000000aa")
    }

    fn invoke(write: u64, key: &str, value: Option<&str>) -> Entry {
        Entry::Invoke {
            write,
            region: "eu-west".into(),
            key: key.into(),
            value: value.map(Into::into),
            at_ms: 0,
        }
    }

    fn ok(write: u64, stamp: u64) -> Entry {
        Entry::Ok {
            write,
            version: version(stamp),
            at_ms: 0,
        }
    }

    fn read(agent: &str, key: &str, stamp: Option<u64>, value: Option<&str>) -> Entry {
        Entry::Read {
            agent: agent.into(),
            key: key.into(),
            version: stamp.map(version),
            value: value.map(Into::into),
        }
    }

    fn agents() -> Entry {
        Entry::Agents {
            agents: vec!["eu-west/agent-1".into(), "us-east/agent-1".into()],
        }
    }

    /// One key written twice, another written and deleted, a third with an unknown last write that did happen.
    fn good() -> Vec<Entry> {
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
            Entry::Unknown {
                write: 6,
                reason: "timeout".into(),
                at_ms: 0,
            },
            invoke(7, "c", Some("c3")),
            Entry::Fail {
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

    fn wrongs(history: &[Entry]) -> Vec<Wrong> {
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
            history.retain(|entry| !matches!(entry, Entry::Invoke { write: w, .. } if *w == write));
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

    fn session_read(key: &str, seen: u64, shown: Option<u64>, value: Option<&str>) -> Entry {
        Entry::SessionRead {
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
    fn an_unknown_delete_explains_a_newer_tombstone_and_no_older_one() {
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
            |entry| !matches!(entry, Entry::Read { agent, key, .. } if agent.starts_with("us") && key == "a"),
        );
        assert_eq!(wrongs(&history), [Wrong::NotRead]);
    }

    #[test]
    fn an_empty_history_proves_nothing_and_bad_versions_are_said() {
        assert_eq!(wrongs(&[]), [Wrong::ProvesNothing]);
        let bad = Entry::Ok {
            write: 1,
            version: "7".into(),
            at_ms: 0,
        };
        let mut history = good();
        history.push(bad);
        assert!(matches!(wrongs(&history)[..], [Wrong::NoVersion { .. }]));
    }
}
