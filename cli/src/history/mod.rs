//! Histories: what clients did and saw, as JSON lines, and the judgement on them.
//!
//! A writer logs `invoke` before it sends a write and then one of
//! - `ok`: acknowledged, with the write's version;
//! - `fail`: refused; it must never be seen;
//! - `unknown`: the answer is missing or says so; it may or may not be seen.
//!
//! Meanwhile readers log `session_read`: what an agent showed to a session that had seen a key at a version; it may be newer,
//! never older. After the last write every agent is read once a key. Every written value is unique, so that a value names its write.

pub mod record;
pub mod verdict;

pub use record::{History, HistoryEntry, HistoryError};
pub use verdict::{Verdict, Violation};
