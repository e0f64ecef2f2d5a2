//! Doubts: a peer region has messages of the log that the log may have lost.

use std::time::Duration;

use super::Follow;
use super::event::Event;
use super::phase::Phase;
use super::recovery::Reason;
use super::search::Search;
use crate::coordinates::{Anchor, Cursor, Sequence};
use crate::fold::Fold;
use crate::header::{LifeLink, Lineage};
use crate::peer::PeerDoubt;
use crate::time::Mono;

/// A doubt begins a life at most this often.
const DOUBT_INTERVAL: Duration = Duration::from_secs(30);
/// A peer's life is implausible if its number is further than this above the known ones.
const PLAUSIBLE_LIVES: u64 = 1 << 20;

impl Follow {
    /// Input: a peer region has a message of the log that the log may have lost. This agent checks
    /// that itself: of the positions that the peer had before, the newest that the log still has is
    /// the fork. The lives that the peer reports are taken over only where they continue the known
    /// ones; otherwise the next life is only numbered above them.
    pub fn handle_doubt(&mut self, now: Mono, fold: &Fold, mut doubt: PeerDoubt) {
        let lineage = fold.lineage();
        let position = doubt.cursor.position;
        let shared = lineage.shared_through(position);
        let is_known_fork = shared.is_some_and(|shared| shared < position.sequence);
        if is_known_fork || self.search.is_some() || now < self.ignore_doubt_until {
            return;
        }
        let at = anchor(&doubt.cursor);
        let landmarks = doubt.landmarks.iter().map(anchor).chain([Anchor::default()]);
        if shared.is_some() {
            let known = landmarks.collect();
            doubt.lineage = Lineage::default();
            return self.search_for_peer(now, fold, doubt, Some(at), known);
        }
        let continues = |link: &LifeLink| link.parent.is_some() && link.parent == lineage.current();
        let continues = doubt.lineage.links().iter().any(continues);
        let known_lives = lineage.current().map_or(0, |life| life.number);
        let is_plausible = doubt.lineage.current() == Some(position.life)
            && position.life.number <= known_lives.saturating_add(PLAUSIBLE_LIVES);
        match (is_plausible, continues) {
            (true, true) => {
                let known = std::iter::once(at).chain(landmarks).collect();
                self.search_for_peer(now, fold, doubt, None, known);
            }
            (true, false) => self.handle_recreated_log(now, fold, &doubt),
            (false, _) => self.emit(Event::ImplausibleDoubt {
                peer: doubt.peer,
                life: position.life,
            }),
        }
    }

    fn search_for_peer(
        &mut self,
        now: Mono,
        fold: &Fold,
        doubt: PeerDoubt,
        at: Option<Anchor>,
        known: Vec<Anchor>,
    ) {
        let own = [fold.at()].into_iter().chain(self.positions.newest_first());
        let own = own.chain([Anchor::default()]).collect();
        let search = Search::new(self.log.clone(), at, known).with_own(own);
        self.begin_search(now, fold, Reason::Doubt(doubt), search);
    }

    /// The peer knows a life that the log has no record of. The next life is numbered above it, so
    /// that what is written here is forwarded again ([`Lineage::resumes_after`]). If this agent
    /// started empty and the log shares no life with the peer, the life record states that only
    /// other regions have what the log held before. An agent that held it has given it back in a
    /// life that forks at the log's beginning.
    fn handle_recreated_log(&mut self, now: Mono, fold: &Fold, doubt: &PeerDoubt) {
        let life = doubt.cursor.position.life;
        let links = || fold.lineage().links().iter();
        let is_newer = |link: &LifeLink| link.life.number > life.number;
        let is_given_back =
            |link: &LifeLink| link.parent.is_some() && link.fork == Sequence::NONE && is_newer(link);
        if links().any(is_given_back) || fold.lost_before() && links().any(is_newer) {
            return;
        }
        let is_shared = |link: &LifeLink| links().any(|own| own.life == link.life);
        let shares_none = !doubt.lineage.links().iter().any(is_shared);
        let started_empty = self.started_at.0 == Anchor::default();
        self.lives.lost_before = shares_none && started_empty;
        self.emit(Event::LogRecreated {
            peer: doubt.peer.clone(),
            life,
            lost_before: self.lives.lost_before,
        });
        self.ignore_doubt_until = now.after(DOUBT_INTERVAL);
        self.lives.add(&doubt.lineage);
        self.lives.fork_at(fold.at().sequence, fold.lineage().clone());
        self.set_phase(Phase::NewLife);
    }

    /// Adds the lives that only the peer knows: the log has lost their records.
    pub(super) fn add_lives_of(&mut self, doubt: &PeerDoubt) {
        self.lives.add(&doubt.lineage);
        let Some(pending) = &mut self.lives.pending else {
            return;
        };
        let current = pending.known.current();
        let continues = |link: &LifeLink| link.parent == current;
        if current != doubt.lineage.current() && doubt.lineage.links().iter().any(continues) {
            pending.known = doubt.lineage.clone();
        }
    }

    pub(super) fn emit_tail_held_by_peer(&mut self, now: Mono, doubt: &PeerDoubt, fork: Option<Anchor>) {
        self.emit(Event::TailHeldByPeer {
            peer: doubt.peer.clone(),
            through: doubt.cursor.position.sequence,
            fork: fork.map(|fork| fork.sequence),
        });
        self.ignore_doubt_until = now.after(DOUBT_INTERVAL);
    }
}

fn anchor(cursor: &Cursor) -> Anchor {
    Anchor {
        sequence: cursor.position.sequence,
        message_id: cursor.message_id,
    }
}
