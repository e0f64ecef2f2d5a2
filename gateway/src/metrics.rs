//! The counters of a gateway, and the gauges that Prometheus reads of its state.

use std::sync::Arc;

use isthmus_link::RefusalReason;
use isthmus_log::ServerClock;
use isthmus_replication::fold::Void;
use isthmus_replication::names::RegionName;
use isthmus_replication::sending::Spared;
use isthmus_runtime::Process;
use isthmus_runtime::metrics::Labels;
use isthmus_runtime::settings::GatewaySettings;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::tables::{Tables, with_known};
use crate::view::StatusView;

mod gauges;

type Counters = Family<Labels, Counter>;

/// The counters of a gateway. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct GatewayMetrics {
    refused: Counters,
    reconnects: Counters,
    watchdog: Counters,
    ranges_sent: Counters,
    bytes_sent: Counters,
    changes_conflated: Counters,
    plain_bytes: Counters,
    packed_bytes: Counters,
    acks_received: Counters,
    ranges_received: Counters,
    bytes_received: Counters,
    acks_sent: Counters,
    resets: Counters,
    gaps: Counters,
    voids: Counters,
    takeovers: Counter,
}

impl GatewayMetrics {
    /// Registers the counters, and gauges that read `view` and `tables` when Prometheus asks.
    #[must_use]
    pub fn register(
        process: &Process<GatewaySettings>,
        view: &StatusView,
        tables: &Tables,
        server_clock: &ServerClock,
    ) -> Self {
        let counters = Self::default();
        for reason in RefusalReason::ALL {
            drop(counters.refused.get_or_create(&reason_label(reason.label())));
        }
        process.metrics.register(|registry| {
            let families = [
                ("link_refused", "Links refused, by reason", &counters.refused),
                (
                    "link_reconnects",
                    "Outbound links that dropped and were dialed again",
                    &counters.reconnects,
                ),
                (
                    "link_watchdog",
                    "Links dropped because work made no progress",
                    &counters.watchdog,
                ),
                (
                    "ranges_sent",
                    "Ranges sent to a peer region",
                    &counters.ranges_sent,
                ),
                (
                    "range_bytes_sent",
                    "Bytes of ranges sent to a peer region",
                    &counters.bytes_sent,
                ),
                (
                    "changes_conflated",
                    "Changes not sent to a peer region that is behind, because they were superseded",
                    &counters.changes_conflated,
                ),
                (
                    "range_plain_bytes",
                    "Bytes of bodies compressed for a peer region, before compression",
                    &counters.plain_bytes,
                ),
                (
                    "range_packed_bytes",
                    "Bytes of bodies compressed for a peer region, after compression",
                    &counters.packed_bytes,
                ),
                (
                    "acks_received",
                    "Acknowledgements received from a peer region",
                    &counters.acks_received,
                ),
                (
                    "ranges_received",
                    "Ranges received from an origin",
                    &counters.ranges_received,
                ),
                (
                    "range_bytes_received",
                    "Bytes of ranges received from an origin",
                    &counters.bytes_received,
                ),
                (
                    "acks_sent",
                    "Acknowledgements sent to an origin",
                    &counters.acks_sent,
                ),
                ("lane_resets", "Lanes reset to the cursor", &counters.resets),
                ("gaps", "Ranges that could not be decoded", &counters.gaps),
                (
                    "void_messages",
                    "Messages of this region's log that do not count, by reason",
                    &counters.voids,
                ),
            ];
            for (name, help, family) in families {
                registry.register(name, help, family.clone());
            }
            registry.register(
                "leader_takeovers",
                "Times that this gateway became the leader",
                counters.takeovers.clone(),
            );
        });
        let settings = Arc::clone(&process.settings);
        let (view, tables, server_clock) = (view.clone(), tables.clone(), server_clock.clone());
        process.metrics.sampled(move || {
            with_known(&view, &tables, |known| {
                gauges::of_known(&settings.process, known, server_clock.now())
            })
        });
        counters
    }

    /// A link was refused, for a `reason` of crates/link or of the session.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&reason_label(reason)).inc();
    }

    /// The link to `peer` went down.
    pub fn reconnected(&self, peer: &RegionName) {
        self.reconnects.get_or_create(&with_peer(peer)).inc();
    }

    /// The link to `peer` was dropped because work made no progress.
    pub fn watchdog(&self, peer: &RegionName) {
        self.watchdog.get_or_create(&with_peer(peer)).inc();
    }

    /// A range of `bytes` was sent to `peer`.
    pub fn sent(&self, peer: &RegionName, bytes: usize) {
        self.ranges_sent.get_or_create(&with_peer(peer)).inc();
        self.bytes_sent
            .get_or_create(&with_peer(peer))
            .inc_by(bytes as u64);
    }

    /// What conflation and compression saved on a lane to `peer`.
    pub fn spared(&self, peer: &RegionName, spared: Spared) {
        let counts = [
            (&self.changes_conflated, spared.changes),
            (&self.plain_bytes, spared.plain_bytes),
            (&self.packed_bytes, spared.packed_bytes),
        ];
        for (counter, by) in counts {
            counter.get_or_create(&with_peer(peer)).inc_by(by);
        }
    }

    /// `peer` acknowledged something.
    pub fn ack_received(&self, peer: &RegionName) {
        self.acks_received.get_or_create(&with_peer(peer)).inc();
    }

    /// A range of `bytes` arrived from `origin`.
    pub fn received(&self, origin: &RegionName, bytes: usize) {
        self.ranges_received.get_or_create(&with_origin(origin)).inc();
        self.bytes_received
            .get_or_create(&with_origin(origin))
            .inc_by(bytes as u64);
    }

    /// Something was acknowledged to `origin`.
    pub fn ack_sent(&self, origin: &RegionName) {
        self.acks_sent.get_or_create(&with_origin(origin)).inc();
    }

    /// A lane of `origin` was reset to its cursor.
    pub fn reset(&self, origin: &RegionName) {
        self.resets.get_or_create(&with_origin(origin)).inc();
    }

    /// A range of `origin` could not be decoded.
    pub fn gap(&self, origin: &RegionName) {
        self.gaps.get_or_create(&with_origin(origin)).inc();
    }

    /// A message of this region's log is void.
    pub fn void(&self, void: Void) {
        self.voids.get_or_create(&reason_label(void.label())).inc();
    }

    /// This gateway became the leader.
    pub fn took_over(&self) {
        self.takeovers.inc();
    }
}

fn reason_label(reason: &str) -> Labels {
    vec![("reason", reason.to_owned())]
}

fn with_peer(peer: &RegionName) -> Labels {
    vec![("peer", peer.to_string())]
}

fn with_origin(origin: &RegionName) -> Labels {
    vec![("origin", origin.to_string())]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use isthmus_replication::fold::LogName;
    use isthmus_replication::sending::Sending;

    use super::*;
    use crate::testing;
    use crate::view::Phase;

    #[test]
    fn every_reason_is_shown_from_the_start_and_gauges_are_read() {
        let process = testing::process();
        let (view, tables) = (StatusView::default(), Tables::default());
        let clock = process.clock.clone();
        let server_clock = ServerClock::new(Arc::new(move || clock.now()));
        let counters = GatewayMetrics::register(&process, &view, &tables, &server_clock);
        view.lock().leadership.leading = true;
        counters.refused("unknown_ca");
        let peer = RegionName::parse("us-east").expect("a valid name");
        let shard = isthmus_replication::coordinates::Shard {
            group: isthmus_replication::names::GroupName::parse("default").expect("a valid name"),
            partition: 1,
        };
        view.link(&peer, |link| {
            link.phase = Phase::Connected;
            link.path.rtt = Some(Duration::from_millis(80));
        });
        view.lane(&peer, &shard, |lane| {
            let mut sending = Sending::new(LogName {
                set: process.settings.process.set.name.clone(),
                region: process.settings.process.region.clone(),
                shard: shard.clone(),
            });
            sending.handle_lag_before(server_clock.server_time().before(Duration::from_secs(2)));
            lane.lag.know(sending.lag_record());
            lane.window_bytes = 100;
            lane.in_flight_bytes = 40;
        });
        let text = process.metrics.text();
        for expected in [
            "isthmus_link_refused_total{reason=\"unknown_ca\"} 1",
            "isthmus_link_refused_total{reason=\"no_certificate\"} 0",
            "isthmus_link_connected{peer=\"us-east\"} 1",
            "isthmus_link_rtt_seconds{peer=\"us-east\"} 0.08",
            "isthmus_lag_seconds{origin=\"eu-west\",peer=\"us-east\",group=\"default\",partition=\"1\"} 2.0",
            "isthmus_lag_state{origin=\"eu-west\",peer=\"us-east\",group=\"default\",partition=\"1\",state=\"unknown\"} 1.0",
            "isthmus_lane_credit_bytes{peer=\"us-east\",group=\"default\",partition=\"1\"} 60.0",
            "isthmus_leading 1",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }
}
