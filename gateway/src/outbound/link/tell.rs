//! The events of a link: that it went down, could not be made, or was refused.

use isthmus_link::Refusal;
use isthmus_replication::link::frame::GoodbyeReason;
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;

use super::PeerLink;
use crate::link_connection::{LinkConnection, LinkEnd};
use crate::view::Phase;

impl PeerLink {
    pub(super) fn refuse_peer(&self, connection: &mut LinkConnection, refusal: &Refusal) {
        self.shared.metrics.refused(refusal.reason().label());
        self.event(
            refusal.reason().label(),
            Severity::Warning,
            "link_refused",
            format!(
                "the certificate of region {} is no longer valid: {refusal}",
                self.peer
            ),
            json!({ "peer": self.peer.as_str(), "reason": refusal.reason().label() }),
        );
        connection
            .session
            .refuse(GoodbyeReason::Certificate, &refusal.to_string());
    }

    /// Records an event that the peer can cause repeatedly.
    pub(super) fn event(
        &self,
        reason: &'static str,
        severity: Severity,
        kind: &'static str,
        text: String,
        fields: serde_json::Value,
    ) {
        let source = Source::region(&self.peer).because(reason);
        let events = &self.shared.process.events;
        events.record_from(&source, severity, kind, text, fields);
    }

    pub(super) fn link_ended(&mut self, end: &LinkEnd) {
        if end.is_own_will() {
            self.event(
                end.label(),
                Severity::Notice,
                "link_down",
                format!("the link to region {} was closed: {end}", self.peer),
                json!({ "peer": self.peer.as_str(), "reason": end.label() }),
            );
            return;
        }
        self.shared.metrics.reconnected(&self.peer);
        if end.is_refusal() {
            self.shared.metrics.refused(end.label());
        }
        self.failed(end.label(), &end.to_string());
    }

    /// Shows why there is no link, and records an event if the reason is new.
    pub(super) fn failed(&mut self, reason: &'static str, text: &str) {
        let now = self.shared.process.clock.mono();
        self.shared.view.link(&self.peer, |link| {
            link.last_error = Some(text.to_owned());
            link.phase = Phase::Dialing;
        });
        if self.reported.take(now, text.to_owned(), 1).is_none() {
            tracing::debug!(peer = %self.peer, reason, "no link: {text}");
            return;
        }
        self.event(
            reason,
            Severity::Warning,
            "link_down",
            format!("no link to region {}: {text}", self.peer),
            json!({ "peer": self.peer.as_str(), "reason": reason }),
        );
    }
}
