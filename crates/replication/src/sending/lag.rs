//! The lag that the origin sees (design.md section 11), on the clock of its own log.
//!
//! It is the age of the oldest own record that the peer has not reported applied. It is also at
//! least the time since the newest reported one was appended, minus the interval of marks: by then
//! another mark should have been appended and applied. The second part needs no reader, so the lag
//! grows whichever part of the path has stopped. A lane without a reader learns of new records from
//! the reader at the log's head, so its lag is never 0 while data waits.

use std::collections::VecDeque;
use std::time::Duration;

use crate::coordinates::Sequence;
use crate::limits;
use crate::time::Wall;

/// How far behind a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginLag {
    /// The lag is at least this.
    pub at_least: Duration,
    /// Whether `at_least` is the whole lag. False until the peer has reported a position that this
    /// process has read itself.
    pub proven: bool,
    /// How long the peer has reported no progress.
    pub still: Duration,
}

/// A lane's knowledge of its peer's lag. The lag at any moment is computed from it, so that a query
/// gets the value of its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LagRecord {
    since: Option<Wall>,
    oldest: Option<Wall>,
    applied: Option<Wall>,
    advanced: Option<Wall>,
    covered: bool,
}

impl LagRecord {
    /// The lag at `now` by this region's log clock; grows while no report comes.
    #[must_use]
    pub fn at(&self, now: Wall) -> OriginLag {
        let waited = self
            .oldest
            .map(|appended| now.since(appended).max(Duration::from_micros(1)));
        let quiet = match self.applied {
            Some(applied) => now.since(applied).saturating_sub(limits::MARK_INTERVAL),
            None => self.since.map_or(Duration::ZERO, |since| now.since(since)),
        };
        let still = self.advanced.or(self.since);
        OriginLag {
            at_least: waited.unwrap_or_default().max(quiet),
            proven: self.applied.is_some() && self.covered,
            still: still.map_or(Duration::ZERO, |at| now.since(at)),
        }
    }
}

/// The own records that the peer has not reported applied.
///
/// Invariant: the records are in the log's order and above `applied_through`. When there are more
/// than [`limits::LAG_ENTRIES`], one entry represents several and has the age of the oldest, so the
/// lag is never too small.
#[derive(Debug)]
pub(super) struct Unapplied {
    since: Option<Wall>,
    records: VecDeque<(Sequence, Wall)>,
    applied: Option<Wall>,
    applied_through: Sequence,
    advanced: Option<Wall>,
    read_from: Option<Sequence>,
}

impl Unapplied {
    pub(super) fn new() -> Self {
        Self {
            since: None,
            records: VecDeque::new(),
            applied: None,
            applied_through: Sequence::NONE,
            advanced: None,
            read_from: None,
        }
    }

    /// The lane exists since `now`; nothing else is known until the peer reports.
    pub(super) fn begin(&mut self, now: Wall) {
        self.since.get_or_insert(now);
    }

    /// A reader starts after `at`, where the newest own record was appended at `appended`.
    pub(super) fn handle_reader_started(&mut self, at: Sequence, appended: Wall) {
        let last = self
            .records
            .back()
            .map_or(self.applied_through, |(last, _)| *last);
        if self.read_from.is_none() || at > last {
            self.read_from = Some(at);
        }
        if at <= self.applied_through && at > Sequence::NONE {
            self.applied = Some(self.applied.unwrap_or_default().max(appended));
        }
    }

    /// Sequences above `shared` belong to a life that ended.
    pub(super) fn forget_after(&mut self, shared: Sequence) {
        self.records.retain(|(sequence, _)| *sequence <= shared);
        self.applied_through = self.applied_through.min(shared);
    }

    /// The record at `sequence` carries an own stamp and was appended at `appended`.
    pub(super) fn add(&mut self, sequence: Sequence, appended: Wall) {
        if sequence <= self.applied_through {
            self.applied = Some(self.applied.unwrap_or_default().max(appended));
            return;
        }
        // A reader that starts again passes records that were read before, and records that were
        // stored before the previous reader started.
        let full = self.records.len() >= limits::LAG_ENTRIES;
        let at = self.records.partition_point(|(held, _)| *held < sequence);
        match self.records.get_mut(at) {
            Some((held, _)) if *held == sequence => {}
            Some((_, since)) if full => *since = appended.min(*since),
            Some(_) => self.records.insert(at, (sequence, appended)),
            None if full => {
                // The last entry represents all later records.
                if let Some((last, _)) = self.records.back_mut() {
                    *last = sequence;
                }
            }
            None => self.records.push_back((sequence, appended)),
        }
    }

    /// The peer's agents have applied through `sequence`, as the peer reported at `now`.
    pub(super) fn handle_applied(&mut self, now: Wall, sequence: Sequence) {
        if sequence > self.applied_through {
            (self.applied_through, self.advanced) = (sequence, Some(now));
        }
        while let Some((_, appended)) = self.records.pop_front_if(|(record, _)| *record <= sequence) {
            self.applied = Some(self.applied.unwrap_or_default().max(appended));
        }
    }

    pub(super) fn record(&self) -> LagRecord {
        LagRecord {
            since: self.since,
            oldest: self.records.front().map(|(_, appended)| *appended),
            applied: self.applied,
            advanced: self.advanced,
            covered: self.read_from.is_some_and(|from| from <= self.applied_through),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// A reader reads this many records from a sequence on: (first, count).
        Read(u64, u64),
        /// The peer reports.
        Applied(u64),
    }

    /// When the record at a sequence was appended.
    fn appended(sequence: u64) -> Wall {
        Wall::from_millis(1_000 + sequence * 10)
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..60_u64, 1..20_u64).prop_map(|(from, count)| Step::Read(from, count)),
            (0..80_u64).prop_map(Step::Applied),
        ]
    }

    proptest! {
        #[test]
        fn the_oldest_unapplied_is_known_wherever_readers_begin(
            steps in prop::collection::vec(step(), 1..40),
        ) {
            let (mut unapplied, mut read, mut through) = (Unapplied::new(), BTreeSet::new(), 0);
            for step in steps {
                match step {
                    Step::Read(from, count) => {
                        for sequence in from..from + count {
                            unapplied.add(Sequence(sequence), appended(sequence));
                            read.insert(sequence);
                        }
                    }
                    Step::Applied(sequence) => {
                        unapplied.handle_applied(Wall::from_millis(9_000), Sequence(sequence));
                        through = through.max(sequence);
                    }
                }
                let oldest = read.range(through + 1..).next().map(|sequence| appended(*sequence));
                prop_assert_eq!(unapplied.record().oldest, oldest);
            }
        }
    }

    #[test]
    fn more_than_is_kept_is_shown_too_old_and_never_too_new() {
        let (mut unapplied, most) = (Unapplied::new(), limits::LAG_ENTRIES as u64);
        let from = 10;
        for sequence in from..from + 2 * most {
            unapplied.add(Sequence(sequence), appended(sequence));
        }
        unapplied.add(Sequence(3), appended(3));
        assert_eq!(unapplied.record().oldest, Some(appended(3)));
        assert!(unapplied.records.len() <= limits::LAG_ENTRIES);
        for through in 3..from + 2 * most {
            unapplied.handle_applied(Wall::from_millis(9_000), Sequence(through));
            let oldest = unapplied.record().oldest;
            let truth = (through + 1 < from + 2 * most).then(|| appended(from.max(through + 1)));
            assert!(
                oldest.is_some() == truth.is_some() && oldest <= truth,
                "{through}: {oldest:?}"
            );
        }
    }
}
