//! The window of a lane that is behind: it keeps only the changes of each cell that the peer needs.
//!
//! Problem: a key that is written a thousand times a second would travel a thousand times, although
//! only its newest write stays.
//!
//! Sketch: the changes of consecutive messages go through the window in the log's order. A change
//! that is superseded within the window is left out, and what it had seen is joined into the change
//! that stays.
//!
//! Invariant: compare a store that applies the survivors with one that applies all changes,
//! whatever both held before and receive afterwards. Both end with the same cells and report the
//! same conflicts of other regions' writes. Of writes of the log's own region, the first reports no
//! more conflicts than the second.
//!
//! Failure case: a change must not replace the one before it if it has seen a newer write of
//! another region. Otherwise a write that the earlier change overwrote unseen would count as seen.
//! Both travel. The reasons are in docs/decisions/0011.
//!
//! The survivors are copied out of their messages, so that a window takes only their memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::body;
use crate::cell::Field;
use crate::change::{Change, Op};
use crate::limits;
use crate::names::{BucketName, Key, RegionName};
use crate::planted::{self, Planted};
use crate::seen::{Seen, Stamp};

#[cfg(test)]
mod tests;

/// The survivors of consecutive messages, in the log's order.
#[derive(Debug, Default)]
pub(crate) struct Window {
    changes: BTreeMap<u64, Change>,
    newest: BTreeMap<(BucketName, Key), Newest>,
    numbered: u64,
    bytes: usize,
    left_out: u64,
}

/// The changes of one key that a later one may replace, by number.
#[derive(Debug, Default)]
struct Newest {
    key: Option<u64>,
    fields: BTreeMap<Field, u64>,
}

/// Where a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is left out.
    Nowhere,
    /// It replaces that change.
    InsteadOf(u64),
    /// It travels beside the held changes.
    Beside,
}

impl Window {
    /// Creates the window of one message's changes.
    #[must_use]
    pub(crate) fn of(changes: Vec<Change>) -> Self {
        let mut window = Self::default();
        changes.into_iter().for_each(|change| window.take(change));
        window
    }

    /// An upper bound of the bytes of the resulting body.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many changes were left out.
    #[must_use]
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whether this window and `next` fit into one message.
    #[must_use]
    pub(crate) fn has_room_for(&self, next: &Self) -> bool {
        let mut keys = BTreeSet::new();
        let (mut bytes, mut changes) = (self.bytes, self.changes.len());
        for change in next.changes.values() {
            let first = keys.insert((&change.id.bucket, &change.id.key));
            match self.place(change) {
                Place::Nowhere if first => {}
                Place::InsteadOf(held) if first => {
                    bytes = bytes + weight(change) - self.changes.get(&held).map_or(0, weight);
                }
                _ => (bytes, changes) = (bytes + weight(change), changes + 1),
            }
        }
        self.changes.is_empty() || (bytes <= limits::MESSAGE_BODY_BYTES && changes <= limits::MESSAGE_CHANGES)
    }

    /// Whether nothing more should be added.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= limits::MESSAGE_BODY_BYTES || self.changes.len() >= limits::MESSAGE_CHANGES
    }

    /// Adds the window that follows this one.
    pub(crate) fn append(&mut self, next: Self) {
        self.left_out += next.left_out;
        next.changes.into_values().for_each(|change| self.take(change));
    }

    /// The body of the survivors, and their number.
    #[must_use]
    pub(crate) fn into_body(self, region: &RegionName) -> (Bytes, u32) {
        let changes: Vec<Change> = self.changes.into_values().collect();
        let number = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        (body::encode(region, &changes), number)
    }

    fn take(&mut self, change: Change) {
        match self.place(&change) {
            Place::Nowhere => self.left_out += 1,
            Place::Beside => self.hold(change),
            Place::InsteadOf(number) => {
                let mut change = change;
                if let Some(held) = self.changes.remove(&number) {
                    self.bytes -= weight(&held);
                    self.left_out += 1;
                    if planted::is(Planted::SeenDropped) {
                        change.seen = Seen::default();
                    } else {
                        change.seen.join(&held.seen);
                    }
                }
                self.hold(change);
            }
        }
    }

    fn place(&self, change: &Change) -> Place {
        let Some((number, held)) = self.held(change) else {
            return Place::Beside;
        };
        if change.version < held.version {
            return Place::Nowhere;
        }
        let same = change.op == held.op && change.expires_at == held.expires_at;
        let newer = change.version > held.version || same;
        if newer && seen_alike(change, held) {
            Place::InsteadOf(number)
        } else {
            Place::Beside
        }
    }

    fn held(&self, change: &Change) -> Option<(u64, &Change)> {
        let key = (change.id.bucket.clone(), change.id.key.clone());
        let newest = self.newest.get(&key)?;
        let number = if change.id.field.is_none() {
            newest.key
        } else {
            newest.fields.get(&change.id.field).copied()
        }?;
        Some((number, self.changes.get(&number)?))
    }

    fn hold(&mut self, change: Change) {
        self.numbered += 1;
        let change = detached(change);
        let key = (change.id.bucket.clone(), change.id.key.clone());
        let newest = self.newest.entry(key).or_default();
        if change.id.field.is_none() {
            newest.fields.clear();
            newest.key = Some(self.numbered);
        } else {
            newest.key = None;
            newest.fields.insert(change.id.field.clone(), self.numbered);
        }
        self.bytes += weight(&change);
        self.changes.insert(self.numbered, change);
    }
}

/// Whether two changes of one region have seen the same versions of every other region.
fn seen_alike(a: &Change, b: &Change) -> bool {
    fn others(change: &Change) -> impl Iterator<Item = (&RegionName, Stamp)> {
        let own = &change.version.region;
        change.seen.iter().filter(move |(region, _)| *region != own)
    }
    others(a).eq(others(b)) || planted::is(Planted::SeenDropped)
}

/// An upper bound of the bytes of a change in a body, with room for one more entry of `seen` from
/// the changes that it replaces.
fn weight(change: &Change) -> usize {
    body::size_bound(&change.id, &change.op, change.seen.iter().len() + 1)
}

/// Copies a change, so that it keeps no memory of its message.
fn detached(mut change: Change) -> Change {
    if let Op::Put { value, .. } = &mut change.op {
        *value = Bytes::copy_from_slice(value);
    }
    if let Some(field) = Field::new(Bytes::copy_from_slice(change.id.field.bytes())) {
        change.id.field = field;
    }
    change
}
