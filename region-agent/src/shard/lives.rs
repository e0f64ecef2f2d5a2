//! Lives: what happens when the log lost a tail, and how the first life of an empty log begins (design.md section 5).
//!
//! A lost tail shows as an anchor that is not there any more. The fold goes back to the newest kept position whose
//! message still is, the store keeps what it applied, the log is read on from there, and at its end a life record is
//! appended whose parent is the life that lost its tail, unless another agent's stands there already. Then the own
//! region's cells that only this store may hold are given back ([`super::restore`]).

use std::time::Duration;

use bytes::Bytes;
use isthmus_log::Bounds;
use isthmus_replication::coordinates::{Anchor, Life, Sequence};
use isthmus_replication::fold::Fold;
use isthmus_replication::header::{LifeLink, LifeRecord, Lineage, Record};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::time::{Mono, Now};
use isthmus_runtime::events::Severity;
use isthmus_runtime::random;
use serde_json::json;

use super::Phase;
use super::past::Sought;
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
    pub(super) through: Option<Sequence>,
    /// A life has to begin, and has not yet.
    pub(super) forked: Option<Forked>,
    /// Own cells stamped above it are to be given back.
    pub(super) floor: Option<Hlc>,
    /// Own cells stamped above it are being given back.
    pub(super) giving_back: Option<Hlc>,
    highest_number: u64,
    append_again: Mono,
    unsettled_until: Mono,
    /// Positions that a checkpoint knew, oldest first.
    pub(super) remembered: Vec<Anchor>,
    /// Where the fold stood that this run began with, and its floor.
    pub(super) first: (Anchor, Hlc),
    /// Why the log's past is sought.
    pub(super) sought: Sought,
    /// No peer is believed before this that the log has lost a tail.
    pub(super) doubt_from: Mono,
    /// The newest life whose messages after its fork were read knowing of it.
    reread: Option<Life>,
}

/// A loss that was noticed.
#[derive(Debug)]
pub(super) struct Forked {
    /// The last sequence that is known to be what it was.
    pub(super) fork: Sequence,
    /// The lives that were known before. Those that the log has lost with their records begin again before the next one, for
    /// peers that stand in them.
    pub(super) before: Lineage,
}

impl Forked {
    /// Whether `life` is one that nobody here knew when the loss was noticed: the next life, begun by somebody.
    fn is_news(&self, life: Life) -> bool {
        let mut known = self.before.links().iter().map(|link| link.life);
        let oldest = known.clone().next().map_or(0, |life| life.number);
        life.number >= oldest && !known.any(|known| known == life)
    }
}

impl Lives {
    pub(super) fn new(fold: &Fold, remembered: Vec<Anchor>) -> Self {
        Self {
            phase: Phase::CatchingUp,
            through: None,
            forked: None,
            floor: None,
            giving_back: None,
            highest_number: highest_number(fold.lineage()),
            append_again: Mono::default(),
            unsettled_until: Mono::default(),
            remembered,
            first: (fold.at(), fold.admission_floor()),
            sought: Sought::OwnPast,
            doubt_from: Mono::default(),
            reread: None,
        }
    }

    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Stores of one position may differ from here on for a while: they hold what a lost tail had, or what follows where the fold
    /// has gone back to.
    pub(super) fn unsettle(&mut self, now: Mono) {
        self.unsettled_until = now.after(UNSETTLED);
    }

    /// Whether stores of one position may differ for a while.
    pub(super) fn unsettled(&self, now: Mono) -> bool {
        now < self.unsettled_until
    }

    /// Takes note of lives that are or were: the next one is numbered above them.
    pub(super) fn note_lineage(&mut self, lineage: &Lineage) {
        self.highest_number = self.highest_number.max(highest_number(lineage));
    }

    /// Own cells stamped above `floor` are to be given back, and what an earlier give-back has not brought to its end.
    pub(super) fn lower_floor(&mut self, floor: Option<Hlc>) {
        self.floor = [self.floor, self.giving_back.take(), floor]
            .into_iter()
            .flatten()
            .min();
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
        let (at, serve_from) = {
            let served = self.shared.read();
            (served.fold.at(), served.serve_from)
        };
        if bounds.last < serve_from.sequence && at.sequence < serve_from.sequence {
            tracing::warn!(shard = %self.log.shard, last = %bounds.last, known = %serve_from.sequence, "the log ends before what was read of it");
            self.checkpoint_differs();
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
        let Some(current) = current else {
            return self.begin_next_life(now, None, Sequence::NONE).await;
        };
        let Some(forked) = &self.lives.forked else {
            return self.caught_up();
        };
        let mut known = forked.before.links().iter();
        match known.find(|link| link.parent == Some(current)) {
            Some(lost) => self.begin_life(now, *lost).await,
            None => {
                let fork = forked.fork;
                self.begin_next_life(now, Some(current), fork).await;
            }
        }
    }

    fn caught_up(&mut self) {
        if let Some(floor) = self.lives.floor.take() {
            self.lives.giving_back = Some(floor);
            self.begin_restoring(floor);
        }
        self.set_phase(Phase::Serving);
    }

    async fn begin_next_life(&mut self, now: Now, parent: Option<Life>, fork: Sequence) {
        let (Ok(nonce), Some(number)) = (random::bits(), self.lives.highest_number.checked_add(1)) else {
            return;
        };
        let life = Life { number, nonce };
        self.begin_life(now, LifeLink { life, parent, fork }).await;
    }

    async fn begin_life(&mut self, now: Now, link: LifeLink) {
        if now.mono < self.lives.append_again {
            return;
        }
        self.lives.append_again = now.mono.after(AGAIN);
        if let Ok(message_id) = random::message_id() {
            let record = Record::Life(LifeRecord { message_id, link });
            self.append_own(record, Bytes::new(), 0).await;
        }
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
        self.lives.unsettle(now);
        let rewound = self.lives.forked.is_some();
        self.lives.forked.take_if(|forked| forked.is_news(link.life));
        let mut served = self.shared.write();
        if served.serve_from.sequence > link.fork && served.fold.at().sequence <= served.serve_from.sequence {
            self.lives.lower_floor(Some(self.lives.first.1));
            served.serve_from = Anchor::default();
        }
        drop(served);
        self.tell_life(link, parent);
        if link.life.supersedes(self.lives.reread) {
            self.lives.reread = Some(link.life);
            if !rewound {
                self.read_again_from(link.fork);
            }
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
