//! Syncs: how a log takes what another region's store has (docs/decisions/0024-sync.md).

use super::{Accepted, Fold, Local, MessageId, Origin, RegionName, Void, Wall};
use crate::header::{SourcePosition, SyncRecord, SyncStep};

/// The sync that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Syncing {
    /// The message that began it.
    pub begun: MessageId,
    /// The region whose store is compared.
    pub source: RegionName,
    /// Records with cells so far.
    pub records: u32,
    /// The regions of which nothing is missing any more once it ends.
    pub heals: Vec<RegionName>,
}

impl Fold {
    /// The message that began the sync that is under way.
    #[must_use]
    pub fn syncing(&self) -> Option<MessageId> {
        self.syncing.as_ref().map(|syncing| syncing.begun)
    }

    /// The source of the sync that is under way.
    #[must_use]
    pub fn sync_source(&self) -> Option<&RegionName> {
        self.syncing.as_ref().map(|syncing| &syncing.source)
    }

    pub(super) fn sync(&mut self, record: &SyncRecord, timestamp: Wall) -> Result<Accepted, Void> {
        if self.lineage.current() != Some(record.life) {
            return Err(Void::LifeNotCurrent);
        }
        if let SyncStep::Begin {
            writer,
            hlc,
            source,
            positions,
        } = &record.step
        {
            let local = Local {
                message_id: record.message_id,
                writer: *writer,
                lowest_stamp: *hlc,
                highest_stamp: *hlc,
            };
            self.local(&local, timestamp)?;
            let mut heals = Vec::new();
            for position in positions {
                if position.region != self.log.region && self.move_to(position) {
                    heals.push(position.region.clone());
                }
            }
            self.syncing = Some(Box::new(Syncing {
                begun: record.message_id,
                source: source.clone(),
                records: 0,
                heals,
            }));
            return Ok(Accepted::Sync(record.clone()));
        }
        let current = self.syncing.as_mut();
        let current = current.filter(|syncing| syncing.begun == record.begun);
        let syncing = current.ok_or(Void::NotNextOfSync)?;
        match record.step {
            SyncStep::Cells { number, .. } if number == syncing.records => syncing.records += 1,
            SyncStep::End { records, all_members } if records == syncing.records => {
                self.end_sync(all_members)
            }
            _ => return Err(Void::NotNextOfSync),
        }
        Ok(Accepted::Sync(record.clone()))
    }

    /// Moves the cursor of a region's log to the source's, if that is ahead. Returns whether the
    /// source had included everything through the cursor that is held now.
    fn move_to(&mut self, position: &SourcePosition) -> bool {
        let held = self.origins.get(&position.region);
        if let Some(held) = held {
            let (here, there) = (held.cursor, position.cursor);
            if here == there {
                return true;
            }
            let (life, newer) = (here.position.life, there.position.life);
            let is_ahead = match newer == life {
                true => there.position.sequence > here.position.sequence,
                false => newer.number > life.number,
            };
            if !is_ahead {
                return false;
            }
        }
        let origin = Origin {
            cursor: position.cursor,
            lineage: position.lineage.clone(),
            highest_stamp: held.map_or(position.highest_stamp, |held| {
                held.highest_stamp.max(position.highest_stamp)
            }),
            admission_floor: held.map_or(position.admission_floor, |held| {
                held.admission_floor.max(position.admission_floor)
            }),
            appended: position.appended,
            whole: held.and_then(|held| held.whole),
        };
        self.origins.insert(position.region.clone(), origin);
        true
    }

    fn end_sync(&mut self, all_members: bool) {
        let ended = self.syncing.take().into_iter();
        for region in ended.flat_map(|syncing| syncing.heals) {
            if let Some(origin) = self.origins.get_mut(&region) {
                origin.whole = Some(origin.cursor);
            }
        }
        self.lost_before &= !all_members;
    }
}
