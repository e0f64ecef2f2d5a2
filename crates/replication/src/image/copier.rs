//! The agent that copies an image: which source it asks, for what, and when.

use std::collections::VecDeque;
use std::time::Duration;

use super::codec::{InvalidPart, Part};
use super::{Head, Image, PartRequest, Progress};
use crate::cell::CellId;
use crate::coordinates::Anchor;
use crate::fold::LogName;
use crate::hlc::Hlc;
use crate::names::ProcessName;
use crate::store::Store;
use crate::time::Mono;

/// Sources are asked again this long after none of them had an image.
const AGAIN: Duration = Duration::from_secs(1);
/// A source that leaves this many requests in a row unanswered is given up.
const UNANSWERED: u32 = 3;

/// A request for the shell to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The agent to ask.
    pub source: ProcessName,
    /// What to ask it.
    pub request: PartRequest,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartAnswer<'a> {
    /// These bytes.
    Part(&'a [u8]),
    /// Nobody listens there.
    NoResponders,
    /// Nothing, within [`super::ANSWER`].
    Unanswered,
}

/// What an operator should know about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A source has begun to send its store, of about this many cells.
    Began {
        /// The source.
        source: ProcessName,
        /// About how many cells there are.
        cells: u64,
    },
    /// A copy that had begun ended early; it begins again.
    Interrupted {
        /// The source.
        source: ProcessName,
        /// Why.
        reason: String,
    },
    /// A source sent what was not asked for. Nothing of it is used.
    Violation {
        /// The source.
        source: ProcessName,
        /// What was wrong.
        invalid: InvalidPart,
    },
}

/// Copies the store of one of the region's agents. A pure machine: the shell polls a request, sends
/// it, and passes the answer in. One request is under way at a time.
#[derive(Debug)]
pub struct Copier {
    log: LogName,
    /// Bytes per second.
    rate: u64,
    /// The source of the request that is under way.
    asked: Option<ProcessName>,
    /// Sources that had no image since the last wait.
    refused: Vec<ProcessName>,
    unanswered: u32,
    ask_from: Mono,
    copy: Option<Copy>,
    whole: Option<Image>,
    events: VecDeque<Event>,
}

/// A copy that has begun.
#[derive(Debug)]
struct Copy {
    source: ProcessName,
    head: Head,
    store: Store,
    through: Anchor,
    after: Option<CellId>,
}

impl Copier {
    /// A machine that copies the store of `log`, and receives at most `rate` bytes per second.
    #[must_use]
    pub fn new(log: LogName, rate: u64) -> Self {
        Self {
            log,
            rate,
            asked: None,
            refused: Vec::new(),
            unanswered: 0,
            ask_from: Mono::default(),
            copy: None,
            whole: None,
            events: VecDeque::new(),
        }
    }

    /// Output: the next request, if one is due. `sources` are the other live agents of the region.
    pub fn poll_request(&mut self, now: Mono, sources: &[ProcessName]) -> Option<Request> {
        if self.asked.is_some() || self.whole.is_some() || now < self.ask_from {
            return None;
        }
        let source = match &self.copy {
            Some(copy) => copy.source.clone(),
            None => self.next_source(now, sources)?,
        };
        self.asked = Some(source.clone());
        let copy = self.copy.as_ref();
        let request = PartRequest {
            shard: self.log.shard.clone(),
            begun: copy.map(|copy| copy.head.history),
            after: copy.and_then(|copy| copy.after.clone()),
            floor: copy.map_or(Hlc::ZERO, |copy| copy.head.fold.collected()),
        };
        Some(Request { source, request })
    }

    /// The first source that has not refused yet. When all have, they are asked again later.
    fn next_source(&mut self, now: Mono, sources: &[ProcessName]) -> Option<ProcessName> {
        let next = sources.iter().find(|source| !self.refused.contains(source));
        if next.is_none() {
            self.refused.clear();
            self.ask_from = now.after(AGAIN);
        }
        next.cloned()
    }

    /// Output: when [`Copier::poll_request`] may have a request.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        (self.asked.is_none() && self.whole.is_none()).then_some(self.ask_from)
    }

    /// Input: what came of the request that was polled last.
    pub fn handle_answer(&mut self, now: Mono, answer: PartAnswer<'_>) {
        let Some(source) = self.asked.take() else {
            return;
        };
        let bytes = match answer {
            PartAnswer::Part(bytes) => bytes,
            PartAnswer::NoResponders => return self.give_up(source, "it is gone"),
            PartAnswer::Unanswered => {
                self.unanswered += 1;
                if self.unanswered >= UNANSWERED {
                    self.give_up(source, "it does not answer");
                }
                return;
            }
        };
        self.unanswered = 0;
        match Part::decode(&self.log, bytes) {
            Ok(Ok(part)) if self.is_outdated(&part) => {
                self.give_up(source, "the source removed tombstones that the copy needs");
            }
            Ok(Ok(part)) => {
                let cost = Duration::from_secs(1).mul_f64(bytes.len() as f64 / self.rate.max(1) as f64);
                self.ask_from = now.after(cost);
                if let Err(invalid) = self.take(&source, part) {
                    self.violated(source, invalid);
                }
            }
            Ok(Err(reason)) => self.give_up(source, &reason),
            Err(invalid) => self.violated(source, invalid),
        }
    }

    /// Whether the source has removed what was not collected when the copy began.
    fn is_outdated(&self, part: &Part) -> bool {
        let copy = self.copy.as_ref();
        copy.is_some_and(|copy| part.reclaimed > copy.head.fold.collected())
    }

    fn take(&mut self, source: &ProcessName, part: Part) -> Result<(), InvalidPart> {
        let copy = match (&mut self.copy, part.head) {
            (Some(copy), None) => copy,
            (None, Some(head)) => {
                self.events.push_back(Event::Began {
                    source: source.clone(),
                    cells: head.cells,
                });
                let mut store = Store::default();
                store.resume_collection(head.fold.collected(), part.reclaimed);
                self.copy.insert(Copy {
                    source: source.clone(),
                    through: head.fold.at(),
                    head,
                    store,
                    after: None,
                })
            }
            (Some(_), Some(_)) => return Err(InvalidPart("another image")),
            (None, None) => return Err(InvalidPart("no head")),
        };
        if part.through.sequence < copy.through.sequence {
            return Err(InvalidPart("a position that goes back"));
        }
        copy.through = part.through;
        if let Some((first, _)) = part.rows.first()
            && copy.after.as_ref().is_some_and(|after| first <= after)
        {
            return Err(InvalidPart("cells that were sent before"));
        }
        if part.rows.is_empty() && !part.last {
            return Err(InvalidPart("no cells"));
        }
        for (id, held) in part.rows {
            copy.after = Some(id.clone());
            copy.store.load(id, held);
        }
        if part.last
            && let Some(copy) = self.copy.take()
        {
            self.whole = Some(Image {
                fold: copy.head.fold,
                known_positions: copy.head.known_positions,
                serve_from: copy.through,
                store: copy.store,
            });
        }
        Ok(())
    }

    fn give_up(&mut self, source: ProcessName, reason: &str) {
        self.unanswered = 0;
        if self.copy.take().is_some() {
            self.events.push_back(Event::Interrupted {
                source: source.clone(),
                reason: reason.to_owned(),
            });
        }
        self.refused.push(source);
    }

    fn violated(&mut self, source: ProcessName, invalid: InvalidPart) {
        self.copy = None;
        self.refused.push(source.clone());
        self.events.push_back(Event::Violation { source, invalid });
    }

    /// Output: what an operator should know about.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Output: the whole image, once.
    pub fn poll_image(&mut self) -> Option<Image> {
        self.whole.take()
    }

    /// The source of a copy that has begun, and how far it is.
    #[must_use]
    pub fn progress(&self) -> Option<(&ProcessName, Progress)> {
        let copy = self.copy.as_ref()?;
        let progress = Progress {
            cells: copy.store.cells_in_memory(),
            of_cells: copy.head.cells,
            bytes: copy.store.bytes(),
            of_bytes: copy.head.bytes,
        };
        Some((&copy.source, progress))
    }
}
