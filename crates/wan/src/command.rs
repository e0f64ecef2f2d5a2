//! The commands that change a network, and their line-delimited JSON form.

use serde::{Deserialize, Serialize};

/// A command to a network. On the control door it is one JSON object per line, for example
/// `{"do":"cut","from":"eu-west","to":"us-east","one_way":true,"for_ms":40000}`.
///
/// `one_way` limits a command to the direction `from → to`; without it both directions change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Hold all bytes, for `for_ms` milliseconds or until healed.
    Cut {
        /// The region whose sent bytes are held.
        from: String,
        /// The region that does not receive them.
        to: String,
        /// Only `from → to`.
        #[serde(default)]
        one_way: bool,
        /// The cut ends by itself after this many milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Delay every byte by `delay_ms` in each direction, plus 0..`jitter_ms`.
    Delay {
        /// One region of the pair.
        from: String,
        /// The other region.
        to: String,
        /// Only `from → to`.
        #[serde(default)]
        one_way: bool,
        /// Milliseconds added to each direction.
        delay_ms: u64,
        /// Upper bound of the random part, in milliseconds.
        #[serde(default)]
        jitter_ms: u64,
    },
    /// Limit each direction to this many bytes per second; `None` means unlimited.
    Rate {
        /// One region of the pair.
        from: String,
        /// The other region.
        to: String,
        /// Only `from → to`.
        #[serde(default)]
        one_way: bool,
        /// Bytes per second.
        bytes_per_second: Option<u64>,
    },
    /// Reset every connection of the pair once.
    Reset {
        /// One region of the pair.
        from: String,
        /// The other region.
        to: String,
    },
    /// Discard the pair's traffic without closing or resetting its connections.
    BlackHole {
        /// One region of the pair.
        from: String,
        /// The other region.
        to: String,
    },
    /// Restore one pair, or every pair, to the initial shape of the network.
    Heal {
        /// One region of the pair; absent for all pairs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The other region; absent for all pairs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Change nothing; return the conditions.
    Show,
}

/// The answer to a command: the conditions of every path, or the reason why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandAnswer {
    /// Whether the command was applied.
    pub ok: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Every direction, ordered by name.
    #[serde(default)]
    pub paths: Vec<PathReport>,
}

impl CommandAnswer {
    /// The command was applied; `paths` are the conditions after it.
    pub(crate) fn done(paths: Vec<PathReport>) -> Self {
        Self {
            ok: true,
            error: None,
            paths,
        }
    }

    /// The command was refused for this reason.
    pub(crate) fn refused(error: String) -> Self {
        Self {
            ok: false,
            error: Some(error),
            paths: Vec::new(),
        }
    }
}

/// The conditions of one direction, as the control door reports them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathReport {
    /// The sending region.
    pub from: String,
    /// The receiving region.
    pub to: String,
    /// Delay in milliseconds.
    pub delay_ms: u64,
    /// Upper bound of the jitter in milliseconds.
    pub jitter_ms: u64,
    /// Bytes per second, if limited.
    pub bytes_per_second: Option<u64>,
    /// Whether bytes are held.
    pub cut: bool,
    /// Whether the traffic of connections is discarded.
    pub black_hole: bool,
    /// Bytes delivered since the start.
    pub passed_bytes: u64,
}
