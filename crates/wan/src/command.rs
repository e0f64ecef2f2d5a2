//! The commands that change a network, and their line-delimited JSON form.

use serde::{Deserialize, Serialize};

/// One order to a network. On the control door: one JSON object a line, for example
/// `{"do":"cut","from":"eu-west","to":"us-east","one_way":true,"for_ms":40000}`.
///
/// `one_way` limits an order to the direction `from → to`; without it both directions change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Hold all bytes, for `for_ms` milliseconds or until healed.
    Cut {
        /// Region whose sent bytes are held.
        from: String,
        /// Region that does not receive them.
        to: String,
        /// Only `from → to`.
        #[serde(default)]
        one_way: bool,
        /// Ends by itself after so many milliseconds.
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
    /// Limit each direction to so many bytes a second; none = unlimited.
    Rate {
        /// One region of the pair.
        from: String,
        /// The other region.
        to: String,
        /// Only `from → to`.
        #[serde(default)]
        one_way: bool,
        /// Bytes a second.
        bytes_per_second: Option<u64>,
    },
    /// Reset every connection of the pair once.
    Reset {
        /// One region of the pair.
        from: String,
        /// The other region.
        to: String,
    },
    /// Swallow the pair's connections without a close or a reset.
    BlackHole {
        /// One region of the pair.
        from: String,
        /// The other region.
        to: String,
    },
    /// Return one pair, or every pair, to the shape the network started with.
    Heal {
        /// One region of the pair; absent = all pairs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The other region; absent = all pairs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Change nothing; tell the conditions.
    Show,
}

/// The answer to one command: the conditions of every path, or why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandAnswer {
    /// Whether the command was carried out.
    pub ok: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Every direction, ordered by names.
    #[serde(default)]
    pub paths: Vec<PathReport>,
}

impl CommandAnswer {
    /// It was carried out; these are the conditions after it.
    pub(crate) fn done(paths: Vec<PathReport>) -> Self {
        Self {
            ok: true,
            error: None,
            paths,
        }
    }

    /// It was not, for this reason.
    pub(crate) fn refused(error: String) -> Self {
        Self {
            ok: false,
            error: Some(error),
            paths: Vec::new(),
        }
    }
}

/// The conditions of one direction as the control door tells them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathReport {
    /// Region that sends.
    pub from: String,
    /// Region that receives.
    pub to: String,
    /// Delay in milliseconds.
    pub delay_ms: u64,
    /// Upper bound of the jitter in milliseconds.
    pub jitter_ms: u64,
    /// Bytes a second, if limited.
    pub bytes_per_second: Option<u64>,
    /// Whether bytes are held.
    pub cut: bool,
    /// Whether connections are swallowed.
    pub black_hole: bool,
    /// Bytes delivered since the start.
    pub passed_bytes: u64,
}
