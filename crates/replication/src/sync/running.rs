//! A sync that a source has begun: what is left to compare, and what is on its way to the log.

use std::collections::VecDeque;

use prost::Message;

use super::target::{RECORDS, SyncProgress};
use super::walk::Walk;
use super::{Ask, Begun, InvalidReply, Lacked, SyncBody, Want, wire};
use crate::cell::CellId;
use crate::coordinates::MessageId;
use crate::fold::Fold;
use crate::header::{SourceFloors, SourcePosition};
use crate::hlc::Hlc;
use crate::limits;
use crate::names::RegionName;
use crate::store::{HeldCell, Store};
use crate::time::Mono;

/// The most cells of the own store that are compared with one answer.
const OWN_CELLS: usize = 16_384;
/// What a lacking cell takes in a record besides its name: an upper bound, in bytes.
const LACKED_BYTES: usize = 80;

/// A sync that a source has begun.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) source: RegionName,
    pub(super) begun: Begun,
    /// The message of its first record.
    pub(super) id: MessageId,
    /// Until the first record is appended.
    pub(super) positions: Option<Vec<SourcePosition>>,
    /// Whether the first record counts.
    pub(super) counts: bool,
    pub(super) walk: Walk,
    pub(super) bodies: VecDeque<(SyncBody, SourceFloors)>,
    pub(super) numbered: u32,
    /// Records that are not read back, and until when they must be.
    pub(super) under_way: VecDeque<(MessageId, Mono)>,
    pub(super) ending: bool,
    pub(super) progress: SyncProgress,
}

impl Running {
    /// What to ask next; nothing while what came before is on its way to the log.
    pub(super) fn next_ask(&self) -> Option<Ask> {
        let is_ready = self.counts && self.bodies.is_empty() && self.under_way.len() < RECORDS;
        self.walk.next().filter(|_| is_ready)
    }

    /// Whether everything was compared, and everything that came of it counts.
    pub(super) fn is_compared(&self) -> bool {
        self.counts
            && self.walk.next().is_none()
            && self.bodies.is_empty()
            && self.under_way.is_empty()
            && !self.ending
    }

    /// Compares cells of the source with the own ones, and forms records of what differs.
    pub(super) fn take_cells(
        &mut self,
        fold: &Fold,
        store: &Store,
        floor: Hlc,
        through: Option<CellId>,
        rows: Vec<(CellId, HeldCell)>,
    ) -> Result<(), InvalidReply> {
        let asked = self.walk.next().ok_or(InvalidReply("cells"))?;
        if asked.want != Want::Cells {
            return Err(InvalidReply("cells"));
        }
        let end = through.clone().or_else(|| asked.through.clone());
        let is_before = |id: &CellId| asked.after.as_ref().is_some_and(|after| id <= after);
        let is_after = |id: &CellId| end.as_ref().is_some_and(|end| id > end);
        if rows
            .first()
            .zip(rows.last())
            .is_some_and(|((first, _), (last, _))| is_before(first) || is_after(last))
        {
            return Err(InvalidReply("cells outside of what was asked"));
        }
        let floors = SourceFloors {
            collected: self.begun.collected,
            floor,
        };
        let may_drop = fold.floor() < floors.collected;
        let own = store.cells_between(asked.after.as_ref(), end.as_ref());
        let own: Vec<_> = own.take(OWN_CELLS + 1).collect();
        // What follows too many own cells is asked for again.
        let cut = (own.len() > OWN_CELLS).then(|| own[OWN_CELLS - 1].0.clone());
        let is_cut = |id: &CellId| cut.as_ref().is_some_and(|cut| id > cut);
        let lacks = |id: &CellId| rows.binary_search_by(|(row, _)| row.cmp(id)).is_err();
        let lacked = own
            .iter()
            .filter(|(id, held)| {
                may_drop
                    && store.counts(held, asked.floor)
                    && held.cell.version.hlc <= floors.collected
                    && !is_cut(id)
                    && lacks(id)
            })
            .map(|(id, held)| Lacked {
                id: (*id).clone(),
                version: held.cell.version.clone(),
            });
        let lacked: Vec<_> = lacked.collect();
        let count = rows.iter().filter(|(id, _)| !is_cut(id)).count() as u64;
        let new = rows
            .into_iter()
            .filter(|(id, held)| !is_cut(id) && store.lacks(id, &held.cell));
        let new: Vec<_> = new.collect();
        self.progress.taken += new.len() as u64;
        self.form(new, lacked, floors);
        self.walk.take_cells(cut.or(through), count)?;
        self.progress.compared = self.walk.passed();
        Ok(())
    }

    fn form(&mut self, rows: Vec<(CellId, HeldCell)>, lacked: Vec<Lacked>, floors: SourceFloors) {
        let mut body = SyncBody::default();
        let mut bytes = 0;
        for row in rows {
            let size = wire::Row::of(&row).encoded_len();
            if bytes + size > limits::MESSAGE_BODY_BYTES && !body.rows.is_empty() {
                self.bodies.push_back((std::mem::take(&mut body), floors));
                bytes = 0;
            }
            bytes += size;
            body.rows.push(row);
        }
        if !body.rows.is_empty() {
            self.bodies.push_back((body, floors));
        }
        let mut body = SyncBody::default();
        let mut bytes = 0;
        for lacked in lacked {
            let size = LACKED_BYTES + lacked.id.to_stored().len();
            if bytes + size > limits::MESSAGE_BODY_BYTES {
                self.bodies.push_back((std::mem::take(&mut body), floors));
                bytes = 0;
            }
            bytes += size;
            body.lacked.push(lacked);
        }
        if !body.lacked.is_empty() {
            self.bodies.push_back((body, floors));
        }
    }
}
