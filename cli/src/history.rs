//! Histories: what clients did and saw, as JSON lines, and the verdict on them.
//!
//! A writer logs `invoke` before it sends a write and then one of
//! - `ok`: acknowledged, with the write's version;
//! - `fail`: refused; it must never be seen;
//! - `unknown`: there is no answer, or its code leaves the outcome open; the write may or may not
//!   be seen.
//!
//! Meanwhile readers log `session_read`: the version that an agent returned to a session that had
//! seen a key at some version. It may be newer, never older. After the last write every key is read
//! once from every agent. Every written value is unique, so that a value identifies its write.

pub mod record;
pub mod verdict;

pub use record::{History, HistoryEntry, HistoryError};
pub use verdict::{Verdict, Violation};
