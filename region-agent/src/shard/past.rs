//! The past of a log: how it is found out that it is not what it was, and how the fold goes back.

use std::sync::Arc;
use std::time::Duration;

use isthmus_replication::coordinates::{Anchor, Cursor, Sequence};
use isthmus_replication::fold::Fold;
use isthmus_replication::header::Lineage;
use isthmus_replication::peer::PeerDoubt;
use isthmus_runtime::events::Severity;
use serde_json::json;

use super::Phase;
use super::fork::{Finder, Finding};
use super::lives::Forked;
use super::task::ShardTask;

/// A peer's word begins a life at most this often.
const DOUBTED: Duration = Duration::from_secs(30);
/// A life that a peer knows is numbered at most so far above those that are known here.
const PLAUSIBLE_LIVES: u64 = 1 << 20;

/// Why the log's past is sought.
#[derive(Debug, Default)]
pub(super) enum Sought {
    /// Something read here may not be there any more.
    #[default]
    OwnPast,
    /// A peer has a message of the log that may not be there.
    Doubt(PeerDoubt),
    /// A life began of which nothing was known when what follows its fork was read.
    Reread {
        /// This store may hold what the log has lost since.
        gives_back: bool,
    },
}

impl ShardTask {
    /// Asks the log whether it still is what was read of it.
    pub(super) fn check_anchor(&mut self) {
        if self.finding.is_some() && !matches!(self.lives.sought, Sought::Doubt(_)) {
            return;
        }
        let at = self.shared.read().fold.at();
        let known = self.own_past().collect();
        self.seek(
            Sought::OwnPast,
            Some(at).filter(|at| *at != Anchor::default()),
            known,
        );
    }

    /// What is known of the log's past, newest first.
    fn own_past(&self) -> impl Iterator<Item = Anchor> {
        let kept = self.history.anchors();
        kept.chain(self.lives.remembered.iter().rev().copied())
            .filter(|anchor| anchor.sequence > Sequence::NONE)
    }

    fn seek(&mut self, why: Sought, at: Option<Anchor>, known: Vec<Anchor>) {
        let log = Arc::clone(&self.context.ports.log);
        let finder = Finder::new(log, self.log.shard.clone(), at, known, self.history.clone());
        self.lives.sought = why;
        self.finding = Some(Box::pin(finder.find()));
    }

    /// The log is not what was read of it, as a reader found.
    pub(super) fn life_suspected(&mut self, suspicion: &isthmus_log::LifeSuspected) {
        let text = format!("a lost tail is suspected: {suspicion}");
        let fields = json!({ "shard": self.log.shard.to_string() });
        self.event(Severity::Warning, "life_suspected", text, fields);
        self.reader = None;
        self.set_phase(Phase::NewLife);
        self.check_anchor();
    }

    /// The checkpoint holds effects of messages that are not where they were. What this run has read since then says nothing of
    /// them: the fork is what the checkpoint knew.
    pub(super) fn checkpoint_differs(&mut self) {
        let first = self.lives.first.0.sequence;
        let known = self
            .own_past()
            .filter(|anchor| anchor.sequence <= first)
            .collect();
        self.reader = None;
        self.set_phase(Phase::NewLife);
        self.seek(Sought::OwnPast, None, known);
    }

    /// A peer has the log through a message that may not be there: this agent looks for itself. What the log has of the places
    /// where the peer had it before is shared; the newest of them is the fork. Its word on lives is heard only where they
    /// continue the known ones.
    pub(super) fn doubted(&mut self, mut doubt: PeerDoubt) {
        let anchor = |cursor: &Cursor| Anchor {
            sequence: cursor.position.sequence,
            message_id: cursor.message_id,
        };
        let lineage = self.shared.read().fold.lineage().clone();
        let shared = lineage.shared_through(doubt.cursor.position);
        let forked = shared.is_some_and(|shared| shared < doubt.cursor.position.sequence);
        if forked || self.finding.is_some() || self.context.now().mono < self.lives.doubt_from {
            return;
        }
        let at = anchor(&doubt.cursor);
        let places = doubt.landmarks.iter().map(anchor).chain([Anchor::default()]);
        if shared.is_some() {
            let known = places.collect();
            doubt.lineage = Lineage::default();
            return self.seek(Sought::Doubt(doubt), Some(at), known);
        }
        let known_lives = lineage.current().map_or(0, |life| life.number);
        let told = doubt.lineage.links();
        let continues = told
            .iter()
            .any(|link| link.parent.is_some() && link.parent == lineage.current());
        let ends = doubt.lineage.current() == Some(doubt.cursor.position.life);
        let plausible = doubt.cursor.position.life.number <= known_lives.saturating_add(PLAUSIBLE_LIVES);
        if continues && ends && plausible {
            let known = std::iter::once(at).chain(places).collect();
            self.seek(Sought::Doubt(doubt), None, known);
        } else {
            tracing::warn!(shard = %self.log.shard, peer = %doubt.peer, life = %doubt.cursor.position.life, "a peer has this log in a life that does not continue the known ones");
        }
    }

    /// What follows the fork of a life may have been read before the log lost its tail, and a message may stand where it stood
    /// before although others do not. So the first time that a life is met the log is read again from its fork.
    pub(super) fn read_again_from(&mut self, fork: Sequence) {
        let known = self.own_past().filter(|anchor| anchor.sequence <= fork).collect();
        let gives_back = *self.phase() == Phase::Serving;
        self.reader = None;
        self.set_phase(Phase::CatchingUp);
        self.seek(Sought::Reread { gives_back }, None, known);
    }

    /// What the log told of its past.
    pub(super) fn fork_found(&mut self, finding: Finding) {
        match (std::mem::take(&mut self.lives.sought), finding) {
            (Sought::Doubt(doubt), Finding::Fork(fork, fold)) => {
                self.tail_is_a_peers(&doubt, Some(fork));
                self.lives.doubt_from = self.context.now().mono.after(DOUBTED);
                self.rewind(fork, *fold, false);
                self.take_lives_of(&doubt);
            }
            (Sought::Doubt(doubt), Finding::Lost) => self.tail_is_a_peers(&doubt, None),
            (_, Finding::Intact) => {}
            (Sought::OwnPast, Finding::Fork(fork, fold)) => self.rewind(fork, *fold, true),
            (Sought::OwnPast, Finding::Lost) => {
                let reason = "nothing that this agent knows of the log's past is in the log";
                return self.set_phase(Phase::NeedsSync(reason.to_owned()));
            }
            (Sought::Reread { gives_back }, Finding::Fork(_, fold)) => self.read_again(*fold, gives_back),
            (Sought::Reread { .. }, Finding::Lost) => {}
        }
        if self.reader.is_none() {
            self.begin_reading();
        }
    }

    /// Lives that only the peer knows of were lost with their records.
    fn take_lives_of(&mut self, doubt: &PeerDoubt) {
        self.lives.note_lineage(&doubt.lineage);
        if let Some(forked) = &mut self.lives.forked
            && forked.before.current() != doubt.lineage.current()
            && doubt
                .lineage
                .links()
                .iter()
                .any(|link| link.parent == forked.before.current())
        {
            forked.before = doubt.lineage.clone();
        }
    }

    fn tail_is_a_peers(&self, doubt: &PeerDoubt, fork: Option<Anchor>) {
        let (peer, through) = (&doubt.peer, doubt.cursor.position.sequence);
        let text = match fork {
            Some(fork) => format!(
                "region {peer} has this log through {through}, of which the log has lost what followed {}: what only that region has of it comes back by a sync",
                fork.sequence
            ),
            None => format!(
                "region {peer} has this log through {through}, which the log has lost, and nothing that both have is kept: that region needs a sync"
            ),
        };
        let fields =
            json!({ "shard": self.log.shard.to_string(), "peer": peer.as_str(), "through": through.0 });
        self.event(Severity::Alarm, "tail_held_by_peer", text, fields);
    }

    /// The log lost what followed `fork`; `fold` is the state there or below. A life has to begin. `gives_back` says that this
    /// store may hold what was lost.
    fn rewind(&mut self, fork: Anchor, fold: Fold, gives_back: bool) {
        self.set_phase(Phase::NewLife);
        let before = self.shared.read().fold.lineage().clone();
        self.lives.note_lineage(&before);
        self.lives.forked = Some(Forked {
            fork: fork.sequence,
            before,
        });
        self.lives.lower_floor(gives_back.then(|| fold.admission_floor()));
        self.lives
            .remembered
            .retain(|anchor| anchor.sequence <= fork.sequence);
        self.restoring.stop();
        self.shared.write().serve_from = Anchor::default();
        tracing::warn!(shard = %self.log.shard, fork = %fork.sequence, from = %fold.at().sequence, "reads the log again from where it is known");
        self.go_back_to(fold, fork.sequence);
    }

    fn read_again(&mut self, fold: Fold, gives_back: bool) {
        let at = fold.at().sequence;
        tracing::info!(shard = %self.log.shard, from = %at, "reads again what follows the fork of a life that it did not know");
        if gives_back {
            self.lives.lower_floor(Some(fold.admission_floor()));
            self.restoring.stop();
        }
        self.go_back_to(fold, at);
    }

    /// The fold goes on from an earlier state; what is applied stays applied. What is known of the log above `through` is forgotten.
    fn go_back_to(&mut self, fold: Fold, through: Sequence) {
        self.history.rewind(through);
        self.marks.rewind(through);
        self.lives.unsettle(self.context.now().mono);
        self.digests.clear();
        self.writer.handle_rewind(&fold);
        self.shared.write().fold = fold;
        self.reader = None;
    }
}
