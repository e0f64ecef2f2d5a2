//! The status and the events of a sending lane.

use isthmus_replication::sending::{LaneEvent, LaneState, Stall};
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;

use super::{FromLane, LaneTask, SHOW};

impl LaneTask {
    /// Writes the lane's state to the view: at once if `changed`, else if the shown state is older
    /// than `SHOW`.
    pub(super) fn update_view(&mut self, changed: bool) {
        self.lag.know(self.sending.lag_record());
        let now = self.shared.log_now();
        if !changed && now.mono.since(self.shown) < SHOW {
            return;
        }
        self.shown = now.mono;
        let state = self.sending.state();
        let lane_needs_sync = matches!(state, LaneState::Stalled(Stall::NeedsSync(_)));
        let needs_sync = lane_needs_sync || self.sending.peer_needs_sync();
        let (sending, read, lag) = (&self.sending, self.read, self.lag.clone());
        self.shared.view.lane(&self.peer, &self.shard, |lane| {
            lane.state = isthmus_report::LaneState::from(state).into();
            lane.reason = reason(&state);
            lane.cursor = sending.cursor();
            lane.applied = sending.applied();
            lane.read = read;
            lane.in_flight_bytes = sending.credit().used();
            lane.window_bytes = sending.credit().window();
            lane.lag = lag;
            lane.needs_sync = needs_sync;
        });
    }

    /// Passes the machine's events to the link and to operators.
    pub(super) fn report_events(&mut self) {
        let now = self.shared.process.clock.mono();
        while let Some(event) = self.sending.poll_event() {
            let shown = match event {
                LaneEvent::NoProgress => Some(FromLane::Stuck(self.shard.clone())),
                LaneEvent::LifeSuspected { cursor, .. } => {
                    Some(FromLane::Suspects(self.shard.clone(), cursor))
                }
                _ => None,
            };
            if let Some(shown) = shown {
                // The machine repeats the event while the condition lasts.
                let _ = self.teller.try_send(shown);
            }
            let again = matches!(event, LaneEvent::LifeSuspected { .. }) && !self.suspicion.note(now);
            if !again {
                self.tell(event);
            }
            self.update_view(true);
        }
        if self.sending.verified().is_some() && self.suspicion.take_end(now) {
            let text = format!(
                "region {} and the log of {} match again: a lost tail is no longer suspected",
                self.peer, self.shard
            );
            self.event(Severity::Notice, "life_suspicion_ended", text);
        }
    }

    /// Records what an operator should know.
    fn tell(&self, event: LaneEvent) {
        let (severity, kind, text) = match event {
            LaneEvent::NoProgress => (
                Severity::Warning,
                "lane_without_progress",
                format!(
                    "no progress on the lane of {} to {} although there is work; reconnecting",
                    self.shard, self.peer
                ),
            ),
            LaneEvent::LifeSuspected { cursor, found } => (
                Severity::Alarm,
                "life_suspected",
                format!(
                    "region {} has the log of {} through {} with message {}, but here the message is {}: the log has lost its tail",
                    self.peer, self.shard, cursor.position.sequence, cursor.message_id, found.message_id
                ),
            ),
            LaneEvent::NeedsSync(reason) => (
                Severity::Alarm,
                "needs_sync",
                format!("region {} needs a sync of {}: {reason}", self.peer, self.shard),
            ),
            LaneEvent::UpgradeNeeded { what, number } => (
                Severity::Alarm,
                "upgrade_needed",
                format!(
                    "the log of {} has {what} {number} of a later version: upgrade this gateway",
                    self.shard
                ),
            ),
            LaneEvent::BrokenSeal(at) => (
                Severity::Alarm,
                "broken_seal",
                format!(
                    "the body of message {} of {} does not match its header; its changes are not sent",
                    at.sequence, self.shard
                ),
            ),
        };
        self.event(severity, kind, text);
    }

    fn event(&self, severity: Severity, kind: &'static str, text: String) {
        let fields = json!({
            "peer": self.peer.as_str(),
            "group": self.shard.group.as_str(),
            "partition": self.shard.partition,
        });
        let source = Source::region(&self.peer).of_shard(&self.shard);
        let events = &self.shared.process.events;
        events.record_from(&source, severity, kind, text, fields);
    }
}

fn reason(state: &LaneState) -> Option<String> {
    match state {
        LaneState::Stalled(Stall::Held(hold)) => Some(hold.to_string()),
        LaneState::Stalled(Stall::NeedsSync(reason)) => Some(reason.to_string()),
        LaneState::Stalled(Stall::Paused) => Some("paused by one of the two regions".to_owned()),
        LaneState::Stalled(Stall::LifeSuspected) => Some("the log has lost its tail".to_owned()),
        LaneState::Stalled(Stall::UpgradeNeeded { what, number }) => Some(format!(
            "{what} {number} of a later version: upgrade this gateway"
        )),
        LaneState::Idle | LaneState::Waiting | LaneState::Reading | LaneState::Streaming => None,
    }
}
