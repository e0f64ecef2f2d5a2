//! The results of comparing one shard with one peer region, over time.

use std::time::Duration;

use super::{PARTS, Sample, compare};
use crate::reminder::Reminder;
use crate::time::Mono;

/// A part counts as differing only once it has been found different for this long.
pub(super) const HOLD: Duration = Duration::from_secs(30);
/// A part counts as differing only once it has been found different this often in a row.
const TIMES: u32 = 3;
/// How often a difference that lasts is reported again.
const REPORTED_EVERY: Duration = Duration::from_secs(3600);

/// The results for one part.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// When it was last compared.
    compared: Option<Mono>,
    differs: Option<Differs>,
}

#[derive(Debug, Clone, Copy)]
struct Differs {
    since: Mono,
    times: u32,
}

/// The results of comparing one shard with one peer.
#[derive(Debug)]
pub struct Agreement {
    began: Mono,
    parts: Box<[Part; PARTS]>,
    reminder: Reminder,
}

/// The results at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The number of parts that differ.
    pub differing: usize,
    /// Every part was compared within this time. A part that was never compared counts from the
    /// start.
    pub compared_within: Duration,
    /// Whether every part was compared at least once.
    pub all_compared: bool,
}

/// What to report to operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The regions differ, or still do.
    Differ {
        /// The number of parts that differ, of [`PARTS`].
        parts: usize,
    },
    /// They no longer differ.
    Agree,
}

impl Agreement {
    /// No comparison yet.
    #[must_use]
    pub fn new(now: Mono) -> Self {
        let part = Part {
            compared: None,
            differs: None,
        };
        Self {
            began: now,
            parts: Box::new([part; PARTS]),
            reminder: Reminder::every(REPORTED_EVERY),
        }
    }

    /// Compares a peer's sample with each of this region's newest samples, newest last. Returns
    /// what to report.
    pub fn note<'a>(
        &mut self,
        now: Mono,
        ours: impl IntoIterator<Item = &'a Sample>,
        theirs: &Sample,
    ) -> Option<News> {
        let mut equal = [None; PARTS];
        for ours in ours {
            let compared = compare(ours, theirs);
            for (known, found) in equal.iter_mut().zip(compared) {
                *known = found.or(*known);
            }
        }
        for (part, equal) in self.parts.iter_mut().zip(equal) {
            part.note(now, equal);
        }
        self.news(now)
    }

    fn news(&mut self, now: Mono) -> Option<News> {
        let parts = self.found(now).differing;
        let over = !self.parts.iter().any(|part| part.differs.is_some());
        match parts {
            0 if over => self.reminder.end().then_some(News::Agree),
            0 => None,
            parts => self.reminder.take(now).then_some(News::Differ { parts }),
        }
    }

    /// The results at `now`.
    #[must_use]
    pub fn found(&self, now: Mono) -> Found {
        let ages = self.parts.iter().map(|part| part.compared.unwrap_or(self.began));
        let oldest = ages.min().unwrap_or(self.began);
        Found {
            differing: self.parts.iter().filter(|part| part.has_lasted()).count(),
            compared_within: now.since(oldest),
            all_compared: self.parts.iter().all(|part| part.compared.is_some()),
        }
    }
}

impl Part {
    fn note(&mut self, now: Mono, equal: Option<bool>) {
        let Some(equal) = equal else { return };
        self.compared = Some(now);
        self.differs = (!equal).then(|| match self.differs {
            Some(held) => Differs {
                times: held.times.saturating_add(1),
                ..held
            },
            None => Differs { since: now, times: 1 },
        });
    }

    /// Whether it has differed for long enough to be reported. A part that was found different
    /// counts as different until it is found equal.
    fn has_lasted(&self) -> bool {
        self.differs
            .zip(self.compared)
            .is_some_and(|(differs, compared)| {
                compared.since(differs.since) >= HOLD && differs.times >= TIMES
            })
    }
}
