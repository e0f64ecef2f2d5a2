//! Syncs: a region's store takes what another region's store has (docs/decisions/0024-sync.md).
//!
//! Problem: a region's log lacks changes that no lane can bring any more: the origin trimmed them,
//! a body could not be decoded, or the log was created again. Another region's store has their
//! effects. Both stores change meanwhile, their tombstones are collected at different times, and
//! the process that compares them may be killed at any point.
//!
//! Sketch: the target's steward appends a record that begins the sync: it moves the cursors of the
//! target's log to what the source has included, so lanes go on from there at once, and what was
//! skipped counts as missing. Then the steward compares the stores span by span. It fetches the
//! cells of the spans that differ and appends them as records, which every agent applies by the
//! pairwise rule ([`crate::store::Store::copy`], [`crate::store::Store::drop_lacked`]). The last
//! record ends the sync: nothing is missing any more. A steward that takes over begins again; spans
//! that are equal by then cost a digest each.
//!
//! Invariants:
//!
//! - Everything that the source had included when the sync began is included when it ends, or was
//!   replaced by what is newer.
//! - Every answer shows the tombstones above the source's collected floor as it was when the sync
//!   began. Nothing at or below that floor arrives by a lane after the sync began.
//! - A sync ends only if every one of its records counts.
//!
//! Failure cases: a source that restarts, reads its log again, or has removed tombstones that the
//! sync needs refuses, and a new sync begins. An answer that is not what was asked for ends the
//! sync ([`InvalidReply`]); nothing of it is applied.

use std::time::Duration;

use crate::cell::{CellId, Digest};
use crate::coordinates::Shard;
use crate::header::SourcePosition;
use crate::hlc::Hlc;
use crate::image::History;
use crate::names::ProcessName;
use crate::store::HeldCell;
use crate::version::Version;

mod body;
mod codec;
mod running;
mod source;
mod target;
#[cfg(test)]
mod tests;
mod walk;
mod wire;

pub use body::{InvalidBody, SyncBody};
pub use codec::{InvalidReply, InvalidRequest};
pub use source::{Source, answer};
pub use target::{Event, SourceAnswer, SyncProgress, SyncRequest, Target, Wants};

/// The call between gateways that carries requests and answers.
pub const METHOD: &str = "sync";
/// A request without an answer for this long is unanswered: longer than a call between gateways.
pub const ANSWER: Duration = Duration::from_secs(6);
/// How long the source's gateway waits for an agent.
pub const AGENT_ANSWER: Duration = Duration::from_secs(3);
/// Bytes of cells in one answer; one larger cell travels alone.
pub const PART_BYTES: usize = 192 * 1024;
/// The most spans in one answer.
pub const SPANS: usize = 64;
/// The cells of a span that is compared first.
pub const COARSE_CELLS: u32 = 1024;
/// The cells of a span whose surroundings differ.
pub const FINE_CELLS: u32 = 32;

/// `source.<group>.<partition>` or `source.<group>.<partition>.<agent>`: the subject of requests to
/// the agents of the source's region, after the prefix of the region's processes. A sync begins
/// with any agent and goes on with the one that answered.
#[must_use]
pub fn source_suffix(request: &Request) -> String {
    let Shard { group, partition } = &request.shard;
    match &request.begun {
        Some(begun) => format!("source.{group}.{partition}.{}", begun.agent),
        None => format!("source.{group}.{partition}"),
    }
}

/// `sync.<region>`: the subject of requests to the target's leading gateway.
#[must_use]
pub fn gateway_suffix(source: &crate::names::RegionName) -> String {
    format!("sync.{source}")
}

/// What is asked of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The shard.
    pub shard: Shard,
    /// The source of the sync; none begins one.
    pub begun: Option<Begun>,
    /// What is asked; nothing when a sync begins.
    pub ask: Option<Ask>,
}

/// Identifies the source of a sync, and what it had collected when the sync began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The agent that answers.
    pub agent: ProcessName,
    /// Its run and rewinds, which must not change.
    pub history: History,
    /// Its collected floor when the sync began.
    pub collected: Hlc,
}

/// A question about the cells after one name and up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Begins after this cell; none begins with the first one.
    pub after: Option<CellId>,
    /// Ends with this cell; none ends with the last one.
    pub through: Option<CellId>,
    /// Cells that are absent at this collected floor do not count.
    pub floor: Hlc,
    /// What is wanted of them.
    pub want: Want,
}

/// What is wanted of a source's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The digests of spans of so many cells.
    Digests(u32),
    /// The cells.
    Cells,
}

/// A source's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It is the source of the sync.
    Begun {
        /// Identifies it.
        begun: Begun,
        /// How far it had included each region's log, ordered by region.
        positions: Vec<SourcePosition>,
        /// About how many cells it has.
        cells: u64,
        /// About how much memory they take, in bytes.
        bytes: u64,
    },
    /// The digests of consecutive spans. The last one may end before the question's end.
    Spans(Vec<Span>),
    /// Cells in the order of their names.
    Cells {
        /// The stamp at or below which its log accepts no more changes.
        floor: Hlc,
        /// All cells up to here follow; none means to the question's end.
        through: Option<CellId>,
        /// The cells.
        rows: Vec<(CellId, HeldCell)>,
    },
    /// It is no source.
    Refused {
        /// It has lost its own data, and nothing can be had from it.
        lost: bool,
        /// Why.
        reason: String,
    },
}

/// The digest of consecutive cells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// Its last cell; none means to the question's end.
    pub last: Option<CellId>,
    /// The digest of its cells.
    pub digest: Digest,
    /// How many cells it has.
    pub cells: u64,
}

/// A cell that the source of a sync lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacked {
    /// Its name.
    pub id: CellId,
    /// Its version in the target's store.
    pub version: Version,
}
