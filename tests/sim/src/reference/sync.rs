//! Syncs (docs/decisions/0024-sync.md).

use std::collections::BTreeSet;

use isthmus_log::StoredMessage;
use isthmus_replication::cell::Content;
use isthmus_replication::change::{Change, Op};
use isthmus_replication::coordinates::{Anchor, MessageId};
use isthmus_replication::header::{Local, Record, SourceFloors, SyncRecord, SyncStep};
use isthmus_replication::names::RegionName;
use isthmus_replication::sync::SyncBody;
use isthmus_replication::time::Wall;

use super::Reference;

impl Reference {
    /// Decision 0024: a sync begins, goes on with its next record, or ends once all of them count.
    pub(super) fn sync(&mut self, record: &SyncRecord, timestamp: Wall) -> bool {
        match &record.step {
            SyncStep::Begin {
                writer,
                hlc,
                positions,
                ..
            } => {
                let local = Local {
                    message_id: record.message_id,
                    writer: *writer,
                    lowest_stamp: *hlc,
                    highest_stamp: *hlc,
                };
                if !self.local(&local, timestamp, true) {
                    return false;
                }
                let mut heals = BTreeSet::new();
                for position in positions.iter().filter(|at| at.region != self.region) {
                    let region = &position.region;
                    let (at, id) = (position.cursor.position, position.cursor.message_id);
                    let held = self.origins.get(region);
                    let there = (at.life.number, at.sequence);
                    let is_ahead = held.is_none_or(|(life, anchor)| {
                        there > (life.number, anchor.sequence)
                            && (at.life == *life || at.life.number > life.number)
                    });
                    let is_same = held.is_some_and(|(life, anchor)| {
                        (*life, anchor.sequence, anchor.message_id) == (at.life, at.sequence, id)
                    });
                    if is_ahead {
                        let anchor = Anchor {
                            sequence: at.sequence,
                            message_id: id,
                        };
                        self.origins.insert(region.clone(), (at.life, anchor));
                        let floor = self.floors.entry(region.clone()).or_default();
                        *floor = position.admission_floor.bits().max(*floor);
                        self.gaps.insert(region.clone());
                    }
                    if is_ahead || is_same {
                        heals.insert(region.clone());
                    }
                }
                self.syncing = Some((record.message_id, 0, heals));
                true
            }
            SyncStep::Cells { number, .. } => match &mut self.syncing {
                Some((begun, records, _)) if *begun == record.begun && records == number => {
                    *records += 1;
                    true
                }
                _ => false,
            },
            SyncStep::End { records, all_members } => {
                let is_this = |(begun, count, _): &(MessageId, u32, BTreeSet<RegionName>)| {
                    *begun == record.begun && count == records
                };
                if !self.syncing.as_ref().is_some_and(is_this) {
                    return false;
                }
                let (.., heals) = self.syncing.take().unwrap_or_default();
                self.gaps.retain(|region| !heals.contains(region));
                self.lost_before &= !all_members;
                true
            }
        }
    }

    /// Design.md section 10, the pairwise rule.
    pub(super) fn take_cells(&mut self, message: &StoredMessage, source: SourceFloors) {
        let Ok(body) = SyncBody::decode(&message.body) else {
            let text = format!("the cells of {:?} can't be read", message.sequence);
            return self.broken.push(text);
        };
        let knows_deletes = source.floor.bits() >= self.collected;
        for (id, held) in body.rows {
            let op = match held.cell.content {
                Content::Value { bytes, content_type } => Op::Put {
                    value: bytes,
                    content_type,
                },
                Content::Tombstone => Op::Delete,
                Content::Swept(_) => {
                    let text = format!("{:?} brings a swept cell", message.sequence);
                    self.broken.push(text);
                    continue;
                }
            };
            let change = Change {
                id,
                version: held.cell.version,
                seen: held.cell.seen,
                expires_at: held.cell.expires_at,
                op,
                trace: None,
            };
            self.merge(change, false, knows_deletes);
        }
        let least = self.least_floor();
        for lacked in body.lacked {
            let is_held = self
                .cells
                .get(&lacked.id)
                .is_some_and(|held| held.version == lacked.version);
            let may_be_gone = lacked.version.hlc <= source.collected && least < source.collected.bits();
            if is_held && may_be_gone {
                self.cells.remove(&lacked.id);
                self.seen.remove(&lacked.id);
            }
        }
    }
}

/// The floors of a sync's source, if the message is one of its records with cells.
pub(super) fn floors_of(message: &StoredMessage) -> Option<SourceFloors> {
    match &message.header.as_ref().ok()?.record {
        Record::Sync(record) => match record.step {
            SyncStep::Cells { floors, .. } => Some(floors),
            SyncStep::Begin { .. } | SyncStep::End { .. } => None,
        },
        _ => None,
    }
}
