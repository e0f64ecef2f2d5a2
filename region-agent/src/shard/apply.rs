//! Applying a message of the log: the fold's verdict, then the store, then everything that follows
//! from it.

use std::time::Duration;

use isthmus_log::StoredMessage;
use isthmus_replication::aside::{self, Entry};
use isthmus_replication::body;
use isthmus_replication::cell::{Cell, CellId};
use isthmus_replication::change::Change;
use isthmus_replication::delay::Delay;
use isthmus_replication::digests::Summary;
use isthmus_replication::fold::{Accepted, Fold, Gone, SubjectToken, Verdict, Void};
use isthmus_replication::follow::{CheckpointDiffers, ReaderEnd};
use isthmus_replication::header::{BodySeal, SourceFloors, SyncStep};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::names::RegionName;
use isthmus_replication::planted::{self, Planted};
use isthmus_replication::store::{Applied, Conflict, Store};
use isthmus_replication::sync::SyncBody;
use isthmus_replication::time::{Now, Wall};
use isthmus_replication::trace::TraceContext;
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;

use super::task::ShardTask;
use super::traces::{Came, Carried, Followed};
use super::{Newest, Phase, Served};
use crate::metrics::{OfConflict, OfOrigin, Reason};

/// What the changes of one message did.
#[derive(Debug, Default)]
struct Effects {
    /// For each change, whether a newer one had already won.
    superseded: Vec<bool>,
    conflicts: Vec<(CellId, Conflict)>,
    clashes: u64,
    /// Changes that were not applied because a newer delete may have been collected.
    late: Vec<(CellId, Cell)>,
    /// Cells of a sync wait until their source has caught up.
    waits: bool,
    carried: Carried,
}

/// A message that was applied.
struct Done {
    verdict: Verdict,
    /// The region whose changes it carries, and their effects.
    changes: Option<(RegionName, Result<Effects, Unusable>)>,
    delay: Option<(Delay, Wall)>,
}

/// Why nothing more may be applied.
enum Halt {
    /// The log was trimmed past the next message.
    Gone(Gone),
    /// The log contains what this version can't read.
    Newer { what: &'static str, number: u32 },
    /// The checkpoint holds effects of another message at this place.
    CheckpointDiffers(CheckpointDiffers),
}

/// Why the changes of an accepted message are missing.
#[derive(Debug)]
struct Unusable {
    label: &'static str,
    detail: String,
}

impl ShardTask {
    /// Judges and applies one message. Returns false if nothing after it may be applied.
    pub(super) fn apply(&mut self, message: StoredMessage) -> bool {
        let now = self.context.now();
        match self.fold_and_store(now, &message) {
            Ok(done) => {
                if let Some((origin, effects)) = done.changes {
                    self.report(&origin, &message, effects, done.delay, now);
                }
                self.take_verdict(&done.verdict, &message);
                true
            }
            Err(halt) => {
                self.halted(halt, &message);
                false
            }
        }
    }

    fn halted(&mut self, halt: Halt, message: &StoredMessage) {
        match halt {
            Halt::Gone(gone) => self.stop_reading(ReaderEnd::Gone(gone.to_string())),
            Halt::Newer { what, number } => self.stop_reading(ReaderEnd::Newer { what, number }),
            Halt::CheckpointDiffers(CheckpointDiffers { known }) => {
                tracing::warn!(shard = %self.log.shard, sequence = %message.sequence, found = %message.message_id(), known = %known.message_id, "the checkpoint has effects of another message than the log");
                self.follow(|follow, now, fold| follow.handle_differing_checkpoint(now, fold));
            }
        }
    }

    fn stop_reading(&mut self, end: ReaderEnd) {
        self.follow(|follow, now, fold| follow.handle_reader_end(now, fold, end));
    }

    /// The fold and the store change under one lock.
    fn fold_and_store(&mut self, now: Now, message: &StoredMessage) -> Result<Done, Halt> {
        let shared = std::sync::Arc::clone(&self.shared);
        let served = &mut *shared.write();
        let mut judged = message.as_message();
        if planted::is(Planted::ReaderClock) {
            judged.timestamp = now.wall;
        }
        let verdict = served.fold.apply(judged).map_err(Halt::Gone)?;
        if let Verdict::Stop { what, number } = verdict {
            return Err(Halt::Newer { what, number });
        }
        served.store.collect(served.fold.collected());
        served.log_time.note(message.timestamp, now.mono);
        served.voids += u64::from(matches!(verdict, Verdict::Void(_)));
        let at = served.fold.at();
        let placement = self.follow.handle_folded(at).map_err(Halt::CheckpointDiffers)?;
        if let Some(reach) = &mut served.reach {
            *reach = at;
        }
        let before = served.store.bytes();
        let origin = origin_of(&verdict, &served.fold);
        let mut effects = match &origin {
            Some(_) if let Some(floors) = floors_of(&verdict) => {
                apply_cells(&mut served.store, message, floors, served.fold.floor(), now.wall)
            }
            Some(origin) => {
                // If the store already had the effects of this position or a later one, a local
                // write may have been read and replaced before.
                let first = placement.is_first && matches!(verdict, Verdict::Accepted(Accepted::Batch(_)));
                apply_body(&mut served.store, origin, message, now.wall, first)
            }
            None => Ok(Effects::default()),
        };
        if let Ok(effects) = &mut effects
            && placement.is_known
        {
            effects.conflicts.clear();
            effects.late.clear();
        }
        let exemplar = effects
            .as_ref()
            .ok()
            .and_then(|effects| effects.carried.exemplar());
        let delay = self.note_newest(served, &verdict, message, exemplar);
        self.context.memory.changed(before, served.store.bytes());
        if !placement.is_below {
            self.digests.note(at, Summary::of(&served.store));
        }
        let superseded = effects.as_ref().map_or(&[][..], |effects| &effects.superseded);
        self.writer
            .handle_message(now, &served.fold, &verdict, superseded);
        Ok(Done {
            verdict,
            changes: origin.map(|origin| (origin, effects)),
            delay,
        })
    }

    /// Records how new the applied message is and how long it took to get here, by the clock of
    /// this region's log. A range carries the offset of the origin's clock from this one, as the
    /// accepting gateway estimated it. What an agent reads while it starts is not counted, since
    /// other agents, or its own last run, had it before.
    fn note_newest(
        &self,
        served: &mut Served,
        verdict: &Verdict,
        message: &StoredMessage,
        trace: Option<TraceContext>,
    ) -> Option<(Delay, Wall)> {
        let (Verdict::Accepted(accepted), Ok(header)) = (verdict, &message.header) else {
            return None;
        };
        let (applied, times) = (self.context.log_time(), &header.stages);
        let clock = self.context.server_clock.offset();
        let off_by = clock.map_or(Duration::ZERO, |clock| clock.uncertainty);
        let (region, appended, delay) = match accepted {
            Accepted::Range { origin, .. } => {
                let appended = served.fold.origin(origin).map(|origin| origin.appended);
                let delay = Delay::of_range(times, message.timestamp, applied);
                (
                    origin.clone(),
                    appended.unwrap_or_default().less(times.offset),
                    delay,
                )
            }
            own if own.carries_own_stamp() => {
                let delay = Delay::of_own(times, message.timestamp, applied);
                (self.log.region.clone(), served.fold.own_appended(), delay)
            }
            _ => return None,
        };
        let delay = delay.less_certain(off_by);
        if served.phase == Phase::Serving {
            self.context.metrics.took(&region, &delay, trace);
        }
        served.newest.insert(region, Newest { appended, delay });
        Some((delay, applied))
    }

    fn report(
        &mut self,
        origin: &RegionName,
        message: &StoredMessage,
        effects: Result<Effects, Unusable>,
        delay: Option<(Delay, Wall)>,
        began: Now,
    ) {
        let metrics = &self.context.metrics;
        match effects {
            Ok(effects) => {
                let labels = OfOrigin::from(origin);
                metrics
                    .applied
                    .get_or_create(&labels)
                    .inc_by(effects.superseded.len() as u64);
                if effects.clashes > 0 {
                    self.clashed(message, effects.clashes);
                }
                if let Some((delay, at)) = delay {
                    let came = Came {
                        origin,
                        message,
                        delay,
                        at,
                    };
                    self.trace_apply(came, &effects.carried, began.wall);
                }
                self.conflicts(message, effects.conflicts);
                self.syncing.waits |= effects.waits;
                if !effects.late.is_empty() && *origin != self.log.region {
                    self.arrived_late(origin);
                }
                for (id, cell) in effects.late {
                    let entry = Entry::of_late(&self.log, message.timestamp, id, cell);
                    self.context.aside.keep(entry);
                }
            }
            Err(unusable) => self.unusable(origin, message, &unusable),
        }
    }

    /// Changes of `origin` came after their place could be told: its store knows whether they were
    /// deleted since, so a sync decides.
    fn arrived_late(&self, origin: &RegionName) {
        let text = "changes arrived below the collected floor; a sync decides whether they count";
        let missing = &mut self.shared.write().missing;
        missing.entry(origin.clone()).or_insert_with(|| text.to_owned());
    }

    /// Counts the writes that were overwritten unseen, and sets aside those that this region wrote.
    fn conflicts(&self, message: &StoredMessage, conflicts: Vec<(CellId, Conflict)>) {
        let set = &self.context.process.settings.process.set;
        for (id, conflict) in conflicts {
            let labels = OfConflict {
                bucket: set.label_of(&id.bucket).to_owned(),
                winner: conflict.winner.region.to_string(),
                loser: conflict.loser.version.region.to_string(),
            };
            self.context.metrics.conflicts.get_or_create(&labels).inc();
            if let Some(entry) = Entry::of_conflict(&self.log, message.timestamp, id, conflict) {
                self.context.aside.keep(entry);
            }
        }
    }

    /// Sets aside what is lost with a void message, whichever agent wrote it: its writer may be
    /// gone.
    fn lost(&self, void: Void, message: &StoredMessage) {
        let own = matches!(&message.token, Some(SubjectToken::Origin(region)) if *region == self.log.region);
        let (true, Ok(header)) = (own, &message.header) else {
            return;
        };
        let served = self.shared.read();
        let entries = aside::of_void(
            &self.log,
            &served.store,
            void,
            message.timestamp,
            header,
            &message.body,
        );
        drop(served);
        entries
            .into_iter()
            .for_each(|entry| self.context.aside.keep(entry));
    }

    fn clashed(&self, message: &StoredMessage, clashes: u64) {
        let fields = json!({
            "shard": self.log.shard.to_string(),
            "sequence": message.sequence.0,
            "changes": clashes,
        });
        let text = "one version arrived with two contents: a writer identifier was used twice; the greater content is kept";
        self.event(Severity::Alarm, "version_clash", text, fields);
    }

    fn unusable(&self, origin: &RegionName, message: &StoredMessage, unusable: &Unusable) {
        let reason = Reason {
            reason: unusable.label,
        };
        self.context.metrics.unusable_bodies.get_or_create(&reason).inc();
        let text = format!(
            "the changes of message {} at {} are missing: {}; a sync must bring them",
            message.message_id(),
            message.sequence,
            unusable.detail
        );
        let fields = json!({
            "shard": self.log.shard.to_string(),
            "origin": origin.as_str(),
            "sequence": message.sequence.0,
            "message_id": message.message_id().to_string(),
        });
        self.shared.write().missing.insert(origin.clone(), text.clone());
        self.event(Severity::Alarm, "changes_missing", text, fields);
    }

    fn take_verdict(&mut self, verdict: &Verdict, message: &StoredMessage) {
        let id = message.message_id();
        self.follow(|follow, now, fold| follow.handle_message(now, fold, id, verdict));
        self.note_synced(id, verdict);
        match verdict {
            Verdict::Accepted(accepted) => self.accepted(accepted, message),
            Verdict::Void(void) => {
                self.void(*void, message);
                self.lost(*void, message);
            }
            Verdict::Stop { .. } => {}
        }
    }

    fn accepted(&mut self, accepted: &Accepted, message: &StoredMessage) {
        match accepted {
            Accepted::Mark(mark) => self.read_mark(mark, message),
            Accepted::Range {
                origin, gap: true, ..
            } => {
                let unusable = Unusable {
                    label: "gap",
                    detail: "the accepting gateway could not decode them".to_owned(),
                };
                self.unusable(origin, message, &unusable);
            }
            Accepted::Membership { number, .. } => {
                tracing::info!(shard = %self.log.shard, number, "membership recorded");
            }
            Accepted::Batch(_)
            | Accepted::Range { .. }
            | Accepted::Restored { .. }
            | Accepted::Barrier(_)
            | Accepted::Sync(_)
            | Accepted::Life(_) => {}
        }
    }

    /// Records an event of this shard.
    pub(super) fn event(
        &self,
        severity: Severity,
        kind: &'static str,
        text: impl Into<String>,
        fields: serde_json::Value,
    ) {
        let source = Source::default().of_shard(&self.log.shard);
        let events = &self.context.process.events;
        events.record_from(&source, severity, kind, text, fields);
    }
}

/// The region whose changes an accepted message carries; none if it carries none.
fn origin_of(verdict: &Verdict, fold: &Fold) -> Option<RegionName> {
    match verdict {
        Verdict::Accepted(Accepted::Batch(_) | Accepted::Restored { .. }) => Some(fold.log().region.clone()),
        _ if floors_of(verdict).is_some() => fold.sync_source().cloned(),
        Verdict::Accepted(Accepted::Range {
            origin, gap: false, ..
        }) => Some(origin.clone()),
        _ => None,
    }
}

/// The floors of a sync's source, if the message carries its cells.
fn floors_of(verdict: &Verdict) -> Option<SourceFloors> {
    match verdict {
        Verdict::Accepted(Accepted::Sync(record)) => match record.step {
            SyncStep::Cells { floors, .. } => Some(floors),
            SyncStep::Begin { .. } | SyncStep::End { .. } => None,
        },
        _ => None,
    }
}

/// Applies the cells of a sync. What would be late waits until the source has caught up.
fn apply_cells(
    store: &mut Store,
    message: &StoredMessage,
    floors: SourceFloors,
    floor: Hlc,
    at: Wall,
) -> Result<Effects, Unusable> {
    check_seal(message)?;
    let body = SyncBody::decode(&message.body).map_err(|error| Unusable {
        label: "undecodable",
        detail: error.to_string(),
    })?;
    let (applied, _) = body.apply(store, floors, floor, at);
    let mut effects = Effects::default();
    for (id, applied) in applied {
        effects.superseded.push(applied.superseded());
        effects.clashes += u64::from(applied == Applied::Clash);
        effects.waits |= matches!(applied, Applied::Late(_));
        let conflict = applied.into_conflict();
        effects.conflicts.extend(conflict.map(|conflict| (id, conflict)));
    }
    Ok(effects)
}

fn check_seal(message: &StoredMessage) -> Result<BodySeal, Unusable> {
    let seal = message
        .header
        .as_ref()
        .map_or(BodySeal::default(), |header| header.body);
    seal.check(&message.body).map_err(|error| Unusable {
        label: "broken_seal",
        detail: error.to_string(),
    })?;
    Ok(seal)
}

fn apply_body(
    store: &mut Store,
    origin: &RegionName,
    message: &StoredMessage,
    at: Wall,
    first: bool,
) -> Result<Effects, Unusable> {
    let seal = check_seal(message)?;
    let changes = body::open(seal.codec, origin, message.body.clone()).map_err(|error| Unusable {
        label: "undecodable",
        detail: error.to_string(),
    })?;
    let mut effects = Effects {
        superseded: Vec::with_capacity(changes.len()),
        ..Effects::default()
    };
    for change in changes {
        apply_change(store, change, at, first, &mut effects);
    }
    Ok(effects)
}

fn apply_change(store: &mut Store, change: Change, at: Wall, first: bool, effects: &mut Effects) {
    let followed = || Followed {
        version: change.version.clone(),
        trace: change.trace,
        id: change.id.clone(),
    };
    effects.carried.first.get_or_insert_with(followed);
    if change.trace.is_some_and(|trace| trace.sampled()) {
        effects.carried.sampled.push(followed());
    }
    let id = change.id.clone();
    let applied = match first {
        true => store.apply_first(change, at),
        false => store.apply(change, at),
    };
    effects.superseded.push(applied.superseded());
    effects.clashes += u64::from(applied == Applied::Clash);
    if let Applied::Late(cell) = applied {
        effects.late.push((id, *cell));
        return;
    }
    let conflict = applied.into_conflict();
    effects.conflicts.extend(conflict.map(|conflict| (id, conflict)));
}
