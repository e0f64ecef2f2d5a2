//! Lives: what happens when the log lost a tail, and how the first life of an empty log begins (design.md section 5).
//!
//! A lost tail shows as an anchor that is not there any more. The fold goes back to the newest kept position whose
//! message still is, the store keeps what it applied, the log is read on from there, and at its end a life record is
//! appended whose parent is the life that lost its tail, unless another agent's stands there already. Then the own
//! region's cells that only this store may hold are given back ([`super::restore`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use isthmus_log::Bounds;
use isthmus_replication::coordinates::{Anchor, Cursor, Life, Sequence};
use isthmus_replication::fold::Fold;
use isthmus_replication::header::{LifeLink, LifeRecord, Lineage, Record};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::peer::PeerDoubt;
use isthmus_replication::time::{Mono, Now};
use isthmus_runtime::events::Severity;
use isthmus_runtime::random;
use serde_json::json;

use super::Phase;
use super::fork::{Finder, Finding};
use super::task::ShardTask;

/// Between two life records.
const AGAIN: Duration = Duration::from_secs(1);
/// After a new life agents hold different tails until each has given its own back: so long no digests are compared.
const UNSETTLED: Duration = Duration::from_secs(15);

/// What a shard knows of its log's lives.
#[derive(Debug)]
pub(super) struct Lives {
    phase: Phase,
    /// The log's end when it was asked: up to here it is caught up with before anything is served.
    through: Option<Sequence>,
    /// The life that lost its tail, and where it forks.
    ended: Option<(Life, Sequence)>,
    /// Own cells stamped above it are given back.
    floor: Option<Hlc>,
    highest_number: u64,
    append_again: Mono,
    unsettled_until: Mono,
    /// Positions that a checkpoint knew, oldest first.
    remembered: Vec<Anchor>,
    /// The floor of the fold that this run began with.
    first_floor: Hlc,
    /// Why the log's past is sought.
    sought: Sought,
    /// The newest life whose messages after its fork were read knowing of it.
    reread: u64,
}

/// Why the log's past is sought.
#[derive(Debug, Default)]
enum Sought {
    /// Something read here may not be there any more.
    #[default]
    OwnPast,
    /// A peer has a message of the log that may not be there.
    Doubt(PeerDoubt),
    /// A life began of which nothing was known when what follows its fork was read.
    Reread,
}

impl Lives {
    pub(super) fn new(fold: &Fold, remembered: Vec<Anchor>) -> Self {
        Self {
            phase: Phase::CatchingUp,
            through: None,
            ended: None,
            floor: None,
            highest_number: highest_number(fold.lineage()),
            append_again: Mono::default(),
            unsettled_until: Mono::default(),
            remembered,
            first_floor: fold.admission_floor(),
            sought: Sought::OwnPast,
            reread: 0,
        }
    }

    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether stores of one position may differ for a while.
    pub(super) fn unsettled(&self, now: Mono) -> bool {
        now < self.unsettled_until
    }
}

impl ShardTask {
    /// Takes up a phase, and says so everywhere.
    pub(super) fn set_phase(&mut self, phase: Phase) {
        if self.lives.phase == phase {
            return;
        }
        let shard = self.log.shard.to_string();
        match &phase {
            Phase::UpgradeNeeded { what, number } => {
                let text =
                    format!("upgrade needed: the log holds {what} {number}, which this version can't read");
                self.event(Severity::Alarm, "upgrade_needed", text, json!({ "shard": shard }));
            }
            Phase::NeedsSync(reason) => {
                let text = format!("needs sync: {reason}");
                self.event(Severity::Alarm, "needs_sync", text, json!({ "shard": shard }));
            }
            Phase::Unreadable(reason) => {
                self.event(
                    Severity::Alarm,
                    "log_unreadable",
                    reason.clone(),
                    json!({ "shard": shard }),
                );
            }
            Phase::Serving => tracing::info!(%shard, "caught up with the log"),
            Phase::CatchingUp | Phase::NewLife => {}
        }
        if matches!(phase, Phase::UpgradeNeeded { .. } | Phase::NeedsSync(_)) {
            self.reader = None;
        }
        self.lives.phase = phase.clone();
        self.shared.write().phase = phase;
        self.shared.tell_moved();
        self.set_conditions();
    }

    /// The log told where it ends.
    pub(super) fn bounded(&mut self, bounds: Bounds) {
        let at = self.shared.read().fold.at();
        let serve_from = self.shared.read().serve_from;
        if bounds.last < serve_from.sequence && at.sequence < serve_from.sequence {
            tracing::warn!(shard = %self.log.shard, last = %bounds.last, known = %serve_from.sequence, "the log ends before what was read of it");
            self.rewind(at, None);
        }
        self.lives.through = Some(bounds.last);
    }

    /// Serves once the log is caught up with; begins a life where one is needed.
    pub(super) async fn advance(&mut self, now: Now) {
        self.give_back(now).await;
        let reading =
            matches!(self.lives.phase, Phase::CatchingUp | Phase::NewLife) && self.finding.is_none();
        let Some(through) = self.lives.through.filter(|_| reading) else {
            return;
        };
        let (at, current) = {
            let served = self.shared.read();
            (served.fold.at().sequence, served.fold.lineage().current())
        };
        if at < through {
            return;
        }
        match (current, self.lives.ended) {
            (None, _) => self.begin_life(now, None, Sequence::NONE).await,
            (Some(life), Some((ended, fork))) if life == ended => {
                self.begin_life(now, Some(life), fork).await
            }
            (Some(_), _) => self.caught_up(),
        }
    }

    fn caught_up(&mut self) {
        self.lives.ended = None;
        if let Some(floor) = self.lives.floor.take() {
            self.begin_restoring(floor);
        }
        self.set_phase(Phase::Serving);
    }

    async fn begin_life(&mut self, now: Now, parent: Option<Life>, fork: Sequence) {
        if now.mono < self.lives.append_again {
            return;
        }
        self.lives.append_again = now.mono.after(AGAIN);
        let (Ok(message_id), Ok(nonce)) = (random::message_id(), random::bits()) else {
            return;
        };
        let number = self.lives.highest_number + 1;
        let link = LifeLink {
            life: Life { number, nonce },
            parent,
            fork,
        };
        self.append_own(Record::Life(LifeRecord { message_id, link }), Bytes::new(), 0)
            .await;
    }

    /// A life record was read.
    pub(super) fn life_began(&mut self, link: LifeLink) {
        let now = self.context.now().mono;
        self.lives.highest_number = self.lives.highest_number.max(link.life.number);
        let shard = self.log.shard.to_string();
        let Some(parent) = link.parent else {
            tracing::info!(%shard, life = %link.life, "the log's first life began");
            return;
        };
        self.digests.clear();
        self.lives.unsettled_until = now.after(UNSETTLED);
        let known = self.lives.ended.is_some_and(|(ended, _)| ended == parent);
        let unread = link.life.number > self.lives.reread && !known;
        self.lives.reread = self.lives.reread.max(link.life.number);
        let mut served = self.shared.write();
        if served.serve_from.sequence > link.fork && served.fold.at().sequence <= served.serve_from.sequence {
            let floor = self.lives.first_floor;
            self.lives.floor = Some(self.lives.floor.map_or(floor, |held| held.min(floor)));
            served.serve_from = Anchor::default();
        }
        drop(served);
        self.tell_life(link, parent);
        if unread {
            self.read_again_from(link);
        }
    }

    fn tell_life(&self, link: LifeLink, parent: Life) {
        let shard = self.log.shard.to_string();
        if self.lives.phase == Phase::CatchingUp {
            tracing::info!(%shard, life = %link.life, fork = %link.fork, "read of a life that began before");
            return;
        }
        self.context.metrics.lives.inc();
        let text = format!(
            "life {} began: the log had lost its tail after {}",
            link.life, link.fork
        );
        let fields = json!({ "shard": shard, "life": link.life.to_string(), "parent": parent.to_string(), "fork": link.fork.0 });
        self.event(Severity::Alarm, "new_life", text, fields);
    }

    /// Asks the log whether it still is what was read of it.
    pub(super) fn check_anchor(&mut self) {
        if self.finding.is_some() {
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
        let finder = Finder {
            log: Arc::clone(&self.context.ports.log),
            shard: self.log.shard.clone(),
            at,
            known,
            states: self.history.clone(),
        };
        self.lives.sought = why;
        self.finding = Some(Box::pin(finder.find()));
    }

    /// A peer has the log through a message that may not be there: this agent looks for itself. What the log has of the places
    /// where the peer had it before is shared; the newest of them is the fork.
    pub(super) fn doubted(&mut self, doubt: PeerDoubt) {
        let anchor = |cursor: &Cursor| Anchor {
            sequence: cursor.position.sequence,
            message_id: cursor.message_id,
        };
        let shared = self
            .shared
            .read()
            .fold
            .lineage()
            .shared_through(doubt.cursor.position);
        let forked = shared.is_some_and(|shared| shared < doubt.cursor.position.sequence);
        if forked || self.finding.is_some() {
            return;
        }
        let at = anchor(&doubt.cursor);
        let known = doubt
            .landmarks
            .iter()
            .map(anchor)
            .chain([Anchor::default()])
            .collect();
        self.seek(Sought::Doubt(doubt), Some(at), known);
    }

    /// What follows the fork of a life may have been read before the log lost its tail, and a message may stand where it stood
    /// before although others do not. So the first time that a life is met the log is read again from its fork.
    fn read_again_from(&mut self, link: LifeLink) {
        let known = self
            .own_past()
            .filter(|anchor| anchor.sequence <= link.fork)
            .collect();
        self.reader = None;
        self.set_phase(Phase::CatchingUp);
        self.seek(Sought::Reread, None, known);
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

    /// What the log told of its past.
    pub(super) fn fork_found(&mut self, finding: Finding) {
        match (std::mem::take(&mut self.lives.sought), finding) {
            (_, Finding::Intact) if self.reader.is_some() => {}
            (_, Finding::Intact) => self.begin_reading(),
            (Sought::OwnPast, Finding::Fork(fork, fold)) => {
                self.rewind(fork, Some(*fold));
                self.begin_reading();
            }
            (Sought::OwnPast, Finding::Lost) => {
                let reason = "nothing that this agent knows of the log's past is in the log";
                self.set_phase(Phase::NeedsSync(reason.to_owned()));
            }
            (Sought::Doubt(doubt), Finding::Fork(fork, fold)) => {
                self.doubt_holds(&doubt, Some(fork));
                self.rewind(fork, Some(*fold));
                self.begin_reading();
            }
            (Sought::Doubt(doubt), Finding::Lost) => self.doubt_holds(&doubt, None),
            (Sought::Reread, Finding::Fork(_, fold)) => {
                let at = fold.at().sequence;
                tracing::info!(shard = %self.log.shard, from = %at, "reads again what follows the fork of a life that it did not know");
                self.set_fold(*fold);
                self.begin_reading();
            }
            (Sought::Reread, Finding::Lost) => self.begin_reading(),
        }
    }

    fn doubt_holds(&mut self, doubt: &PeerDoubt, fork: Option<Anchor>) {
        let number = doubt.cursor.position.life.number;
        self.lives.highest_number = self.lives.highest_number.max(number);
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

    /// The fold goes on from an earlier state; what is applied stays applied.
    fn set_fold(&mut self, fold: Fold) {
        self.history.rewind(fold.at().sequence);
        self.marks.rewind(fold.at().sequence);
        self.digests.clear();
        self.writer.handle_rewind(&fold);
        self.lives.through = None;
        self.shared.write().fold = fold;
    }

    /// Goes back to `fork`; `fold` is the state there or below, none if the present one stands there.
    fn rewind(&mut self, fork: Anchor, fold: Option<Fold>) {
        self.set_phase(Phase::NewLife);
        let mut served = self.shared.write();
        let present = highest_number(served.fold.lineage());
        self.lives.highest_number = self.lives.highest_number.max(present);
        self.lives.ended = served.fold.lineage().current().map(|life| (life, fork.sequence));
        if let Some(fold) = fold {
            served.fold = fold;
        }
        served.serve_from = Anchor::default();
        let floor = served.fold.admission_floor();
        self.lives.floor = Some(self.lives.floor.map_or(floor, |held| held.min(floor)));
        self.lives.through = None;
        self.history.rewind(fork.sequence);
        self.marks.rewind(fork.sequence);
        self.lives
            .remembered
            .retain(|anchor| anchor.sequence <= fork.sequence);
        self.digests.clear();
        self.restoring.stop();
        self.writer.handle_rewind(&served.fold);
        tracing::warn!(shard = %self.log.shard, fork = %fork.sequence, from = %served.fold.at().sequence, "reads the log again from where it is known");
    }

    /// Positions that are known of the log's past, oldest first: what a checkpoint remembers.
    pub(super) fn known_past(&self) -> Vec<Anchor> {
        let mut known: Vec<Anchor> = self.history.anchors().collect();
        known.reverse();
        let oldest = known.first().map_or(Sequence(u64::MAX), |anchor| anchor.sequence);
        let remembered = self
            .lives
            .remembered
            .iter()
            .filter(|anchor| anchor.sequence < oldest);
        let mut all: Vec<Anchor> = remembered.copied().chain(known).collect();
        let surplus = all
            .len()
            .saturating_sub(2 * isthmus_replication::limits::KEPT_MARKS);
        all.drain(..surplus);
        all
    }
}

fn highest_number(lineage: &Lineage) -> u64 {
    lineage
        .links()
        .iter()
        .map(|link| link.life.number)
        .max()
        .unwrap_or(0)
}
