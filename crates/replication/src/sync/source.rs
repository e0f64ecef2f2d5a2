//! The agent whose store is compared.

use super::{Ask, Begun, COARSE_CELLS, PART_BYTES, Reply, Request, SPANS, Span, Want, wire};
use crate::fold::Fold;
use crate::header::SourcePosition;
use crate::hlc::Hlc;
use crate::image::History;
use crate::names::ProcessName;
use crate::store::Store;
use prost::Message;

/// The most cells that one answer looks at, those that do not count among them.
const VISITED: usize = SPANS * COARSE_CELLS as usize;

/// What a source answers from, as it is at one moment.
#[derive(Debug)]
pub struct Source<'a> {
    /// This agent.
    pub agent: &'a ProcessName,
    /// Identifies its store.
    pub history: History,
    /// The fold; the store holds exactly the effects through its position.
    pub fold: &'a Fold,
    /// The cells.
    pub store: &'a Store,
    /// Whether the store serves, and holds the effects of nothing after the fold's position.
    pub serves: bool,
}

/// The answer to a request.
#[must_use]
pub fn answer(request: &Request, source: &Source<'_>) -> Reply {
    let refused = |reason: &str| Reply::Refused {
        lost: source.fold.lost_before(),
        reason: reason.to_owned(),
    };
    if !source.serves {
        return refused("the agent does not serve");
    }
    let Some(begun) = &request.begun else {
        return match positions(source.fold) {
            Some(positions) => begin(source, positions),
            None => refused("the log has no life yet"),
        };
    };
    if begun.agent != *source.agent || begun.history != source.history {
        return refused("the agent started again, or read its log again");
    }
    if source.store.reclaimed() > begun.collected {
        return refused("the agent removed tombstones that the sync needs");
    }
    match &request.ask {
        Some(ask) => match ask.want {
            Want::Digests(cells) => Reply::Spans(spans(source.store, ask, cells)),
            Want::Cells => cells(source, ask),
        },
        None => refused("nothing is asked"),
    }
}

fn begin(source: &Source<'_>, positions: Vec<SourcePosition>) -> Reply {
    Reply::Begun {
        begun: Begun {
            agent: source.agent.clone(),
            history: source.history,
            // What was removed can't be shown, even if the fold went back below it.
            collected: source.fold.collected().max(source.store.reclaimed()),
        },
        positions,
        cells: source.store.cells_in_memory(),
        bytes: source.store.bytes(),
    }
}

/// How far the store has included each region's log. None before the log's first life.
fn positions(fold: &Fold) -> Option<Vec<SourcePosition>> {
    let position = fold.position()?;
    let own = SourcePosition {
        region: fold.log().region.clone(),
        cursor: crate::coordinates::Cursor {
            position,
            message_id: fold.at().message_id,
        },
        lineage: fold.lineage().clone(),
        highest_stamp: fold.highest_stamp(),
        appended: fold.own_appended(),
        admission_floor: fold.own_floor(),
    };
    let others = fold.origins().filter_map(|(region, origin)| {
        Some(SourcePosition {
            region: region.clone(),
            cursor: origin.whole?,
            lineage: origin.lineage.clone(),
            highest_stamp: origin.highest_stamp,
            appended: origin.appended,
            admission_floor: match origin.needs_sync() {
                true => Hlc::ZERO,
                false => origin.admission_floor,
            },
        })
    });
    let mut positions: Vec<_> = std::iter::once(own).chain(others).collect();
    positions.sort_by(|one, other| one.region.cmp(&other.region));
    Some(positions)
}

/// Spans of `cells` cells each, the last one with the rest. After [`VISITED`] cells the last one
/// ends early.
fn spans(store: &Store, ask: &Ask, cells: u32) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut span = Span::default();
    let visited = store.cells_between(ask.after.as_ref(), ask.through.as_ref());
    for (number, (id, held)) in visited.enumerate() {
        // A span ends only when another cell follows, so that the last one ends at the question's
        // end.
        if span.cells >= u64::from(cells) || number == VISITED {
            spans.push(std::mem::take(&mut span));
            if spans.len() == SPANS || number == VISITED {
                return spans;
            }
        }
        span.last = Some(id.clone());
        if store.counts(held, ask.floor) {
            span.digest.add(held.cell.digest(id));
            span.cells += 1;
        }
    }
    span.last = None;
    spans.push(span);
    spans
}

/// The cells that fit into one answer, of the next [`VISITED`] at most.
fn cells(source: &Source<'_>, ask: &Ask) -> Reply {
    let store = source.store;
    let mut rows = Vec::new();
    let (mut bytes, mut last, mut through) = (0, None, None);
    let visited = store.cells_between(ask.after.as_ref(), ask.through.as_ref());
    for (number, (id, held)) in visited.enumerate() {
        if number == VISITED {
            through = last;
            break;
        }
        if store.counts(held, ask.floor) {
            let row = (id.clone(), held.clone());
            bytes += wire::Row::of(&row).encoded_len();
            if bytes > PART_BYTES && !rows.is_empty() {
                through = last;
                break;
            }
            rows.push(row);
        }
        last = Some(id.clone());
    }
    Reply::Cells {
        floor: source.fold.floor(),
        through,
        rows,
    }
}
