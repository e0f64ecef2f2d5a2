//! Finds where a log stops being what was read: the newest known position that it still has.
//!
//! The search is a function of the answers that the log has given so far. The first question
//! without an answer is the next one to ask.

use std::collections::BTreeMap;
use std::time::Duration;

use super::query::{LogAnswer, LogQuery, Pending, Question, StoredAt};
use crate::coordinates::{Anchor, Sequence};
use crate::fold::{Fold, LogName};
use crate::history::History;
use crate::hlc::Hlc;
use crate::time::Mono;

/// How long to wait before a log that seems to have lost messages is asked again.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(250);
/// A log has lost messages if it answers so this often in a row. A leader that was just elected may
/// not have caught up.
pub(super) const SHORT_ANSWERS: u32 = 3;
/// A message of the log proves that the log is unchanged before it if this many known messages
/// before it are there as well.
pub(super) const COMPARED: usize = 64;

/// The result of a search.
#[derive(Debug)]
pub(super) enum Finding {
    /// The log still is what was read.
    Intact,
    /// The newest known position that the log still has, and a fold state at or below it.
    Fork(Anchor, Box<Fold>),
    /// The same for positions that a peer reported. Own cells stamped above the floor may be lost;
    /// without a floor, the log still has everything that this store has read.
    PeersFork(Anchor, Box<Fold>, Option<Hlc>),
    /// The log has no known position, or there is no fold state to continue from.
    Lost,
}

/// A search and the answers so far.
#[derive(Debug)]
pub(super) struct Search {
    log: LogName,
    stands_at: Option<Anchor>,
    known: Vec<Anchor>,
    /// The positions that this store has read, newest first, if `known` comes from a peer.
    own: Vec<Anchor>,
    stored: BTreeMap<Sequence, StoredAt>,
    marks: BTreeMap<Sequence, Option<Box<Fold>>>,
    pending: Option<Pending>,
    ask_from: Mono,
    /// How often in a row the log had no message at the sequence that is asked for.
    short: u32,
    /// The log has lost messages.
    is_short: bool,
}

impl Search {
    /// Searches for the newest position of `known`, which is sorted newest first. If the log still
    /// has `at`, it is intact.
    pub(super) fn new(log: LogName, at: Option<Anchor>, known: Vec<Anchor>) -> Self {
        Self {
            log,
            stands_at: at,
            known,
            own: Vec::new(),
            stored: BTreeMap::new(),
            marks: BTreeMap::new(),
            pending: None,
            ask_from: Mono::default(),
            short: 0,
            is_short: false,
        }
    }

    /// `known` comes from a peer; this store itself has read `own`, newest first.
    pub(super) fn with_own(mut self, own: Vec<Anchor>) -> Self {
        self.own = own;
        self
    }

    pub(super) fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    pub(super) fn poll_query(&mut self, now: Mono) -> Option<LogQuery> {
        self.pending.as_mut()?.poll(now)
    }

    /// The pending question is asked again, because the shell has dropped it.
    pub(super) fn ask_again(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.ask_again();
        }
    }

    /// Asks this next.
    pub(super) fn ask(&mut self, query: LogQuery) {
        self.pending = Some(Pending::new(query, self.ask_from));
    }

    /// Input: the answer to the pending query.
    pub(super) fn handle_answer(&mut self, now: Mono, answer: LogAnswer) {
        let question = self.pending.take().map(|pending| pending.query.question);
        self.ask_from = now;
        match (question, answer) {
            (Some(Question::At(sequence)), LogAnswer::Stored(stored)) => {
                self.short = match stored {
                    StoredAt::Nothing => self.short + 1,
                    StoredAt::Message(_) | StoredAt::Trimmed => 0,
                };
                self.is_short |= self.short == SHORT_ANSWERS;
                if stored == StoredAt::Nothing && !self.is_short {
                    self.ask_from = now.after(ASK_AGAIN);
                } else {
                    self.short = 0;
                    self.stored.insert(sequence, stored);
                }
            }
            (Some(Question::MarkThrough(through)), LogAnswer::Mark { state, first }) => {
                let is_untrimmed = first <= Sequence::NONE.next();
                let empty = || is_untrimmed.then(|| Box::new(Fold::new(self.log.clone())));
                self.marks.insert(through, state.or_else(empty));
            }
            _ => {}
        }
    }

    /// The finding, or the next question. `history` has fold states of earlier positions.
    pub(super) fn finding(&self, history: &History) -> Result<Finding, Question> {
        if let Some(at) = self.stands_at
            && self.is_shared(at, &self.known)?
        {
            return Ok(Finding::Intact);
        }
        let Some(fork) = self.newest_shared(&self.known)? else {
            return Ok(Finding::Lost);
        };
        let anchor = self.known[fork];
        let Some(fold) = self.state_at(anchor, history)? else {
            return Ok(Finding::Lost);
        };
        if self.own.is_empty() {
            return Ok(Finding::Fork(anchor, fold));
        }
        let floor = self.own_floor(history)?;
        Ok(Finding::PeersFork(anchor, fold, floor))
    }

    /// The admission floor at the newest own position that the log still has; none if that is the
    /// current position of this store.
    fn own_floor(&self, history: &History) -> Result<Option<Hlc>, Question> {
        match self.newest_shared(&self.own)? {
            Some(0) => Ok(None),
            Some(newest) => {
                let state = self.state_at(self.own[newest], history)?;
                Ok(Some(state.map_or(Hlc::ZERO, |fold| fold.admission_floor())))
            }
            None => Ok(Some(Hlc::ZERO)),
        }
    }

    /// The index of the newest of these anchors, sorted newest first, that the log still has.
    fn newest_shared(&self, anchors: &[Anchor]) -> Result<Option<usize>, Question> {
        for (index, anchor) in anchors.iter().enumerate() {
            if self.is_shared(*anchor, &anchors[index + 1..])? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Whether the log is unchanged through `anchor`. One message does not prove it: a log that was
    /// recreated can hold a repeated copy of that message at the same sequence. So the next older
    /// anchors of `known` must be there as well, down to the first that was trimmed.
    fn is_shared(&self, anchor: Anchor, known: &[Anchor]) -> Result<bool, Question> {
        if !self.has(anchor)? {
            return Ok(false);
        }
        let is_older = |other: &&Anchor| other.sequence > Sequence::NONE && other.sequence < anchor.sequence;
        for older in known.iter().filter(is_older).take(COMPARED) {
            if self.stored(older.sequence)? == StoredAt::Trimmed {
                return Ok(true);
            }
            if !self.has(*older)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the log has this message at this sequence. It always has the empty beginning.
    fn has(&self, anchor: Anchor) -> Result<bool, Question> {
        if anchor == Anchor::default() {
            return Ok(true);
        }
        Ok(self.stored(anchor.sequence)? == StoredAt::Message(anchor.message_id))
    }

    fn stored(&self, sequence: Sequence) -> Result<StoredAt, Question> {
        self.stored.get(&sequence).copied().ok_or(Question::At(sequence))
    }

    /// A fold state at or below `anchor`: from the history, from a mark, or the empty state of a
    /// log that was never trimmed.
    fn state_at(&self, anchor: Anchor, history: &History) -> Result<Option<Box<Fold>>, Question> {
        if let Some(kept) = history.newest_matching(&[anchor]) {
            return Ok(kept.fold(self.log.clone()).ok().map(Box::new));
        }
        let mark = self.marks.get(&anchor.sequence);
        mark.cloned().ok_or(Question::MarkThrough(anchor.sequence))
    }
}
