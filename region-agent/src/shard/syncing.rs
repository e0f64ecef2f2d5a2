//! Takes from other regions what this log lacks while this agent is the steward, and gives other
//! regions' stewards what they ask for ([`isthmus_replication::sync`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use isthmus_log::{PeerBus, PeerError, Role};
use isthmus_replication::coordinates::{Cursor, MessageId};
use isthmus_replication::fold::{Accepted, Verdict};
use isthmus_replication::follow::Phase;
use isthmus_replication::header::SyncStep;
use isthmus_replication::image::History;
use isthmus_replication::names::RegionName;
use isthmus_replication::sync::{
    self, Event, Request, Source, SourceAnswer, SyncProgress, SyncRequest, Target, Wants,
};
use isthmus_replication::time::{Mono, Now};
use isthmus_runtime::events::Severity;
use isthmus_runtime::random;
use serde_json::json;
use tokio::sync::oneshot;

use super::task::ShardTask;

/// The steward's tasks name what is stuck at least this often, or this agent is no longer the
/// steward.
const WANTED: Duration = Duration::from_secs(3);
/// A lane is stuck once its cursor has not moved for this long while its sender reports it. A sync
/// moves the cursor before the next report arrives.
const STUCK: Duration = Duration::from_millis(1500);
/// If cells wait for their source to catch up, the next sync for them begins this much later.
const WAIT: Duration = Duration::from_secs(30);
/// Syncs leave room for other records on their way to the log.
const APPENDS: usize = 128;

/// What a shard keeps of syncs with other regions.
#[derive(Default)]
pub(super) struct Syncing {
    target: Option<Target>,
    /// The pending request.
    asking: Option<BoxFuture<'static, Result<Bytes, PeerError>>>,
    /// Regions whose lanes are stuck, since when, and at which cursor.
    stuck: BTreeMap<RegionName, (Option<Cursor>, Mono)>,
    /// This agent is the steward until then.
    until: Mono,
    /// When the sync began.
    since: Mono,
    /// Cells of the sync that is under way wait for its source to catch up.
    pub(super) waits: bool,
    /// What is missing for other reasons than a gap is wanted from then on.
    missing_from: Mono,
}

impl Syncing {
    /// What came of the request. Never completes if there is none.
    pub(super) async fn answer(&mut self) -> Result<Bytes, PeerError> {
        match &mut self.asking {
            Some(asking) => {
                let answer = asking.await;
                self.asking = None;
                answer
            }
            None => std::future::pending().await,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.target.as_ref()?.poll_timeout()
    }

    /// The stamp above which tombstones are needed for the sync that is under way.
    pub(super) fn holds_floor(&self) -> Option<isthmus_replication::hlc::Hlc> {
        self.target.as_ref()?.holds_floor()
    }
}

impl ShardTask {
    /// This agent is the steward: the lanes of the regions in `stuck` can't bring what is missing.
    pub(super) fn steward_syncs(&mut self, stuck: &BTreeSet<RegionName>) {
        let now = self.context.now().mono;
        self.syncing.until = now.after(WANTED);
        let served = self.shared.read();
        let held = &mut self.syncing.stuck;
        held.retain(|region, _| stuck.contains(region));
        for region in stuck {
            let cursor = served.fold.origin(region).map(|origin| origin.cursor);
            let (at, since) = held.entry(region.clone()).or_insert((cursor, now));
            if *at != cursor {
                (*at, *since) = (cursor, now);
            }
        }
    }

    /// Takes what is missing while this agent is the steward.
    pub(super) async fn drive_sync(&mut self, now: Now) {
        let serves = matches!(self.phase(), Phase::Serving | Phase::LostBefore);
        if !serves || now.mono >= self.syncing.until {
            self.end_sync();
            return;
        }
        if self.syncing.target.is_none() && !self.may_lack() {
            return;
        }
        let wants = self.sync_wants(now.mono);
        let Some(mut target) = self.sync_target(&wants) else {
            return;
        };
        target.handle_timeout(now.mono);
        while self.appends.len() < APPENDS {
            let next = target.poll_record(now, &self.shared.read().fold, &wants);
            let Some((record, body)) = next else { break };
            self.append_own(record, body, 0).await;
        }
        if self.syncing.asking.is_none()
            && let Some(request) = target.poll_request(now.mono, &self.shared.read().fold, &wants)
        {
            let peers = Arc::clone(&self.context.ports.peers);
            self.syncing.asking = Some(Box::pin(async move { ask(&*peers, &request).await }));
        }
        self.syncing.target = Some(target);
        self.emit_sync(now.mono);
    }

    fn end_sync(&mut self) {
        if self.syncing.target.take().is_some() {
            self.shared.write().syncing = None;
        }
        self.syncing.asking = None;
    }

    /// Whether anything may be missing here.
    fn may_lack(&self) -> bool {
        let served = self.shared.read();
        let mut origins = served.fold.origins();
        !self.syncing.stuck.is_empty()
            || !served.missing.is_empty()
            || served.fold.lost_before()
            || origins.any(|(_, origin)| origin.needs_sync())
    }

    fn sync_wants(&self, now: Mono) -> Wants {
        let stuck = self.syncing.stuck.iter();
        let stuck = stuck.filter(|(_, (_, since))| since.after(STUCK) <= now);
        let served = self.shared.read();
        let missing = served.missing.keys().filter(|_| now >= self.syncing.missing_from);
        let missing = stuck.map(|(region, _)| region).chain(missing);
        Wants::of(&served.fold, &missing.cloned().collect())
    }

    /// The machine; none while nothing is missing.
    fn sync_target(&mut self, wants: &Wants) -> Option<Target> {
        let target = self.syncing.target.take();
        if wants.is_empty() && target.as_ref().is_none_or(|target| target.progress().is_none()) {
            self.syncing.asking = None;
            return None;
        }
        target.or_else(|| {
            let rate = self.context.sync_rate();
            let seed = random::seed().ok()?;
            Some(Target::new(self.log.clone(), self.context.run, rate, seed))
        })
    }

    /// A source has answered, or has not.
    pub(super) fn source_answered(&mut self, answer: Result<Bytes, PeerError>) {
        let now = self.context.now().mono;
        let Some(target) = &mut self.syncing.target else {
            return;
        };
        let answer = match &answer {
            Ok(bytes) => SourceAnswer::Bytes(bytes),
            Err(PeerError::NoResponders) => SourceAnswer::NoResponders,
            Err(PeerError::Unanswered | PeerError::Away) => SourceAnswer::Unanswered,
        };
        let served = self.shared.read();
        target.handle_answer(now, answer, &served.fold, &served.store);
        drop(served);
        self.emit_sync(now);
    }

    /// A message of the log was folded.
    pub(super) fn note_synced(&mut self, message_id: MessageId, verdict: &Verdict) {
        let step = match verdict {
            Verdict::Accepted(Accepted::Sync(record)) => Some(&record.step),
            _ => None,
        };
        if let Some(SyncStep::Begin { .. }) = step {
            self.syncing.waits = false;
        }
        if let Some(SyncStep::End { .. }) = step
            && std::mem::take(&mut self.syncing.waits)
        {
            self.syncing.missing_from = self.context.now().mono.after(WAIT);
        } else if let Some(SyncStep::End { .. }) = step {
            let served = &mut *self.shared.write();
            let fold = &served.fold;
            served.missing.retain(|region, _| {
                let origin = fold.origin(region);
                origin.is_some_and(|origin| origin.needs_sync())
            });
        }
        if let Some(target) = &mut self.syncing.target {
            target.handle_message(&self.shared.read().fold, message_id, verdict);
        }
    }

    fn emit_sync(&mut self, now: Mono) {
        let Some(target) = &mut self.syncing.target else {
            return;
        };
        let events: Vec<Event> = std::iter::from_fn(|| target.poll_event()).collect();
        let progress = target.progress().map(|(source, progress)| super::Syncing {
            source: source.clone(),
            progress,
            since: self.syncing.since,
        });
        let before = self.shared.read().syncing.clone();
        if before != progress {
            self.shared.write().syncing = progress;
        }
        for event in events {
            self.tell_sync(now, event);
        }
    }

    fn tell_sync(&mut self, now: Mono, event: Event) {
        let shard = self.log.shard.to_string();
        match event {
            Event::Began { source, cells } => {
                self.syncing.since = now;
                let text = format!("taking what is missing from region {source}: it has about {cells} cells");
                let fields = json!({ "shard": shard, "from": source.as_str(), "cells": cells });
                self.event(Severity::Notice, "sync_started", text, fields);
            }
            Event::Interrupted { source, reason } => {
                let text = format!("the sync from region {source} begins again: {reason}");
                let fields = json!({ "shard": shard, "from": source.as_str(), "reason": reason });
                self.event(Severity::Warning, "sync_interrupted", text, fields);
            }
            Event::Violation { source, invalid } => {
                self.context.metrics.sync_violations.inc();
                let text = format!(
                    "region {source} sent cells that can't be used: {invalid}; nothing of them was applied"
                );
                let fields = json!({ "shard": shard, "from": source.as_str() });
                self.event(Severity::Alarm, "sync_violation", text, fields);
            }
            Event::NoSource { reasons } => {
                let text = match reasons.is_empty() {
                    true => "no other region is a member of this shard's group".to_owned(),
                    false => {
                        let reasons = reasons.iter().map(|(region, why)| format!("{region}: {why}"));
                        reasons.collect::<Vec<_>>().join("; ")
                    }
                };
                let text = format!(
                    "changes are missing, and no region can give them now: {text}; it is tried again until one can"
                );
                self.event(
                    Severity::Alarm,
                    "sync_without_source",
                    text,
                    json!({ "shard": shard }),
                );
            }
            Event::Completed { source, progress } => self.tell_completed(now, &source, progress),
        }
    }

    fn tell_completed(&mut self, now: Mono, source: &RegionName, progress: SyncProgress) {
        self.context.metrics.synced_cells.inc_by(progress.taken);
        let took = now.since(self.syncing.since).as_millis() as u64;
        let SyncProgress {
            compared,
            taken,
            bytes,
            ..
        } = progress;
        let text = format!(
            "compared {compared} cells with region {source} and took {taken}, {bytes} bytes in {took} ms"
        );
        let fields = json!({
            "shard": self.log.shard.to_string(),
            "from": source.as_str(),
            "cells": taken,
            "bytes": bytes,
            "ms": took,
        });
        self.event(Severity::Notice, "sync_completed", text, fields);
    }

    /// Answers the steward of another region. An agent that can't begin a sync leaves the answer to
    /// others.
    pub(super) fn give_cells(&mut self, request: &Request, reply: oneshot::Sender<Bytes>) {
        let served = self.shared.read();
        let is_consistent = self.follow.is_consistent(served.fold.at());
        let source = Source {
            agent: &self.context.process.settings.process.name,
            history: History {
                run: self.context.run,
                rewinds: self.copying.rewinds(),
            },
            fold: &served.fold,
            store: &served.store,
            serves: is_consistent && *self.phase() == Phase::Serving,
        };
        let answer = sync::answer(request, &source);
        let floor = match (&request.begun, &answer) {
            (Some(begun), sync::Reply::Spans(_) | sync::Reply::Cells { .. }) => Some(begun.collected),
            (None, sync::Reply::Begun { begun, .. }) => Some(begun.collected),
            _ => None,
        };
        drop(served);
        if let Some(floor) = floor {
            self.copying.hold(self.context.now().mono, floor);
        }
        let leaves_it = matches!(&answer, sync::Reply::Refused { lost: false, .. });
        if request.begun.is_some() || !leaves_it {
            // The steward may have stopped waiting.
            reply.send(answer.encode()).ok();
        }
    }
}

async fn ask(peers: &dyn PeerBus, request: &SyncRequest) -> Result<Bytes, PeerError> {
    let suffix = sync::gateway_suffix(&request.source);
    peers
        .request(Role::Gateway, &suffix, request.request.encode(), sync::ANSWER)
        .await
}
