//! What is told of a link: that it fell, could not be made, or was refused.

use isthmus_link::Refusal;
use isthmus_replication::link::frame::GoodbyeReason;
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;

use super::PeerLink;
use crate::board::Phase;
use crate::line::{Line, Over};

impl PeerLink {
    pub(super) fn expel(&self, line: &mut Line, refusal: &Refusal) {
        self.shared.metrics.refused(refusal.reason().label());
        self.event(
            refusal.reason().label(),
            Severity::Warning,
            "link_refused",
            format!(
                "the certificate of region {} holds no longer: {refusal}",
                self.peer
            ),
            json!({ "peer": self.peer.as_str(), "reason": refusal.reason().label() }),
        );
        line.session
            .refuse(GoodbyeReason::Certificate, &refusal.to_string());
    }

    /// Keeps and logs an event that the peer may bring about again and again.
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

    pub(super) fn fell(&mut self, over: &Over) {
        if over.is_own_will() {
            self.event(
                over.label(),
                Severity::Notice,
                "link_down",
                format!("the link to region {} is given up: {over}", self.peer),
                json!({ "peer": self.peer.as_str(), "reason": over.label() }),
            );
            return;
        }
        self.shared.metrics.reconnected(&self.peer);
        if over.is_refusal() {
            self.shared.metrics.refused(over.label());
        }
        self.failed(over.label(), &over.to_string());
    }

    /// Shows why there is no link, and tells it as an event where it is news.
    pub(super) fn failed(&mut self, reason: &'static str, text: &str) {
        let now = self.shared.process.clock.mono();
        self.shared.board.link(&self.peer, |link| {
            link.last_error = Some(text.to_owned());
            link.phase = Phase::Dialing;
        });
        if self.told.take(now, text.to_owned(), 1).is_none() {
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
