//! The phases of a store that follows a log.

/// Whether a store that follows a log serves, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It is reading what was in the log when it started.
    CatchingUp,
    /// It serves reads and writes.
    Serving,
    /// The log lost its tail and a new life has to begin.
    NewLife,
    /// The log holds a record that this version can't read.
    UpgradeNeeded {
        /// "kind" or "codec".
        what: &'static str,
        /// Its number.
        number: u32,
    },
    /// The log no longer holds what is missing here. It is not read any further.
    NeedsSync(String),
    /// The log was recreated empty, and only other regions have what it held before. The log is
    /// still read, but reads here would miss that data.
    LostBefore,
    /// The log can't be read.
    Unreadable(String),
}

const LOST_BEFORE: &str =
    "this region's log was created again, and only other regions have what it held before";

impl Phase {
    /// Why it needs a sync, if it does.
    #[must_use]
    pub fn needs_sync(&self) -> Option<&str> {
        match self {
            Self::NeedsSync(reason) => Some(reason),
            Self::LostBefore => Some(LOST_BEFORE),
            _ => None,
        }
    }
}
