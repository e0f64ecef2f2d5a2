//! Gauges that read the board when Prometheus asks.

use std::fmt::Error;
use std::time::Duration;

use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::RegionName;
use isthmus_runtime::clock::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Labels;
use crate::board::{Board, Phase, State};

#[derive(Debug)]
pub(super) struct OfBoard {
    pub(super) board: Board,
    pub(super) clock: Clock,
}

/// The samples of one gauge.
struct Gauge {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    samples: Vec<(Labels, f64)>,
}

impl Collector for OfBoard {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let gauges = {
            let state = self.board.state();
            let mut gauges = of_links(&state);
            gauges.extend(of_lanes(&state, self.clock.mono()));
            gauges.extend(of_receiving(&state, self.clock.mono()));
            gauges
        };
        for gauge in &gauges {
            gauge.encode(&mut encoder)?;
        }
        Ok(())
    }
}

impl Gauge {
    fn new(name: &'static str, help: &'static str, unit: Option<Unit>) -> Self {
        Self {
            name,
            help,
            unit,
            samples: Vec::new(),
        }
    }

    fn sample(&mut self, labels: Labels, value: Option<f64>) {
        self.samples.extend(value.map(|value| (labels, value)));
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut metric =
            encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in &self.samples {
            if labels.is_empty() {
                metric.encode_gauge(value)?;
            } else {
                metric.encode_family(labels)?.encode_gauge(value)?;
            }
        }
        Ok(())
    }
}

fn of_links(state: &State) -> Vec<Gauge> {
    let mut leading = Gauge::new("leading", "Whether this gateway leads its region's", None);
    leading.sample(Labels::new(), Some(truth(state.leadership.leading)));
    let mut revision = Gauge::new(
        "leader_epoch",
        "The lease's revision at which the leader began",
        None,
    );
    revision.sample(
        Labels::new(),
        state.leadership.epoch.map(|(_, revision)| revision as f64),
    );
    let mut connected = Gauge::new("link_connected", "Whether the outbound link stands", None);
    let mut paused = Gauge::new("link_paused", "Whether an operator paused the link", None);
    let mut rtt = Gauge::new("link_rtt", "The round trip of the link", Some(Unit::Seconds));
    let mut offset = Gauge::new(
        "link_clock_offset",
        "The peer gateway's clock less this one's",
        Some(Unit::Seconds),
    );
    for (peer, link) in &state.links {
        let labels = || vec![("peer", peer.to_string())];
        connected.sample(labels(), Some(truth(link.phase == Phase::Connected)));
        paused.sample(labels(), Some(truth(link.paused)));
        rtt.sample(labels(), link.path.rtt.map(|rtt| rtt.as_secs_f64()));
        offset.sample(
            labels(),
            link.path.clock_offset_micros.map(|micros| micros as f64 / 1e6),
        );
    }
    vec![leading, revision, connected, paused, rtt, offset]
}

fn of_lanes(state: &State, now: isthmus_replication::time::Mono) -> Vec<Gauge> {
    let mut lag = Gauge::new(
        "lag",
        "The age of the oldest change or mark that the peer has not reported applied",
        Some(Unit::Seconds),
    );
    let mut credit = Gauge::new(
        "lane_credit",
        "Bytes that may be sent before an acknowledgement",
        Some(Unit::Bytes),
    );
    let mut in_flight = Gauge::new(
        "lane_in_flight",
        "Bytes sent and not acknowledged",
        Some(Unit::Bytes),
    );
    for (peer, link) in &state.links {
        for (shard, lane) in &link.lanes {
            let labels = || of_shard("peer", peer, shard);
            lag.sample(labels(), Some(lane.lag_at(now).as_secs_f64()));
            let left = lane.window_bytes.saturating_sub(lane.in_flight_bytes);
            credit.sample(labels(), Some(left as f64));
            in_flight.sample(labels(), Some(lane.in_flight_bytes as f64));
        }
    }
    vec![lag, credit, in_flight]
}

fn of_receiving(state: &State, now: isthmus_replication::time::Mono) -> Vec<Gauge> {
    let mut delay = Gauge::new(
        "receive_delay",
        "From the append at the origin to the apply here, of the newest message",
        Some(Unit::Seconds),
    );
    let mut proof = Gauge::new(
        "receive_proof_age",
        "The age of the newest proof of what the origin has",
        Some(Unit::Seconds),
    );
    let mut needs_sync = Gauge::new("needs_sync", "Changes of the origin are missing here", None);
    for ((origin, shard), held) in &state.receiving {
        let labels = || of_shard("origin", origin, shard);
        delay.sample(labels(), held.delay.map(|delay| delay.as_secs_f64()));
        let aged = |age: Duration| (age + now.since(held.as_of)).as_secs_f64();
        proof.sample(labels(), held.proof_age.map(aged));
        needs_sync.sample(labels(), Some(truth(held.needs_sync)));
    }
    vec![delay, proof, needs_sync]
}

fn of_shard(of: &'static str, region: &RegionName, shard: &Shard) -> Labels {
    vec![
        (of, region.to_string()),
        ("group", shard.group.to_string()),
        ("partition", shard.partition.to_string()),
    ]
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}
