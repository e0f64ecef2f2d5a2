//! Following a log: how a store that reads a log handles the loss of the log's tail
//! (design.md section 5, "Lives").
//!
//! Problem: a region's log can lose its tail (a restored backup, a lost disk, an election without
//! fsync) and then assigns the same sequences to other messages. Every reader has to notice this,
//! find the last shared position, continue from there, and append again what only the lost tail
//! held. Any reader can be the first to notice, or a peer region can, and the log can be
//! unavailable or behind at that moment.
//!
//! Sketch: the positions that were read are kept with their message ids ([`History`], and the ones
//! in the checkpoint). A loss is suspected if a reader finds another message than the one it read,
//! if the log ends before what was read, if a mark or an acknowledgement contradicts what was read,
//! or if a peer region doubts. Then the log is searched ([`Follow::poll_query`]) for the newest
//! known position that it still has: the fork. The fold is rewound to its state there, the store
//! keeps what it applied, and the log is read again. At its end, a life record is appended whose
//! parent is the life that lost its tail, unless another agent has already appended one. Then the
//! agent gives back: it appends the cells of its own region that are stamped above the admission
//! floor at the fork.
//!
//! Invariants: a store serves only at or above every position that its checkpoint may hold effects
//! of. What a store holds past a fork is given back, no matter who noticed the loss first: the
//! give-back floor only goes down until the last restored record is read back. A new life is
//! numbered above every life of the log that this agent or a peer knows. When a reader meets a life
//! for the first time, it reads the messages after the fork again.
//!
//! Failure cases: the log has no known position, or was trimmed past the next message (the store
//! needs a sync); a log that was recreated holds a repeated copy of a message at its old sequence
//! (so the messages before it must match too); a peer reports what can't be true (its doubts begin
//! a life at most once in 30 seconds, and lives that can't be lives of this log are ignored).

use std::collections::VecDeque;
use std::time::Duration;

use crate::coordinates::{Anchor, MessageId, Sequence, WriterId};
use crate::fold::{Accepted, Fold, LogName, Verdict};
use crate::history::History;
use crate::hlc::Hlc;
use crate::ids::MessageIds;
use crate::limits;
use crate::store::Store;
use crate::time::Mono;

mod doubt;
mod event;
mod give_back;
mod lives;
mod phase;
mod query;
mod recovery;
mod reread;
mod restored;
mod search;
mod step;
#[cfg(test)]
mod tests;

pub use event::{Event, LifeSuspected};
pub use give_back::OwnRecord;
pub use phase::Phase;
pub use query::{LogAnswer, LogQuery, Question, StoredAt};
pub use reread::RereadRule;
pub use step::{CheckpointDiffers, Deadline, Placement, ReaderEnd, Step};

use give_back::GiveBack;
use lives::PendingLife;
use query::Pending;
use recovery::Reason;
use restored::RestoredStamps;
use search::{ASK_AGAIN, SHORT_ANSWERS, Search};

/// An unreadable log is read again after this.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// While a log is read to its end, it is asked this often whether it has lost messages before that
/// end.
const CHECK_END: Duration = Duration::from_secs(2);
/// How long after a rewind the stores of one region may differ at one position: until each agent
/// has given back its own tail.
const UNSETTLED: Duration = Duration::from_secs(15);

/// The state that a store starts to follow its log with.
#[derive(Debug)]
pub struct Start<'a> {
    /// The fold of the messages that are applied.
    pub fold: &'a Fold,
    /// Earlier positions of the log from the checkpoint, oldest first.
    pub known_positions: Vec<Anchor>,
    /// The last position that the checkpoint may hold effects of.
    pub serve_from: Anchor,
    /// This run of this process.
    pub writer: WriterId,
    /// 128 random bits.
    pub seed: u128,
}

/// Follows one log for one store. See the [module](self) for the protocol.
///
/// The shell owns the fold and the store. For each message it calls [`Fold::apply`], then
/// [`Follow::handle_folded`], applies the changes to the store, and calls
/// [`Follow::handle_message`]. Other inputs are [`Follow::handle_reader_end`],
/// [`Follow::handle_answer`], [`Follow::handle_doubt`], [`Follow::handle_contradiction`],
/// [`Follow::handle_differing_checkpoint`] and [`Follow::handle_timeout`].
///
/// After every input, the shell drains [`Follow::poll_step`] before it does anything else. Then, in
/// any order, it polls [`Follow::poll_query`] and [`Follow::poll_record`], and sleeps until
/// [`Follow::poll_timeout`] at most.
#[derive(Debug)]
pub struct Follow {
    log: LogName,
    writer: WriterId,
    ids: MessageIds,
    phase: Phase,
    /// The position and the admission floor that this run started with.
    started_at: (Anchor, Hlc),
    reading: Reading,
    positions: Positions,
    search: Option<(Reason, Search)>,
    queries: u64,
    lives: Lives,
    reread: RereadRule,
    /// Peers' doubts are ignored until then.
    ignore_doubt_until: Mono,
    unsettled_until: Mono,
    restore: Restore,
    steps: VecDeque<Step>,
}

/// Where the reader is in the log.
#[derive(Debug, Default)]
struct Reading {
    is_open: bool,
    /// When an unreadable log is read again.
    retry_at: Option<Mono>,
    /// The search for the end of the log.
    end: Option<EndSearch>,
    /// The end of the log when the reader was opened, or less if the log has lost messages since.
    /// The store serves once it is read.
    target: Option<Sequence>,
    /// The store serves nothing below this position, because its checkpoint may hold effects up to
    /// it.
    serve_from: Anchor,
    /// This run had applied messages through here when it began to read the log again.
    reread_through: Anchor,
    /// The last sequence that the store has held effects of, in any life.
    held_through: Sequence,
    /// `held_through` when the reader was opened.
    held_at_open: Sequence,
}

impl Reading {
    /// What was applied before does not have to be in the log any more.
    fn forget_applied(&mut self) {
        self.serve_from = Anchor::default();
        self.reread_through = Anchor::default();
    }

    /// The last position that the store holds effects of from before this reader was opened.
    fn applied_before(&self) -> Anchor {
        let newer = self.reread_through.sequence > self.serve_from.sequence;
        if newer {
            self.reread_through
        } else {
            self.serve_from
        }
    }
}

/// The question where the log ends.
#[derive(Debug)]
struct EndSearch {
    pending: Pending,
    /// The log reached this far before it was asked.
    known: Sequence,
    /// How often in a row the log answered that it ends before `known`.
    short: u32,
}

/// Known positions of the log, from this run and from the checkpoint.
#[derive(Debug, Default)]
struct Positions {
    /// The last messages read, oldest first, at most [`search::COMPARED`].
    recent: VecDeque<Anchor>,
    history: History,
    /// From the checkpoint, oldest first.
    remembered: Vec<Anchor>,
}

/// The lives of the log, and the one that has to begin.
#[derive(Debug, Default)]
struct Lives {
    highest_number: u64,
    pending: Option<PendingLife>,
    /// The record that begins the pending life.
    record: Option<OwnRecord>,
    append_from: Mono,
    /// Only other regions have what the log held before it was recreated. The next life records
    /// this.
    lost_before: bool,
}

/// What this store has to append again after a loss.
#[derive(Debug, Default)]
struct Restore {
    /// Own cells stamped above this have to be given back.
    floor: Option<Hlc>,
    /// Own cells stamped above this are being given back.
    in_progress: Option<Hlc>,
    give_back: GiveBack,
    stamps: RestoredStamps,
}

impl Follow {
    /// Starts to follow the log. The first step opens a reader.
    #[must_use]
    pub fn new(start: Start<'_>) -> Self {
        let fold = start.fold;
        let mut history = History::default();
        history.note(fold);
        let mut this = Self {
            log: fold.log().clone(),
            writer: start.writer,
            ids: MessageIds::new(start.seed),
            phase: Phase::CatchingUp,
            started_at: (fold.at(), fold.admission_floor()),
            reading: Reading {
                serve_from: start.serve_from,
                held_through: fold.at().sequence.max(start.serve_from.sequence),
                ..Reading::default()
            },
            positions: Positions {
                recent: VecDeque::new(),
                history,
                remembered: start.known_positions,
            },
            search: None,
            queries: 0,
            lives: Lives::new(fold.lineage()),
            reread: RereadRule::default(),
            ignore_doubt_until: Mono::default(),
            unsettled_until: Mono::default(),
            restore: Restore::new(fold),
            steps: VecDeque::new(),
        };
        this.open_reader(fold.at().sequence);
        this
    }

    /// Whether the store serves.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether the stores of the region's agents may differ at one position for a while.
    #[must_use]
    pub fn is_unsettled(&self, now: Mono) -> bool {
        now < self.unsettled_until
    }

    /// Whether a checkpoint that begins now, with the fold at `at`, is one to continue from: the
    /// store holds effects of no later messages, and nothing is left to give back. A checkpoint may
    /// only be committed if the fold was not rewound since the checkpoint began.
    #[must_use]
    pub fn is_consistent(&self, at: Anchor) -> bool {
        let reads_on = matches!(self.phase, Phase::Serving | Phase::CatchingUp | Phase::LostBefore);
        let is_whole = at.sequence >= self.reading.applied_before().sequence;
        reads_on && is_whole && self.search.is_none() && self.restore.is_done()
    }

    /// The known positions of the log, oldest first, for the checkpoint.
    #[must_use]
    pub fn known_positions(&self) -> Vec<Anchor> {
        let mut positions: Vec<Anchor> = self.positions.history.anchors().collect();
        positions.reverse();
        let oldest = positions
            .first()
            .map_or(Sequence(u64::MAX), |anchor| anchor.sequence);
        let remembered = self.positions.remembered.iter();
        let older = remembered.filter(|anchor| anchor.sequence < oldest);
        let mut all: Vec<Anchor> = older.copied().chain(positions).collect();
        let surplus = all.len().saturating_sub(2 * limits::KEPT_MARKS);
        all.drain(..surplus);
        all
    }

    /// Input: a message was folded, and its changes are about to be applied.
    ///
    /// # Errors
    /// [`CheckpointDiffers`]: nothing may be applied. Call [`Follow::handle_differing_checkpoint`].
    pub fn handle_folded(&mut self, at: Anchor) -> Result<Placement, CheckpointDiffers> {
        let reading = &mut self.reading;
        let differs = |known: &Anchor| at.sequence == known.sequence && at != *known;
        let expected = [reading.serve_from, reading.reread_through];
        if let Some(known) = expected.into_iter().find(differs) {
            return Err(CheckpointDiffers { known });
        }
        let known = reading.serve_from;
        let is_first = at.sequence > reading.held_through;
        reading.held_through = reading.held_through.max(at.sequence);
        Ok(Placement {
            is_below: at.sequence < known.sequence,
            is_known: at.sequence <= known.sequence,
            is_first,
        })
    }

    /// Input: a message was folded and its changes are applied.
    pub fn handle_message(&mut self, now: Mono, fold: &Fold, id: MessageId, verdict: &Verdict) {
        self.positions.add(fold.at());
        if let Verdict::Accepted(accepted) = verdict {
            match accepted {
                Accepted::Mark(_) | Accepted::Barrier(_) => self.positions.history.note(fold),
                Accepted::Life(link) => {
                    self.positions.history.note(fold);
                    self.handle_life(now, fold, *link);
                }
                Accepted::Restored { local, .. } => {
                    let sequence = fold.at().sequence;
                    self.restore.stamps.add(sequence, local.lowest_stamp);
                }
                Accepted::Batch(_)
                | Accepted::Range { .. }
                | Accepted::Membership { .. }
                | Accepted::Sync(_) => {}
            }
        }
        if self.restore.give_back.handle_message(id, verdict) {
            self.restore.in_progress = None;
        }
    }

    /// Input: the reader ended.
    pub fn handle_reader_end(&mut self, now: Mono, fold: &Fold, end: ReaderEnd) {
        self.close_reader();
        match end {
            ReaderEnd::Stopped => {}
            ReaderEnd::Suspected(suspected) => self.suspect_life(now, fold, suspected),
            ReaderEnd::Gone(reason) => self.set_phase(Phase::NeedsSync(reason)),
            ReaderEnd::Newer { what, number } => {
                self.set_phase(Phase::UpgradeNeeded { what, number });
            }
            ReaderEnd::Unreadable(reason) => {
                self.set_phase(Phase::Unreadable(reason));
                self.reading.retry_at = Some(now.after(READ_AGAIN));
            }
        }
    }

    /// Input: the log answered the query of this number. Answers to earlier queries are ignored.
    pub fn handle_answer(&mut self, now: Mono, fold: &Fold, number: u64, answer: LogAnswer) {
        let is_current = |pending: &Pending| pending.query.number == number;
        if self
            .reading
            .end
            .as_ref()
            .is_some_and(|end| is_current(&end.pending))
        {
            if let LogAnswer::End(last) = answer {
                self.handle_log_end(now, fold, last);
            }
        } else if let Some((_, search)) = &mut self.search
            && search.pending().is_some_and(is_current)
        {
            search.handle_answer(now, answer);
            self.continue_search(now, fold);
        }
    }

    /// Input: a mark or an acknowledgement contradicts what was read.
    pub fn handle_contradiction(&mut self, now: Mono, fold: &Fold) {
        self.check_log(now, fold);
    }

    /// Input: time passed, or messages were applied. Serves once the log is read to its end, and
    /// begins a life where one is needed.
    pub fn handle_timeout(&mut self, now: Mono, fold: &Fold, store: &Store) {
        if self.reading.retry_at.is_some_and(|at| at <= now) {
            self.set_phase(Phase::CatchingUp);
            self.open_reader(fold.at().sequence);
        }
        self.finish_reading(now, fold, store);
    }

    /// Output: the next deadline, and what is due then.
    #[must_use]
    pub fn poll_timeout(&self, now: Mono) -> Option<(Mono, Deadline)> {
        // A life that may already be appended waits for the end of the log, not for time.
        let life = self.lives.pending.as_ref().map(|_| self.lives.append_from);
        let life = life.filter(|at| *at > now);
        let give_back = self.restore.give_back.deadline();
        let give_back = give_back.filter(|_| self.gives_back());
        [
            (self.reading.retry_at, Deadline::OpenReader),
            (self.query_deadline(), Deadline::Query),
            (life, Deadline::Life),
            (give_back, Deadline::GiveBack),
        ]
        .into_iter()
        .filter_map(|(at, deadline)| Some((at?, deadline)))
        .min()
    }

    /// Output: what the shell does next.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Output: a question to the log, returned once. It replaces the previous one.
    pub fn poll_query(&mut self, now: Mono) -> Option<LogQuery> {
        let search = self.search.as_mut().map(|(_, search)| search);
        let Some(end) = &mut self.reading.end else {
            return search?.poll_query(now);
        };
        if let Some(query) = end.pending.poll(now) {
            // The shell asks one question at a time: this one replaces the search's question.
            if let Some(search) = search {
                search.ask_again();
            }
            return Some(query);
        }
        if end.pending.is_sent() {
            return None;
        }
        search?.poll_query(now)
    }

    /// When [`Follow::poll_query`] has a question.
    fn query_deadline(&self) -> Option<Mono> {
        let end = self.reading.end.as_ref().map(|end| &end.pending);
        let search = self.search.as_ref().and_then(|(_, search)| search.pending());
        match end {
            Some(end) if end.is_sent() => None,
            end => [end, search]
                .into_iter()
                .flatten()
                .filter_map(Pending::deadline)
                .min(),
        }
    }

    /// Output: a record to append under `_agent`. It counts once it is read back, and is returned
    /// again until then.
    pub fn poll_record(&mut self, now: Mono) -> Option<OwnRecord> {
        let life = self.lives.record.take();
        life.or_else(|| {
            let gives_back = self.gives_back();
            gives_back.then(|| self.restore.give_back.poll_record(now))?
        })
    }

    fn gives_back(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::LostBefore)
    }

    fn emit(&mut self, event: Event) {
        self.steps.push_back(Step::Emit(event));
    }

    fn set_phase(&mut self, phase: Phase) {
        if self.phase == phase {
            return;
        }
        let is_final = matches!(phase, Phase::UpgradeNeeded { .. } | Phase::NeedsSync(_));
        if is_final && self.reading.is_open {
            self.close_reader();
        }
        self.phase = phase.clone();
        self.emit(Event::Phase(phase));
    }

    fn next_query(&mut self, question: Question) -> LogQuery {
        self.queries += 1;
        LogQuery {
            number: self.queries,
            question,
        }
    }

    fn close_reader(&mut self) {
        self.reading.is_open = false;
        self.reading.end = None;
        self.steps.push_back(Step::CloseReader);
    }

    /// Opens a reader after `at`, where the fold is, and asks where the log ends.
    fn open_reader(&mut self, at: Sequence) {
        let query = self.next_query(Question::End);
        let reading = &mut self.reading;
        reading.is_open = true;
        reading.retry_at = None;
        reading.held_at_open = reading.held_through;
        reading.target = None;
        reading.end = Some(EndSearch {
            pending: Pending::new(query, Mono::default()),
            known: at.max(reading.applied_before().sequence),
            short: 0,
        });
        self.steps.push_back(Step::OpenReader);
    }

    /// The log ends at `last`. If that is before what was read, the log has to answer so several
    /// times.
    fn handle_log_end(&mut self, now: Mono, fold: &Fold, last: Sequence) {
        let query = self.next_query(Question::End);
        let Some(mut end) = self.reading.end.take() else {
            return;
        };
        let at = fold.at();
        // Messages may have been read after the log was asked. They do not contradict this answer.
        let is_short = last < end.known;
        end.known = end.known.max(at.sequence);
        end.short = if is_short { end.short + 1 } else { 0 };
        if is_short && end.short < SHORT_ANSWERS {
            end.pending = Pending::new(query, now.after(ASK_AGAIN));
            self.reading.end = Some(end);
            return;
        }
        // The target only goes down, so that a reader can catch up with a log that grows.
        let target = self.reading.target.map_or(last, |target| target.min(last));
        self.reading.target = Some(target);
        if !is_short {
            if at.sequence < target {
                end.pending = Pending::new(query, now.after(CHECK_END));
                self.reading.end = Some(end);
            }
            return;
        }
        if at.sequence < self.reading.applied_before().sequence {
            let known = end.known;
            self.emit(Event::EndsBefore { last, known });
            self.handle_differing_checkpoint(now, fold);
        } else {
            self.close_reader();
            let suspected = LifeSuspected {
                anchor: at,
                found: None,
                last,
            };
            self.suspect_life(now, fold, suspected);
        }
    }

    fn unsettle(&mut self, now: Mono) {
        self.unsettled_until = now.after(UNSETTLED);
        self.steps.push_back(Step::ForgetDigests);
    }
}
