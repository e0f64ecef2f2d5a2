//! The agent whose store is compared.

use super::{Ask, Begun, PART_BYTES, Reply, Request, SPANS, Span, Want, wire};
use crate::fold::Fold;
use crate::header::SourcePosition;
use crate::hlc::Hlc;
use crate::image::History;
use crate::names::ProcessName;
use crate::store::Store;
use prost::Message;

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

/// Spans of `cells` cells each, the last one with the rest.
fn spans(store: &Store, ask: &Ask, cells: u32) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut span = Span {
        last: None,
        digest: crate::cell::Digest::default(),
        cells: 0,
    };
    for (id, held) in store.cells_between(ask.after.as_ref(), ask.through.as_ref(), ask.floor) {
        // A full span ends only when another cell follows, so that the last one ends at the
        // question's end.
        if span.cells >= u64::from(cells) {
            spans.push(std::mem::replace(
                &mut span,
                Span {
                    last: None,
                    digest: crate::cell::Digest::default(),
                    cells: 0,
                },
            ));
            if spans.len() == SPANS {
                return spans;
            }
        }
        span.last = Some(id.clone());
        span.digest.add(held.cell.digest(id));
        span.cells += 1;
    }
    span.last = None;
    spans.push(span);
    spans
}

fn cells(source: &Source<'_>, ask: &Ask) -> Reply {
    let mut rows = Vec::new();
    let mut bytes = 0;
    let mut through = None;
    for (id, held) in source
        .store
        .cells_between(ask.after.as_ref(), ask.through.as_ref(), ask.floor)
    {
        let row = (id.clone(), held.clone());
        bytes += wire::Row::of(&row).encoded_len();
        if bytes > PART_BYTES && !rows.is_empty() {
            through = rows.last().map(|(id, _): &(crate::cell::CellId, _)| id.clone());
            break;
        }
        rows.push(row);
    }
    Reply::Cells {
        floor: source.fold.floor(),
        through,
        rows,
    }
}
