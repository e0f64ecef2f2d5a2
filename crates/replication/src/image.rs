//! Copies the store of one agent to another agent of its region
//! (docs/decisions/0022-images-within-a-region.md).
//!
//! Problem: an agent without data can't compute its store from a log that was trimmed. Another
//! agent of the region has the store, and goes on applying the log while it hands it over.
//!
//! Sketch: an image is what a checkpoint would load. The source takes its fold first ([`Head`]).
//! Then the target asks for the cells in the order of their names, part by part; a part holds each
//! cell as it is when the part is taken, and states the position that the source had applied by
//! then. The target loads the cells, reads the log from the fold's position, and serves nothing
//! below the last part's position. The source keeps nothing between two parts: a request names the
//! run of the source and the number of its rewinds, which must still be the same.
//!
//! Invariants: an image is used whole or not at all. It holds the effects of everything through its
//! fold's position, and of nothing after [`Image::serve_from`].
//!
//! Failure cases: a source that restarts or reads its log again refuses, and the copy begins again
//! with another source. A part that is not what was asked for ends the copy ([`InvalidPart`]). A
//! source that does not serve is never a source.

use std::time::Duration;

use crate::cell::CellId;
use crate::coordinates::{Anchor, Shard, WriterId};
use crate::fold::Fold;
use crate::hlc::Hlc;
use crate::store::Store;

mod codec;
mod copier;
mod source;
#[cfg(test)]
mod tests;
mod wire;

pub use codec::{InvalidPart, InvalidRequest};
pub use copier::{Copier, Event, PartAnswer, Request};
pub use source::{Source, answer};

/// Bytes of cells in one part between agents.
pub const PART_BYTES: usize = 256 * 1024;
/// A request without an answer for this long is unanswered.
pub const ANSWER: Duration = Duration::from_secs(2);

/// `image.<group>.<partition>.<agent>`: the subject of the requests to an agent, after the prefix
/// of the region's processes.
#[must_use]
pub fn suffix(shard: &Shard, agent: &crate::names::ProcessName) -> String {
    format!("image.{}.{}.{agent}", shard.group, shard.partition)
}

/// What is asked of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRequest {
    /// The shard.
    pub shard: Shard,
    /// What was begun; none begins an image.
    pub begun: Option<History>,
    /// The part begins after this cell; none begins with the first one.
    pub after: Option<CellId>,
    /// The collected floor of what was begun: the source keeps the tombstones above it meanwhile.
    pub floor: Hlc,
}

/// Identifies a stretch of a source's life in which its store only moved forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// The run of the source.
    pub run: WriterId,
    /// How often this run replaced its fold.
    pub rewinds: u64,
}

/// What a source takes before the cells.
#[derive(Debug)]
pub struct Head {
    /// Identifies the source.
    pub history: History,
    /// The fold; the cells include everything through its position.
    pub fold: Fold,
    /// Positions of the log that the source knows, oldest first.
    pub known_positions: Vec<Anchor>,
    /// About how many cells follow.
    pub cells: u64,
    /// About how much memory they take, in bytes.
    pub bytes: u64,
}

/// A whole image.
#[derive(Debug)]
pub struct Image {
    /// The fold. The cells include at least the effects through its position.
    pub fold: Fold,
    /// Positions of the log that the source knows, oldest first.
    pub known_positions: Vec<Anchor>,
    /// Effects of positions up to here may be included: nothing is served below it.
    pub serve_from: Anchor,
    /// The cells.
    pub store: Store,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Cells copied.
    pub cells: u64,
    /// About how many cells there are.
    pub of_cells: u64,
    /// The memory of the copied cells, in bytes.
    pub bytes: u64,
    /// About how much memory all cells take, in bytes.
    pub of_bytes: u64,
}

impl Progress {
    /// The time left if it goes on as in the time that it `took` so far; none before the first
    /// cell.
    #[must_use]
    pub fn left(&self, took: Duration) -> Option<Duration> {
        let rest = self.of_bytes.saturating_sub(self.bytes);
        (self.bytes > 0).then(|| took.mul_f64(rest as f64 / self.bytes as f64))
    }
}
