//! Lives: what happens at the end of the log, and when a life record is read.

use std::time::Duration;

use bytes::Bytes;

use super::event::Event;
use super::phase::Phase;
use super::restored::RestoredStamps;
use super::{Follow, Lives, OwnRecord, Restore};
use crate::coordinates::{Anchor, Life, Sequence};
use crate::fold::Fold;
use crate::header::{LifeLink, LifeRecord, Lineage, Record};
use crate::hlc::Hlc;
use crate::store::Store;
use crate::time::Mono;

/// The least time between two life records.
const APPEND_AGAIN: Duration = Duration::from_secs(1);

/// A life that has to begin because the log lost its tail.
#[derive(Debug)]
pub(super) struct PendingLife {
    /// The last sequence that is known to be unchanged.
    pub(super) fork: Sequence,
    /// The lives that were known before the loss. If the log lost their records, they are appended
    /// again before the new life, because cursors of peers may be in them.
    pub(super) known: Lineage,
}

impl PendingLife {
    /// Whether `life` was unknown when the loss was noticed: another agent has begun the new life.
    fn is_new(&self, life: Life) -> bool {
        let mut known = self.known.links().iter().map(|link| link.life);
        let oldest = known.clone().next().map_or(0, |life| life.number);
        life.number >= oldest && !known.any(|known| known == life)
    }

    /// The known life that continues `current`, if the log has lost its record.
    fn lost_after(&self, current: Option<Life>) -> Option<LifeLink> {
        let mut known = self.known.links().iter();
        known.find(|link| link.parent == current).copied()
    }
}

impl Lives {
    pub(super) fn new(lineage: &Lineage) -> Self {
        let mut lives = Self::default();
        lives.add(lineage);
        lives
    }

    /// Whether a life is pending because the log lost everything, and this store holds what it
    /// lost.
    pub(super) fn holds_beginning(&self) -> bool {
        let lost_all = |pending: &PendingLife| pending.fork == Sequence::NONE;
        self.pending.as_ref().is_some_and(lost_all) && !self.lost_before
    }

    /// Numbers the next life above these.
    pub(super) fn add(&mut self, lineage: &Lineage) {
        let numbers = lineage.links().iter().map(|link| link.life.number);
        let highest = numbers.max().unwrap_or(0);
        self.highest_number = self.highest_number.max(highest);
    }

    /// A life has to begin that shares everything through `fork`; the log's lives were `lineage`.
    /// If an earlier loss is still pending, the lives that only it knew are kept.
    pub(super) fn fork_at(&mut self, fork: Sequence, lineage: Lineage) {
        let continues = |earlier: &Lineage| {
            let current = lineage.current();
            current.is_none() || earlier.links().iter().any(|link| Some(link.life) == current)
        };
        let earlier = self.pending.take().map(|pending| pending.known);
        let known = earlier.filter(continues).unwrap_or(lineage);
        self.pending = Some(PendingLife { fork, known });
    }
}

impl Restore {
    pub(super) fn new(fold: &Fold) -> Self {
        // Only a log that has lost a tail before can hold restored records.
        let has_lost = fold.lineage().links().iter().any(|link| link.parent.is_some());
        let unknown = if has_lost {
            fold.at().sequence
        } else {
            Sequence::NONE
        };
        Self {
            stamps: RestoredStamps::unknown_through(unknown),
            ..Self::default()
        }
    }

    /// Whether nothing has to be given back.
    pub(super) fn is_done(&self) -> bool {
        self.floor.is_none() && self.give_back.is_done()
    }

    /// Own cells stamped above `floor` have to be given back, with what an earlier give-back has
    /// not finished.
    pub(super) fn lower_floor(&mut self, floor: Option<Hlc>) {
        let unfinished = self.in_progress.take();
        self.floor = [self.floor, unfinished, floor].into_iter().flatten().min();
    }
}

impl Follow {
    /// At the end of the log: begins a life if one is needed, otherwise serves.
    pub(super) fn finish_reading(&mut self, now: Mono, fold: &Fold, store: &Store) {
        if self.phase == Phase::LostBefore && !fold.lost_before() {
            self.set_phase(Phase::CatchingUp);
        }
        let reads = matches!(self.phase, Phase::CatchingUp | Phase::NewLife);
        let Some(target) = self.reading.target.filter(|_| reads && self.search.is_none()) else {
            return;
        };
        if fold.at().sequence < target {
            return;
        }
        let current = fold.lineage().current();
        match &self.lives.pending {
            None if current.is_some() => self.serve(fold, store),
            _ if now < self.lives.append_from => {}
            None => self.begin_next_life(now, None, Sequence::NONE),
            Some(pending) => {
                let (lost, fork) = (pending.lost_after(current), pending.fork);
                match lost {
                    Some(lost) => self.begin_life(now, lost, false),
                    None => self.begin_next_life(now, current, fork),
                }
            }
        }
    }

    fn serve(&mut self, fold: &Fold, store: &Store) {
        if let Some(floor) = self.restore.floor.take() {
            self.restore.in_progress = Some(floor);
            let give_back = &mut self.restore.give_back;
            let (cells, records) = give_back.begin(fold, store, floor, &mut self.ids, self.writer);
            self.emit(Event::GivesBack { cells, records });
        }
        self.set_phase(match fold.lost_before() {
            true => Phase::LostBefore,
            false => Phase::Serving,
        });
    }

    fn begin_next_life(&mut self, now: Mono, parent: Option<Life>, fork: Sequence) {
        let Some(number) = self.lives.highest_number.checked_add(1) else {
            return;
        };
        let nonce = self.ids.next_id().0;
        let life = Life { number, nonce };
        let link = LifeLink { life, parent, fork };
        self.begin_life(now, link, self.lives.lost_before);
    }

    fn begin_life(&mut self, now: Mono, link: LifeLink, lost_before: bool) {
        self.lives.append_from = now.after(APPEND_AGAIN);
        let record = Record::Life(LifeRecord {
            message_id: self.ids.next_id(),
            link,
            lost_before,
        });
        self.lives.record = Some(OwnRecord {
            record,
            body: Bytes::new(),
            changes: 0,
        });
    }

    /// A life record was read.
    pub(super) fn handle_life(&mut self, now: Mono, fold: &Fold, link: LifeLink) {
        let lives = &mut self.lives;
        lives.highest_number = lives.highest_number.max(link.life.number);
        if link.parent.is_none() {
            return self.emit(Event::FirstLife(link.life));
        }
        let was_rewound = lives.pending.is_some();
        // An agent that holds what came before the log's beginning still has to give it back in a
        // life of its own, so a life that lacks it does not end the wait.
        let lacks_beginning = fold.lost_before() && lives.holds_beginning();
        let ends_wait = |pending: &mut PendingLife| pending.is_new(link.life) && !lacks_beginning;
        if lives.pending.take_if(ends_wait).is_some() {
            lives.lost_before = false;
        }
        self.unsettle(now);
        let serve_from = self.reading.serve_from.sequence;
        if serve_from > link.fork && fold.at().sequence <= serve_from {
            // The checkpoint holds effects that the log has lost.
            let floor = self.restore.stamps.floor_after(link.fork, self.started_at.1);
            self.restore.lower_floor(Some(floor));
            self.reading.serve_from = Anchor::default();
        }
        self.emit(match self.phase {
            Phase::CatchingUp => Event::EarlierLife(link),
            _ => Event::NewLife(link),
        });
        if self.reread.handle_life(&link) && !was_rewound {
            self.reread_from(now, fold, link.fork);
        }
    }
}
