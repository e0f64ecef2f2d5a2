//! Gauges that are computed when Prometheus asks.

use std::time::Duration;

use isthmus_replication::coordinates::Position;
use isthmus_replication::receiving::lag::Freshness;
use isthmus_replication::time::Now;
use isthmus_report::LagRow;
use isthmus_runtime::metrics::{Gauge, Labels, of_shard, truth};
use isthmus_runtime::settings::ProcessSettings;
use prometheus_client::registry::Unit;

use crate::lag;
use crate::tables::Known;
use crate::view::Phase;

/// Every gauge at `now`.
pub(super) fn of_known(process: &ProcessSettings, known: Known<'_>, now: Now) -> Vec<Gauge> {
    let mut gauges = of_links(known);
    gauges.extend(of_lanes(known));
    gauges.extend(of_lag(process, known, now));
    gauges.extend(of_compared(known, now));
    gauges
}

fn of_links(known: Known<'_>) -> Vec<Gauge> {
    let mut leading = Gauge::new(
        "leading",
        "Whether this gateway leads its region's gateways",
        None,
    );
    leading.sample(Labels::new(), Some(truth(known.view.leadership.leading)));
    let mut revision = Gauge::new(
        "leader_epoch",
        "The lease's revision at which the leader began",
        None,
    );
    revision.sample(
        Labels::new(),
        known.view.leadership.epoch.map(|(_, revision)| revision as f64),
    );
    let mut connected = Gauge::new("link_connected", "Whether the outbound link is connected", None);
    let mut paused = Gauge::new("link_paused", "Whether an operator paused the link", None);
    let mut rtt = Gauge::new("link_rtt", "The round trip of the link", Some(Unit::Seconds));
    let mut offset = Gauge::new(
        "link_clock_offset",
        "The peer gateway's clock less this one's",
        Some(Unit::Seconds),
    );
    for (peer, link) in &known.view.links {
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

fn of_lanes(known: Known<'_>) -> Vec<Gauge> {
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
    let mut held = Gauge::new(
        "peer_sequence",
        "Last sequence of this region's log that the peer's log has",
        None,
    );
    let mut applied = Gauge::new(
        "peer_applied_sequence",
        "Last sequence of this region's log that the peer's agents have applied",
        None,
    );
    let mut head = Gauge::new("head_sequence", "Last sequence read of this region's log", None);
    let sequence = |position: Position| position.sequence.0 as f64;
    for (shard, shown) in &known.view.heads {
        head.sample(of_shard(shard), shown.position.map(sequence));
    }
    for (peer, link) in &known.view.links {
        for (shard, lane) in &link.lanes {
            let labels = || [vec![("peer", peer.to_string())], of_shard(shard)].concat();
            let left = lane.window_bytes.saturating_sub(lane.in_flight_bytes);
            credit.sample(labels(), Some(left as f64));
            in_flight.sample(labels(), Some(lane.in_flight_bytes as f64));
            held.sample(labels(), lane.cursor.map(|cursor| sequence(cursor.position)));
            applied.sample(labels(), lane.applied.map(|applied| sequence(applied.0)));
        }
    }
    vec![credit, in_flight, head, held, applied]
}

/// Only of the pairs that include this region: the gateways of other regions report the rest.
fn of_lag(process: &ProcessSettings, known: Known<'_>, now: Now) -> Vec<Gauge> {
    let mut lag = Gauge::new(
        "lag",
        "The age of the oldest change or mark of the origin that the peer is not known to have applied",
        Some(Unit::Seconds),
    );
    let mut states = Gauge::new("lag_state", "1 for the current state of the lag", None);
    let mut proof = Gauge::new(
        "lag_proof_age",
        "Everything of the origin that is older is applied at the peer",
        Some(Unit::Seconds),
    );
    let mut runway = Gauge::new(
        "log_runway",
        "Time until the origin's log is trimmed past what the peer has",
        Some(Unit::Seconds),
    );
    let mut needs_sync = Gauge::new(
        "needs_sync",
        "Changes of the origin are missing at the peer",
        None,
    );
    let own = |row: &LagRow| row.involves(process.region.as_str());
    for row in lag::of_all(process, known, now).into_iter().filter(own) {
        let labels = || of_pair(&row);
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
        lag.sample(labels(), seconds(row.lag));
        proof.sample(labels(), seconds(row.proof_age));
        runway.sample(labels(), seconds(row.runway));
        needs_sync.sample(labels(), Some(truth(row.needs_sync)));
        for state in Freshness::ALL {
            let mut labels = labels();
            labels.push(("state", state.label().to_owned()));
            states.sample(labels, Some(truth(row.state == state)));
        }
    }
    vec![lag, states, proof, runway, needs_sync]
}

fn of_compared(known: Known<'_>, now: Now) -> [Gauge; 2] {
    let mut differ = Gauge::new(
        "regions_differ",
        "Parts of the shard in which the peer holds different values where both must hold the same",
        None,
    );
    let mut age = Gauge::new(
        "regions_compared_age",
        "Every part of the shard was compared with the peer's within this time, or could not be",
        Some(Unit::Seconds),
    );
    for (peer, shard, found) in known.tables.compared.found(now.mono) {
        let labels = || [vec![("peer", peer.to_string())], of_shard(shard)].concat();
        differ.sample(labels(), Some(found.differing as f64));
        age.sample(labels(), Some(found.compared_within.as_secs_f64()));
    }
    [differ, age]
}

fn of_pair(row: &LagRow) -> Labels {
    vec![
        ("origin", row.origin.clone()),
        ("peer", row.peer.clone()),
        ("group", row.group.clone()),
        ("partition", row.partition.to_string()),
    ]
}
