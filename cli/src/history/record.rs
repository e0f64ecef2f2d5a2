//! The lines of a history.

use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum HistoryEntry {
    /// A write is about to be sent. A delete has no value.
    Invoke {
        /// Number of the write, unique in the history.
        write: u64,
        /// The region it is sent to.
        region: String,
        /// Its key.
        key: String,
        /// Its value; `None` for a delete.
        value: Option<String>,
        /// Milliseconds since the start of the history.
        at_ms: u64,
    },
    /// A write was acknowledged.
    Ok {
        /// Number of the write.
        write: u64,
        /// Its version as text.
        version: String,
        /// Milliseconds since the start of the history.
        at_ms: u64,
    },
    /// A write was refused.
    Fail {
        /// Number of the write.
        write: u64,
        /// The code or reason.
        reason: String,
        /// Milliseconds since the start of the history.
        at_ms: u64,
    },
    /// The outcome of a write is unknown.
    Unknown {
        /// Number of the write.
        write: u64,
        /// The code or reason.
        reason: String,
        /// Milliseconds since the start of the history.
        at_ms: u64,
    },
    /// An agent answered a read with a session that has seen the key.
    SessionRead {
        /// `region/name`.
        agent: String,
        /// The key.
        key: String,
        /// The version that the session has seen: of its own acknowledged write, or of an earlier
        /// read.
        seen: String,
        /// The version returned, also of a tombstone; `None` if the agent has no version of the
        /// key.
        version: Option<String>,
        /// The value returned; `None` if absent or deleted.
        value: Option<String>,
    },
    /// The agents that are read after the last write.
    Agents {
        /// `region/name` of each.
        agents: Vec<String>,
    },
    /// What an agent holds after the last write.
    Read {
        /// `region/name`.
        agent: String,
        /// The key.
        key: String,
        /// The version held, also of a tombstone; `None` if the agent has no version of the key.
        version: Option<String>,
        /// The value held; `None` if absent or deleted.
        value: Option<String>,
    },
}

/// A whole history.
pub type History = Vec<HistoryEntry>;

/// Why a history cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The history cannot be read.
    #[error("the history cannot be read")]
    Unreadable(#[from] std::io::Error),
    /// A line is not an entry.
    #[error("line {line} is not an entry of a history")]
    Malformed {
        /// The line's number, from 1.
        line: NonZeroUsize,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads the lines of a history.
pub fn read(source: impl Read) -> Result<History, HistoryError> {
    let mut entries = Vec::new();
    for (index, line) in BufReader::new(source).lines().enumerate() {
        let line = line?;
        let number = NonZeroUsize::MIN.saturating_add(index);
        entries.push(
            serde_json::from_str(&line).map_err(|source| HistoryError::Malformed { line: number, source })?,
        );
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip_and_a_bad_one_is_named() {
        let entry = HistoryEntry::Ok {
            write: 3,
            version: "v".to_owned(),
            at_ms: 12,
        };
        let line = serde_json::to_string(&entry).expect("plain fields");
        assert_eq!(line, r#"{"type":"ok","write":3,"version":"v","at_ms":12}"#);
        assert_eq!(read(line.as_bytes()).expect("one line"), [entry]);
        let error = read(format!("{line}\n{{}}\n").as_bytes()).expect_err("the second line is bad");
        assert!(matches!(error, HistoryError::Malformed { line, .. } if line.get() == 2));
    }
}
