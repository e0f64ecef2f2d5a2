//! The agent that an image is copied from.

use bytes::Bytes;
use prost::Message;

use super::codec::refused;
use super::{Head, History, PartRequest, wire};
use crate::coordinates::Anchor;
use crate::fold::Fold;
use crate::store::Store;

/// What a source answers from, as it is at one moment.
#[derive(Debug)]
pub struct Source<'a> {
    /// The fold; the store holds exactly the effects through its position.
    pub fold: &'a Fold,
    /// The cells.
    pub store: &'a Store,
    /// Positions of the log that are known, oldest first.
    pub known_positions: &'a [Anchor],
    /// Identifies the source.
    pub history: History,
    /// Whether the store serves, and holds the effects of nothing after the fold's position.
    pub serves: bool,
    /// Bytes of cells in one part; one larger cell travels alone.
    pub part_bytes: usize,
}

/// The encoded answer to a request: the part, or why there is none.
#[must_use]
pub fn answer(request: &PartRequest, source: &Source<'_>) -> Bytes {
    if !source.serves {
        return refused("the agent does not serve");
    }
    let head = match request.begun {
        Some(begun) if begun != source.history => {
            return refused("the agent started again, or read its log again");
        }
        Some(_) => None,
        None => Some(Head {
            history: source.history,
            fold: source.fold.clone(),
            known_positions: source.known_positions.to_vec(),
            cells: source.store.cells_in_memory(),
            bytes: source.store.bytes(),
        }),
    };
    let mut rows = Vec::new();
    let mut bytes = 0;
    let mut cells = source.store.cells_after(request.after.as_ref()).peekable();
    while let Some((id, held)) = cells.peek() {
        let row = wire::Row {
            name: id.to_stored().into(),
            held: held.to_stored(),
        };
        bytes += row.encoded_len();
        if bytes > source.part_bytes && !rows.is_empty() {
            break;
        }
        rows.push(row);
        cells.next();
    }
    let part = wire::Part {
        refused: String::new(),
        head: head.map(|head| head.to_wire()),
        rows,
        through: source.fold.at().sequence.0,
        through_id: source.fold.at().message_id.0,
        last: cells.peek().is_none(),
        reclaimed: source.store.reclaimed().bits(),
    };
    part.encode_to_vec().into()
}
