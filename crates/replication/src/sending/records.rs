//! The log's messages that a cursor of the peer may name, so that it can be checked without reading
//! them again.

use std::collections::VecDeque;

use crate::coordinates::{Anchor, Sequence};
use crate::limits;

/// Records read above the peer's cursor, and the ends of the ranges under way.
///
/// Invariant: both are in the log's order.
#[derive(Debug, Default)]
pub(super) struct Records {
    read: VecDeque<Anchor>,
    sent: VecDeque<Anchor>,
}

impl Records {
    /// A record with an own stamp was read. Beyond [`limits::LANE_RECORDS`] records, the oldest is
    /// forgotten.
    pub(super) fn add_read(&mut self, record: Anchor) {
        if self.read.len() == limits::LANE_RECORDS {
            self.read.pop_front();
        }
        self.read.push_back(record);
    }

    /// A range that ends at `end` was sent. Credit bounds how many are under way.
    pub(super) fn add_sent(&mut self, end: Anchor) {
        self.sent.push_back(end);
    }

    /// The record at `sequence`, if it is known.
    pub(super) fn find(&self, sequence: Sequence) -> Option<Anchor> {
        let of = |records: &VecDeque<Anchor>| {
            let found = records.binary_search_by_key(&sequence, |record| record.sequence);
            found.ok().map(|at| records[at])
        };
        of(&self.read).or_else(|| of(&self.sent))
    }

    /// The peer has everything through `sequence`.
    pub(super) fn forget_through(&mut self, sequence: Sequence) {
        for records in [&mut self.read, &mut self.sent] {
            while records
                .pop_front_if(|record| record.sequence <= sequence)
                .is_some()
            {}
        }
    }

    pub(super) fn clear(&mut self) {
        self.read.clear();
        self.sent.clear();
    }
}
