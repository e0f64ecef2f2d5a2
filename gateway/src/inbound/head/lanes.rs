//! The receiving lanes that links open: one machine each, all appending to one log.

use isthmus_log::AppendError;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::link::landmarks::LandmarksAnswer;
use isthmus_replication::link::lane::RangeFrame;
use isthmus_replication::link::session::ClockEstimate;
use isthmus_replication::names::RegionName;
use isthmus_replication::receiving::{Append, AppendFailure, AppendId, Receiving, ReceivingEvent};
use isthmus_runtime::events::{Severity, Source};
use tokio::sync::mpsc;

use super::{HeadTask, ToHead};
use crate::outbox::Outbox;
use crate::traces::{Hop, LaneTraces};

pub(super) struct ReceivingLane {
    pub(super) origin: RegionName,
    pub(super) receiving: Receiving,
    pub(super) traces: LaneTraces,
    outbox: Outbox,
    /// Whether the Welcome is queued, which reports must not overtake.
    welcomed: bool,
    violations: mpsc::Sender<String>,
}

impl HeadTask {
    pub(super) fn handle(&mut self, input: ToHead) {
        match input {
            open @ ToHead::Open { .. } if !self.is_at_head() => {
                self.offered.retain(is_awaited);
                self.offered.push(open);
            }
            ToHead::Open {
                session,
                origin,
                outbox,
                violations,
                answer,
            } => {
                let mut lane = self.lane(origin, outbox, violations);
                // If the link has ended meanwhile, nobody waits for the answer.
                let _ = answer.send(lane.receiving.poll_welcome());
                self.lanes.insert(session, lane);
            }
            ToHead::Welcomed { session } => {
                if let Some(lane) = self.lanes.get_mut(&session) {
                    lane.welcomed = true;
                }
            }
            ToHead::Range {
                session,
                range,
                clock,
                room,
            } => {
                self.range(session, range, clock);
                drop(room);
            }
            ToHead::Landmarks { origin, answer } => {
                // If the link has ended meanwhile, nobody waits for the answer.
                let held = self.fold.origin(&origin);
                let answer_frame = LandmarksAnswer {
                    landmarks: self.landmarks.of(&origin).collect(),
                    lineage: held.map(|held| held.lineage.clone()).unwrap_or_default(),
                };
                let _ = answer.send(answer_frame.encode());
            }
            ToHead::Closed { session } => {
                self.lanes.remove(&session);
                self.offered
                    .retain(|open| !matches!(open, ToHead::Open { session: of, .. } if *of == session));
            }
        }
    }

    pub(super) fn take_offered(&mut self) {
        for open in std::mem::take(&mut self.offered) {
            self.handle(open);
        }
    }

    fn lane(&self, origin: RegionName, outbox: Outbox, violations: mpsc::Sender<String>) -> ReceivingLane {
        let settings = self.shared.settings();
        let traces = LaneTraces::new(
            self.shared.process.tracer.clone(),
            settings.telemetry.otlp.is_some(),
            Hop::Receive,
            origin.clone(),
            settings.region.clone(),
        );
        let log = self.fold.log().clone();
        let max_offset = self.shared.set().clock.max_offset;
        let mut receiving = Receiving::new(log, origin.clone(), max_offset, &self.fold);
        if self.stopped {
            receiving.handle_stopped();
        }
        let now = self.shared.process.clock.mono();
        receiving.handle_applied(self.shared.tables.lock().applied.least(now, &origin, &self.shard));
        ReceivingLane {
            origin,
            receiving,
            traces,
            outbox,
            welcomed: false,
            violations,
        }
    }

    fn range(&mut self, session: u64, range: RangeFrame, clock: Option<ClockEstimate>) {
        let now = self.shared.log_now();
        let wall = self.shared.now().wall;
        let Some(lane) = self.lanes.get_mut(&session) else {
            return;
        };
        let clock = self.origins.clock(&lane.origin, now.mono, clock);
        lane.receiving.handle_origin_clock(clock);
        let body = range.body.clone();
        match lane.receiving.handle_range(now, range) {
            Ok(Some(taken)) => lane.traces.seen(wall, taken.through, taken.codec, &body),
            Ok(None) => {}
            Err(violation) => {
                self.shared.metrics.refused(violation.label());
                // The link's task ends the session at the first violation.
                let _ = lane.violations.try_send(violation.to_string());
            }
        }
    }

    pub(super) fn learn_applied(&mut self) {
        let now = self.shared.process.clock.mono();
        let tables = self.shared.tables.lock();
        for lane in self.lanes.values_mut() {
            lane.receiving
                .handle_applied(tables.applied.least(now, &lane.origin, &self.shard));
        }
    }

    pub(super) fn appended(&mut self, session: u64, id: AppendId, outcome: Result<Sequence, AppendError>) {
        let now = self.shared.log_now();
        let Some(lane) = self.lanes.get_mut(&session) else {
            return;
        };
        match outcome {
            Ok(_) => lane.receiving.handle_appended(now, id),
            Err(error) => {
                let source = Source::region(&lane.origin).of_shard(&self.shard);
                if let Some(before) = self.shared.process.events.may_log("not appended", &source) {
                    tracing::warn!(origin = %lane.origin, shard = %self.shard, %error, before, "a range was not appended");
                }
                let failure = match error {
                    AppendError::Full { .. } => AppendFailure::Full,
                    AppendError::TooLarge { .. } => AppendFailure::TooLarge,
                    AppendError::Refused { .. }
                    | AppendError::Unanswered { .. }
                    | AppendError::Unknown { .. } => AppendFailure::Unanswered,
                };
                lane.receiving.handle_append_failed(now, id, failure);
            }
        }
    }

    /// Carries out what the lanes ask for: appends, reports, events.
    pub(super) async fn drive(&mut self) {
        let now = self.shared.log_now();
        let sessions: Vec<u64> = self.lanes.keys().copied().collect();
        for session in sessions {
            self.set_aside(session).await;
            let mut appends = Vec::new();
            if let Some(lane) = self.lanes.get_mut(&session) {
                lane.receiving.handle_timeout(now);
                appends.extend(std::iter::from_fn(|| lane.receiving.poll_append(now)));
            }
            for append in appends {
                self.append(session, append).await;
            }
            self.report(session);
            self.set_aside(session).await;
        }
    }

    /// Sets aside what can't be decoded before the gap that replaces it is appended, and reports
    /// the other events.
    async fn set_aside(&mut self, session: u64) {
        let mut from_lanes = Vec::new();
        if let Some(lane) = self.lanes.get_mut(&session) {
            let events = std::iter::from_fn(|| lane.receiving.poll_event());
            from_lanes.extend(events.map(|event| (lane.origin.clone(), event)));
        }
        for (origin, event) in from_lanes {
            self.tell(&origin, &event);
            if let ReceivingEvent::Undecodable(entry) = event {
                let journal = &*self.shared.ports.journal;
                self.shared.aside.keep_first(journal, *entry).await;
            }
        }
    }

    async fn append(&mut self, session: u64, append: Append) {
        let Append {
            id,
            token,
            header,
            body,
        } = append;
        let appending = self
            .shared
            .ports
            .log
            .append(&self.shard, &token, &header, body)
            .await;
        self.appends
            .push(Box::pin(async move { (session, id, appending.await) }));
    }

    fn report(&mut self, session: u64) {
        if let Some(lane) = self.lanes.get_mut(&session).filter(|lane| lane.welcomed) {
            while let Some(frame) = lane.receiving.poll_report() {
                self.shared.metrics.ack_sent(&lane.origin);
                if lane.outbox.control(frame).is_err() {
                    tracing::debug!(origin = %lane.origin, shard = %self.shard, "a report could not be sent: its link has ended");
                }
            }
        }
    }

    fn tell(&self, origin: &RegionName, event: &ReceivingEvent) {
        let source = Source::region(origin).of_shard(&self.shard);
        match event {
            ReceivingEvent::Undecodable(entry) => {
                self.shared.metrics.gap(origin);
                let text = format!(
                    "a range of {origin} on {} can't be applied; a gap takes its place until a sync, its bytes are set aside as {}.{}",
                    self.shard,
                    self.shard.group,
                    entry.name()
                );
                self.event(source, Severity::Alarm, "undecodable", text);
            }
            ReceivingEvent::Reset { generation, reason } => {
                self.shared.metrics.reset(origin);
                if let Some(before) = self.shared.process.events.may_log("lane reset", &source) {
                    tracing::info!(%origin, shard = %self.shard, generation, ?reason, before, "a lane was reset to the cursor");
                }
            }
            ReceivingEvent::Held(Some(hold)) => {
                let text = format!("the lane of {origin} on {} is held: {hold}", self.shard);
                self.event(source, Severity::Warning, "lane_held", text);
            }
            ReceivingEvent::Held(None) => {
                let text = format!("the lane of {origin} on {} continues", self.shard);
                self.event(source, Severity::Notice, "lane_goes_on", text);
            }
        }
    }
}

/// Whether the link still waits for the answer.
fn is_awaited(offered: &ToHead) -> bool {
    !matches!(offered, ToHead::Open { answer, .. } if answer.is_closed())
}
