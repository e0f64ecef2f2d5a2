//! Recovery: the search for the last shared position, and the rewind to it.

use super::event::{Event, LifeSuspected};
use super::phase::Phase;
use super::search::{COMPARED, Finding, Search};
use super::step::Step;
use super::{Follow, Positions};
use crate::coordinates::{Anchor, Sequence};
use crate::fold::Fold;
use crate::hlc::Hlc;
use crate::peer::PeerDoubt;
use crate::planted::{self, Planted};
use crate::time::Mono;

/// Why the log is searched.
#[derive(Debug)]
pub(super) enum Reason {
    /// The log may have lost messages that this store has read.
    OwnCheck,
    /// The checkpoint holds effects of messages that the log does not have.
    CheckpointDiffers,
    /// The log may have lost a message that a peer region has.
    Doubt(PeerDoubt),
    /// The messages after the fork of a life were read before the life was known.
    Reread {
        /// The log may have lost messages that this store has applied.
        gives_back: bool,
    },
}

impl Positions {
    /// A message was read.
    pub(super) fn add(&mut self, at: Anchor) {
        if self.recent.len() == COMPARED {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
    }

    /// The known positions, newest first, without the empty beginning: a log that was recreated
    /// shares only that.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = Anchor> {
        let oldest_recent = self.recent.front().copied();
        let is_older = move |at: &Anchor| oldest_recent.is_none_or(|recent| at.sequence < recent.sequence);
        let marks = self.history.anchors().filter(is_older);
        let remembered = self.remembered.iter().rev().copied();
        let all = self.recent.iter().rev().copied().chain(marks).chain(remembered);
        all.filter(|anchor| anchor.sequence > Sequence::NONE)
    }

    /// The known positions through `through`, newest first, and the beginning.
    pub(super) fn through(&self, through: Sequence) -> Vec<Anchor> {
        let known = self.newest_first();
        let known = known.filter(|anchor| anchor.sequence <= through);
        known.chain([Anchor::default()]).collect()
    }

    fn forget_above(&mut self, through: Sequence) {
        self.recent.retain(|anchor| anchor.sequence <= through);
        self.history.rewind(through);
        self.remembered.retain(|anchor| anchor.sequence <= through);
    }
}

impl Follow {
    /// The log is not what was read.
    pub(super) fn suspect_life(&mut self, now: Mono, fold: &Fold, suspected: LifeSuspected) {
        self.emit(Event::LifeSuspected(suspected));
        self.set_phase(Phase::NewLife);
        self.check_log(now, fold);
    }

    /// Checks whether the log still is what was read.
    pub(super) fn check_log(&mut self, now: Mono, fold: &Fold) {
        let is_answered_by_this = |(reason, _): &(Reason, Search)| !matches!(reason, Reason::Doubt(_));
        if self.search.as_ref().is_some_and(is_answered_by_this) {
            return;
        }
        let at = Some(fold.at()).filter(|at| *at != Anchor::default());
        let known = self.positions.through(Sequence(u64::MAX));
        let search = Search::new(self.log.clone(), at, known);
        self.begin_search(now, fold, Reason::OwnCheck, search);
    }

    /// Input: the checkpoint holds effects of another message than the log has. What this run has
    /// read since then does not show where the log forked, so only what the checkpoint knew counts.
    pub fn handle_differing_checkpoint(&mut self, now: Mono, fold: &Fold) {
        self.close_reader();
        self.set_phase(Phase::NewLife);
        let known = self.positions.through(self.started_at.0.sequence);
        let search = Search::new(self.log.clone(), None, known);
        self.begin_search(now, fold, Reason::CheckpointDiffers, search);
    }

    /// Reads the log again from the fork of a life that was unknown ([`super::RereadRule`]).
    pub(super) fn reread_from(&mut self, now: Mono, fold: &Fold, fork: Sequence) {
        let gives_back = self.phase == Phase::Serving || self.reading.held_at_open > fork;
        self.close_reader();
        self.set_phase(Phase::CatchingUp);
        let search = Search::new(self.log.clone(), None, self.positions.through(fork));
        self.begin_search(now, fold, Reason::Reread { gives_back }, search);
    }

    pub(super) fn begin_search(&mut self, now: Mono, fold: &Fold, reason: Reason, search: Search) {
        self.search = Some((reason, search));
        self.continue_search(now, fold);
    }

    /// Acts on the finding, or asks the next question.
    pub(super) fn continue_search(&mut self, now: Mono, fold: &Fold) {
        let Some((reason, mut search)) = self.search.take() else {
            return;
        };
        match search.finding(&self.positions.history) {
            Ok(finding) => self.handle_finding(now, fold, reason, finding),
            Err(question) => {
                search.ask(self.next_query(question));
                self.search = Some((reason, search));
            }
        }
    }

    fn handle_finding(&mut self, now: Mono, fold: &Fold, reason: Reason, finding: Finding) {
        let mut at = fold.at().sequence;
        match (reason, finding) {
            (_, Finding::Intact) | (Reason::Reread { .. }, Finding::Lost) => {}
            (Reason::OwnCheck, Finding::Fork(fork, state)) => {
                let floor = state.admission_floor();
                at = self.rewind(now, fold, fork, state, Some(floor));
            }
            (Reason::CheckpointDiffers, Finding::Fork(fork, state)) => {
                self.reading.forget_applied();
                let floor = state.admission_floor();
                at = self.rewind(now, fold, fork, state, Some(floor));
            }
            (Reason::OwnCheck | Reason::CheckpointDiffers, Finding::Lost) => {
                let reason = "the log was trimmed past everything that this agent knows of it";
                return self.set_phase(Phase::NeedsSync(reason.to_owned()));
            }
            (Reason::Reread { gives_back }, Finding::Fork(_, state)) => {
                at = self.rewind_to_reread(now, fold, state, gives_back);
            }
            (Reason::Doubt(doubt), Finding::PeersFork(fork, state, floor)) => {
                self.emit_tail_held_by_peer(now, &doubt, Some(fork));
                let floor = floor.filter(|_| !planted::is(Planted::DoubtGivesNothingBack));
                at = self.rewind(now, fold, fork, state, floor);
                self.add_lives_of(&doubt);
            }
            (Reason::Doubt(doubt), Finding::Lost) => self.emit_tail_held_by_peer(now, &doubt, None),
            // A search for a peer's positions has own positions, and only such a search has them.
            (Reason::Doubt(_), Finding::Fork(..)) | (_, Finding::PeersFork(..)) => {}
        }
        if !self.reading.is_open {
            if matches!(self.phase, Phase::Unreadable(_)) {
                self.set_phase(Phase::CatchingUp);
            }
            self.open_reader(at);
        }
    }

    /// The log lost what followed `fork`; `state` is the fold at or below it. A life has to begin.
    /// Own cells stamped above `floor` have to be given back; without a floor, the log has
    /// everything that this store has read. Returns the sequence that reading continues from.
    fn rewind(
        &mut self,
        now: Mono,
        fold: &Fold,
        fork: Anchor,
        state: Box<Fold>,
        floor: Option<Hlc>,
    ) -> Sequence {
        let fork = fork.sequence;
        self.set_phase(Phase::NewLife);
        self.lives.add(fold.lineage());
        if fork == Sequence::NONE && fold.lost_before() && !self.lives.holds_beginning() {
            // The log has lost the record that states what it lacks.
            self.lives.lost_before = true;
        }
        self.lives.fork_at(fork, fold.lineage().clone());
        let lowest = floor.map(|floor| self.restore.stamps.floor_after(fork, floor));
        self.restore.lower_floor(lowest);
        self.restore.give_back.cancel();
        if fold.at().sequence >= self.reading.applied_before().sequence {
            // Everything that the store holds is above the floor, or was read by this run.
            self.reading.forget_applied();
        }
        if floor.is_none() && !planted::is(Planted::DoubtGivesNothingBack) {
            // The log may lose what it still had while it is read again.
            self.reading.reread_through = fold.at();
        }
        let from = state.at().sequence;
        self.emit(Event::ReadsAgain {
            fork: Some(fork),
            from,
        });
        self.replace_fold(now, state, fork);
        from
    }

    fn rewind_to_reread(&mut self, now: Mono, fold: &Fold, state: Box<Fold>, gives_back: bool) -> Sequence {
        let from = state.at().sequence;
        self.emit(Event::ReadsAgain { fork: None, from });
        if gives_back {
            let floor = self.restore.stamps.floor_after(from, state.admission_floor());
            self.restore.lower_floor(Some(floor));
            self.restore.give_back.cancel();
        } else if fold.at().sequence > self.reading.reread_through.sequence {
            self.reading.reread_through = fold.at();
        }
        self.replace_fold(now, state, from);
        from
    }

    fn replace_fold(&mut self, now: Mono, fold: Box<Fold>, through: Sequence) {
        self.positions.forget_above(through);
        self.restore.stamps.read_again_from(fold.at().sequence);
        self.close_reader();
        self.unsettle(now);
        self.steps.push_back(Step::Rewind { fold, through });
    }
}
