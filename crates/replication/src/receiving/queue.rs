//! The ranges that a receiving lane holds: taken from the link, not yet read back from the log.
//!
//! Appends are pipelined. An append that is lost or overtaken makes all later ones void. Each of
//! them is then appended again, but only once the range before it has been appended more recently;
//! otherwise it would be void again.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::fold::LogName;
use crate::header::{BodySeal, Header, Range, Record, StageTimes};
use crate::limits;
use crate::time::{Mono, Now, Wall};

/// Identifies one append of one range in its reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub(super) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Not appended yet.
    Waiting,
    /// Appended, not read back; appended again at this time.
    UnderWay(Mono),
    /// To be appended again, not before this time.
    Again(Mono),
}

/// A range that is held.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// The range as it arrived.
    pub range: Range,
    pub seal: BodySeal,
    /// Its stage times, including those of this gateway.
    pub stages: StageTimes,
    /// The body to append.
    pub body: Bytes,
    /// Whether a gap replaces the body: the cursor moves, and the region needs a sync for the
    /// missing changes.
    pub gap: bool,
    cost: u64,
    progress: Progress,
    appended: u64,
    waits: Duration,
    pause: Duration,
}

impl Held {
    /// Creates a range that takes `cost` of the window.
    pub(super) fn new(range: Range, seal: BodySeal, stages: StageTimes, body: Bytes, cost: u64) -> Self {
        Self {
            range,
            seal,
            stages,
            body,
            gap: false,
            cost,
            progress: Progress::Waiting,
            appended: 0,
            waits: limits::READ_BACK,
            pause: Duration::ZERO,
        }
    }

    /// Replaces the body by a gap and returns the body.
    pub(super) fn become_gap(&mut self) -> Bytes {
        self.gap = true;
        self.seal = BodySeal::of(&[], 0);
        std::mem::take(&mut self.body)
    }

    /// The header to append to `log`; the same each time.
    pub(super) fn header(&self, log: &LogName) -> Header {
        let range = self.range.clone();
        Header {
            set: log.set.clone(),
            shard: log.shard.clone(),
            record: match self.gap {
                true => Record::Gap(range),
                false => Record::Range(range),
            },
            body: self.seal,
            stages: self.stages,
        }
    }

    fn is_allowed(&self, clock: Wall) -> bool {
        self.range.highest_stamp.millis() <= clock.millis()
    }
}

/// The held ranges, in order of arrival: each begins where the previous one ended.
///
/// Invariant: a range is appended again only after the one before it was. No range with stamps
/// ahead of the clock is appended, nor any range behind it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    held: VecDeque<Held>,
    bytes: u64,
    numbered: u64,
}

impl Queue {
    pub(super) fn push(&mut self, held: Held) {
        self.bytes += held.cost;
        self.held.push_back(held);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn first(&self) -> Option<&Held> {
        self.held.front()
    }

    pub(super) fn last(&self) -> Option<&Held> {
        self.held.back()
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    /// Drops the first range.
    pub(super) fn pop(&mut self) {
        if let Some(held) = self.held.pop_front() {
            self.bytes -= held.cost;
        }
    }

    /// The next range to append, among the first `most` held and with stamps at or before
    /// `now.wall`. It is in flight from now on.
    pub(super) fn begin_append(&mut self, now: Now, most: usize) -> Option<(AppendId, &Held)> {
        let at = self
            .candidates(now.wall, most)
            .find(|(_, due)| *due <= now.mono)?
            .0;
        let held = self.held.get_mut(at)?;
        self.numbered += 1;
        if held.appended > 0 {
            held.waits = (held.waits * 2).min(limits::READ_BACK_MOST);
        }
        held.appended = self.numbered;
        held.progress = Progress::UnderWay(now.mono.after(held.waits));
        Some((AppendId(self.numbered), held))
    }

    /// When the next append is due.
    pub(super) fn due(&self, clock: Wall, most: usize) -> Option<Mono> {
        self.candidates(clock, most).map(|(_, due)| due).min()
    }

    /// The ranges that may be appended, and from when on. The previous range must have been
    /// appended more recently than this one.
    fn candidates(&self, clock: Wall, most: usize) -> impl Iterator<Item = (usize, Mono)> {
        let mut before = Some(u64::MAX);
        let allowed = self
            .held
            .iter()
            .take(most)
            .take_while(move |held| held.is_allowed(clock));
        allowed
            .enumerate()
            .map_while(move |(at, held)| {
                let after = before? > held.appended;
                let (due, under_way) = match held.progress {
                    Progress::Waiting => (Mono::default(), false),
                    Progress::Again(due) => (due, false),
                    Progress::UnderWay(due) => (due, true),
                };
                before = under_way.then_some(held.appended);
                Some(after.then_some((at, due)))
            })
            .flatten()
    }

    /// The first range whose stamps are ahead of `clock`.
    pub(super) fn ahead(&self, clock: Wall) -> Option<&Held> {
        self.held.iter().find(|held| !held.is_allowed(clock))
    }

    /// A range was read back as void: it is to be appended again, immediately the first time and
    /// with growing pauses after that.
    pub(super) fn repeat_void(&mut self, now: Mono, range: &Range) {
        let of = |held: &&mut Held| held.range.first == range.first && held.range.through == range.through;
        if let Some(held) = self.held.iter_mut().find(of)
            && matches!(held.progress, Progress::UnderWay(_))
        {
            held.progress = Progress::Again(now.after(held.pause));
            held.pause = (held.pause * 2).clamp(limits::APPEND_RETRY / 8, limits::READ_BACK_MOST);
        }
    }

    /// An append failed: the range is to be appended again after `pause`. None if it is not held or
    /// was appended since.
    pub(super) fn repeat_failed(&mut self, now: Mono, id: AppendId, pause: Duration) -> Option<&mut Held> {
        let held = self.held.iter_mut().find(|held| held.appended == id.0)?;
        held.progress = Progress::Again(now.after(pause));
        Some(held)
    }
}
