//! The verdict on a history.
//!
//! Problem: a merge discards the older of two writes, and a write whose answer was lost may have
//! happened, so "the last write is there" cannot be checked.
//!
//! Sketch: take the greatest acknowledged version of each key. What an agent holds at the end must
//! be a write of this history that was not refused, and at least as new as that version. An
//! acknowledged write is identified by its version and an unknown write by its unique value. An
//! unknown delete has neither, so any tombstone newer than the greatest acknowledged version may be
//! that delete.
//!
//! Invariant: if an acknowledged write is lost, the agent holds something older, or nothing; an
//! invented write has a value or version that nobody wrote. In addition all agents must agree, and
//! what a session was shown meanwhile must be such a write too, at least as new as what the session
//! had seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use isthmus_replication::version::Version;
use serde::Serialize;

use super::record::HistoryEntry;

#[cfg(test)]
mod tests;

/// The result of judging a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Acknowledged writes.
    pub acknowledged: usize,
    /// Refused writes.
    pub failed: usize,
    /// Writes whose outcome is unknown, including those without any logged outcome.
    pub unknown: usize,
    /// Keys written.
    pub keys: usize,
    /// Agents read.
    pub agents: usize,
    /// Reads with a session during the writes.
    pub session_reads: usize,
    /// Everything that is wrong; empty if the history passes.
    pub violations: Vec<Violation>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// The agent, `region/name`; empty if it concerns the history itself.
    pub agent: String,
    /// The key; empty if no single key is concerned.
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
        /// The version that the agent holds; `None` if it has none of the key.
        holds: Option<String>,
    },
    /// The agent holds a value that is older than an acknowledged delete.
    CameBack {
        /// The version of the delete.
        deleted: String,
        /// The version that the agent holds.
        holds: String,
    },
    /// A session was shown something older than what it had seen, or nothing.
    Stale {
        /// The version that it had seen.
        seen: String,
        /// The version that it was shown; `None` if the agent had none of the key.
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
        /// The version that this agent holds; `None` if it has none of the key.
        holds: Option<String>,
        /// The version that the other agent holds; `None` if it has none of the key.
        other: Option<String>,
    },
    /// A version in the history cannot be parsed.
    NoVersion {
        /// The text.
        version: String,
    },
    /// No agent was read at all, or no write was acknowledged.
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
pub fn judge(history: &[HistoryEntry]) -> Verdict {
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
                    Some((other, same)) if same != held && !both_absent(same, held) => Some(Wrong::Differs {
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

/// Judges what sessions were shown during the writes.
fn judge_sessions(history: &[HistoryEntry], keys: &BTreeMap<String, Vec<Write>>, verdict: &mut Verdict) {
    for entry in history {
        let HistoryEntry::SessionRead {
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
            None if may_be_collected(writes, Some(&seen)) => None,
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

/// Whether a key may have no version although somebody saw `seen` of it: a delete at or after that
/// is collected some seconds later.
fn may_be_collected(writes: &[Write], seen: Option<&Version>) -> bool {
    let mut deletes = writes.iter().filter(|write| write.value.is_none());
    deletes.any(|delete| match delete.acknowledged() {
        Some(version) => seen.is_none_or(|seen| version >= seen),
        None => delete.outcome == Outcome::Unknown,
    })
}

/// Whether two agents hold no value, whether or not one of them has collected the delete.
fn both_absent(one: &Held, other: &Held) -> bool {
    one.value.is_none() && other.value.is_none() && (one.version.is_none() || other.version.is_none())
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
        let newest = greatest.as_ref().map(|(acknowledged, _)| *acknowledged);
        let is_collected = may_be_collected(writes, newest);
        return greatest
            .filter(|_| !is_collected)
            .map(|(acknowledged, was)| lost(acknowledged, was));
    };
    unexplained(writes, version, &held.value).or_else(|| {
        let newer = greatest.filter(|(acknowledged, _)| *acknowledged > version);
        newer.map(|(acknowledged, was)| lost(acknowledged, was))
    })
}

/// Checks a version and value alone: that somebody wrote them, and that the write was not refused.
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

fn writes_by_key(history: &[HistoryEntry], verdict: &mut Verdict) -> BTreeMap<String, Vec<Write>> {
    let mut outcomes: HashMap<u64, Outcome> = HashMap::new();
    for entry in history {
        match entry {
            HistoryEntry::Ok { write, version, .. } => match parse(version, verdict) {
                Some(version) => {
                    outcomes.insert(*write, Outcome::Acknowledged(version));
                }
                None => continue,
            },
            HistoryEntry::Fail { write, .. } => {
                outcomes.insert(*write, Outcome::Failed);
            }
            _ => {}
        }
    }
    let mut keys: BTreeMap<String, Vec<Write>> = BTreeMap::new();
    for entry in history {
        if let HistoryEntry::Invoke {
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

fn reads(
    history: &[HistoryEntry],
    verdict: &mut Verdict,
) -> (BTreeSet<String>, HashMap<(String, String), Held>) {
    let mut agents = BTreeSet::new();
    let mut held = HashMap::new();
    for entry in history {
        match entry {
            HistoryEntry::Agents { agents: named } => agents.extend(named.iter().cloned()),
            HistoryEntry::Read {
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
