//! What a lane that is behind leaves out must make no difference: its ranges overwrite the same
//! writes of other regions unseen as all messages of the origin's log would.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_log::StoredMessage;
use isthmus_replication::body;
use isthmus_replication::cell::CellId;
use isthmus_replication::change::Change;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::header::{Range, Record};
use isthmus_replication::names::RegionName;
use isthmus_replication::version::Version;

use super::{LogId, Oracle};
use crate::reference::Held;

impl Oracle {
    /// Compares a range that comes next with the messages it stands for, if the origin's log still
    /// has them.
    pub(super) fn judge_conflation(&mut self, id: &LogId, message: &StoredMessage) {
        let Ok(header) = &message.header else { return };
        let Record::Range(range) = &header.record else {
            return;
        };
        let Some((cells, full)) = self.stands_for(id, range) else {
            return;
        };
        let brought = changes(&range.origin, message);
        let left_out = brought.len() < full.len();
        let (found, wanted) = (
            overwritten(cells, &range.origin, &brought),
            overwritten(cells, &range.origin, &full),
        );
        self.conflated += u64::from(left_out);
        if found != wanted {
            self.violated(format!(
                "range {} to {} of {} overwrites {found:?} unseen, and the messages that it stands for {wanted:?}",
                range.first, range.through.sequence, range.origin
            ));
        }
    }

    /// The cells of the log, and all changes of the messages that a range stands for, if the range
    /// comes next.
    fn stands_for(
        &self,
        (site, shard): &LogId,
        range: &Range,
    ) -> Option<(&BTreeMap<CellId, Held>, Vec<Change>)> {
        let log = self.logs.get(&(*site, shard.clone()))?;
        if !log.reference.comes_next(range) {
            return None;
        }
        let mut logs = self.logs.iter();
        let (_, origin) =
            logs.find(|((_, of), log)| of == shard && *log.reference.region() == range.origin)?;
        let is_there = |sequence: Sequence, message_id| {
            sequence == Sequence::NONE
                || origin
                    .reference
                    .after(sequence)
                    .is_some_and(|after| after.anchor.message_id == message_id)
        };
        let before = Sequence(range.first.0.checked_sub(1)?);
        if !is_there(before, range.previous) || !is_there(range.through.sequence, range.through.message_id) {
            return None;
        }
        let places = range.first.0..=range.through.sequence.0;
        let full = places.filter_map(|at| {
            let after = origin.reference.after(Sequence(at))?;
            let message = origin.stored.get(usize::try_from(at).ok()?.checked_sub(1)?)?;
            let own = after
                .versions
                .iter()
                .any(|(_, version)| version.region == range.origin);
            own.then(|| changes(&range.origin, message))
        });
        Some((&log.reference.cells, full.flatten().collect()))
    }
}

fn changes(origin: &RegionName, message: &StoredMessage) -> Vec<Change> {
    let codec = message.header.as_ref().map(|header| header.body.codec);
    codec
        .ok()
        .and_then(|codec| body::open(codec, origin, message.body.clone()).ok())
        .unwrap_or_default()
}

/// The writes of other regions than `origin` that `changes`, applied in order, overwrite without
/// having seen them.
fn overwritten(
    cells: &BTreeMap<CellId, Held>,
    origin: &RegionName,
    changes: &[Change],
) -> BTreeSet<(CellId, Version)> {
    let mut newest: BTreeMap<&CellId, &Version> = BTreeMap::new();
    let mut unseen = BTreeSet::new();
    for change in changes {
        let before = newest.get(&change.id).copied();
        let held = before.or_else(|| cells.get(&change.id).map(|held| &held.version));
        if let Some(held) = held.filter(|held| **held < change.version)
            && held.region != *origin
            && !change.seen.covers(held)
        {
            unseen.insert((change.id.clone(), held.clone()));
        }
        if held.is_none_or(|held| *held < change.version) {
            newest.insert(&change.id, &change.version);
        }
    }
    unseen
}
