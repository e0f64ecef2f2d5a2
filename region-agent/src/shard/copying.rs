//! Copies the store of another agent when the log no longer has what is missing here, and gives
//! this store to others ([`isthmus_replication::image`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use isthmus_log::{PeerBus, PeerError, Role};
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::digests::Digests;
use isthmus_replication::follow::{Follow, Phase, Start};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::image::{
    self, Copier, Event, History, Image, PartAnswer, PartRequest, Request, Source,
};
use isthmus_replication::time::{Mono, Now};
use isthmus_runtime::events::Severity;
use isthmus_runtime::random;
use serde_json::json;
use tokio::sync::oneshot;

use super::marks::Marks;
use super::task::ShardTask;

/// Tombstones are kept for an agent that asked for a part within this time.
const HOLD: Duration = Duration::from_secs(10);

/// What a shard keeps of copies in both directions.
#[derive(Default)]
pub(super) struct Copying {
    /// The copy of another agent's store; none while nothing is missing here.
    copier: Option<Copier>,
    /// The pending request.
    asking: Option<BoxFuture<'static, Result<Bytes, PeerError>>>,
    /// When the copy began.
    since: Mono,
    /// How often the fold was replaced.
    rewinds: u64,
    /// Another agent copies this store: it needs the tombstones above this floor until then.
    holds: Option<(Hlc, Mono)>,
}

impl Copying {
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

    /// The fold was replaced by an earlier state: who copies this store begins again.
    pub(super) fn note_rewind(&mut self) {
        self.rewinds += 1;
    }

    /// How often the fold was replaced in this run.
    pub(super) fn rewinds(&self) -> u64 {
        self.rewinds
    }

    /// Others that copy this store need the tombstones above this floor.
    pub(super) fn holds_floor(&self, now: Mono) -> Option<Hlc> {
        let (floor, until) = self.holds?;
        (now < until).then_some(floor)
    }

    /// A part was given to an agent whose image began at this floor.
    pub(super) fn hold(&mut self, now: Mono, floor: Hlc) {
        let held = self.holds_floor(now).unwrap_or(floor);
        self.holds = Some((held.min(floor), now.after(HOLD)));
    }

    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.copier.as_ref()?.poll_timeout()
    }
}

impl ShardTask {
    /// Answers another agent that copies this store.
    pub(super) fn give_part(&mut self, request: &PartRequest, reply: oneshot::Sender<Bytes>) {
        let served = self.shared.read();
        let is_consistent = self.follow.is_consistent(served.fold.at());
        let floor = request.begun.map_or(served.fold.collected(), |_| request.floor);
        self.copying.hold(self.context.now().mono, floor);
        let source = Source {
            fold: &served.fold,
            store: &served.store,
            known_positions: &self.follow.known_positions(),
            history: History {
                run: self.context.run,
                rewinds: self.copying.rewinds,
            },
            serves: is_consistent && *self.phase() == Phase::Serving,
            part_bytes: image::PART_BYTES,
        };
        // The other agent may have stopped waiting.
        reply.send(image::answer(request, &source)).ok();
    }

    /// Copies a store while this one needs it.
    pub(super) fn drive_copy(&mut self, now: Now) {
        if !matches!(self.phase(), Phase::NeedsSync(_)) {
            return;
        }
        let rate = self.context.sync_rate();
        let log = &self.log;
        let sources: Vec<_> = self.context.other_agents.borrow().keys().cloned().collect();
        let copier = self
            .copying
            .copier
            .get_or_insert_with(|| Copier::new(log.clone(), rate));
        if self.copying.asking.is_none()
            && let Some(request) = copier.poll_request(now.mono, &sources)
        {
            let peers = Arc::clone(&self.context.ports.peers);
            self.copying.asking = Some(Box::pin(async move { ask(&*peers, &request).await }));
        }
    }

    /// A part has come, or none.
    pub(super) fn part_received(&mut self, answer: Result<Bytes, PeerError>) {
        let now = self.context.now().mono;
        let Some(copier) = &mut self.copying.copier else {
            return;
        };
        match &answer {
            Ok(part) => copier.handle_answer(now, PartAnswer::Part(part)),
            Err(PeerError::NoResponders) => copier.handle_answer(now, PartAnswer::NoResponders),
            Err(PeerError::Unanswered | PeerError::Away) => copier.handle_answer(now, PartAnswer::Unanswered),
        }
        let events: Vec<Event> = std::iter::from_fn(|| copier.poll_event()).collect();
        let image = copier.poll_image();
        for event in events {
            self.emit_copy(now, event);
        }
        match image {
            Some(image) => self.take_up(now, image),
            None => self.show_progress(),
        }
    }

    fn show_progress(&self) {
        let copier = self.copying.copier.as_ref();
        let progress = copier
            .and_then(Copier::progress)
            .map(|(source, progress)| super::Copying {
                source: source.clone(),
                progress,
                since: self.copying.since,
            });
        self.shared.write().copying = progress;
    }

    fn emit_copy(&mut self, now: Mono, event: Event) {
        let shard = self.log.shard.to_string();
        match event {
            Event::Began { source, cells } => {
                self.copying.since = now;
                let text = format!("copying the store of agent {source}: about {cells} cells");
                let fields = json!({ "shard": shard, "from": source.as_str(), "cells": cells });
                self.event(Severity::Notice, "sync_started", text, fields);
            }
            Event::Interrupted { source, reason } => {
                let text = format!("the copy of the store of agent {source} begins again: {reason}");
                let fields = json!({ "shard": shard, "from": source.as_str(), "reason": reason });
                self.event(Severity::Warning, "sync_interrupted", text, fields);
            }
            Event::Violation { source, invalid } => {
                self.context.metrics.sync_violations.inc();
                let text = format!(
                    "agent {source} sent an image that can't be used: {invalid}; nothing of it was applied"
                );
                let fields = json!({ "shard": shard, "from": source.as_str() });
                self.event(Severity::Alarm, "sync_violation", text, fields);
            }
        }
    }

    /// Continues with the contents of another agent's store.
    fn take_up(&mut self, now: Mono, image: Image) {
        let Ok(seed) = random::seed() else {
            return;
        };
        let (cells, bytes) = (image.store.cells(), image.store.bytes());
        let took = now.since(self.copying.since);
        let follow = Follow::new(Start {
            fold: &image.fold,
            known_positions: image.known_positions,
            serve_from: image.serve_from,
            writer: self.context.run,
            seed,
        });
        let phase = follow.phase().clone();
        {
            let served = &mut *self.shared.write();
            let before = served.store.bytes();
            served.store = image.store;
            served.store.checkpoint_lost();
            self.context.memory.changed(before, bytes);
            self.writer.handle_skip(&image.fold);
            served.fold = image.fold;
            served.reach = None;
            served.newest.clear();
            served.missing.clear();
            served.checkpointed = Sequence::NONE;
            served.copying = None;
            served.phase = phase;
        }
        self.follow = follow;
        self.asking = None;
        self.reader = None;
        self.digests = Digests::default();
        self.marks = Marks::default();
        self.copying.copier = None;
        self.copying.note_rewind();
        self.context.metrics.synced_cells.inc_by(cells);
        let text = format!(
            "copied {cells} cells, {bytes} bytes, in {} ms; the log is read from there",
            took.as_millis()
        );
        let fields = json!({ "shard": self.log.shard.to_string(), "cells": cells, "bytes": bytes, "ms": took.as_millis() as u64 });
        self.event(Severity::Notice, "sync_completed", text, fields);
        self.shared.tell_moved();
    }
}

async fn ask(peers: &dyn PeerBus, request: &Request) -> Result<Bytes, PeerError> {
    let suffix = image::suffix(&request.request.shard, &request.source);
    peers
        .request(Role::Agent, &suffix, request.request.encode(), image::ANSWER)
        .await
}
