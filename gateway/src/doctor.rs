//! The checks of a gateway: clocks, certificates, paths to peers, its NATS and the region's
//! streams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isthmus_door::certificates::{self, OfDoor};
use isthmus_link::Credentials;
use isthmus_log::nats::{Connection, Surveyed};
use isthmus_replication::limits::LANE_WINDOW_BYTES;
use isthmus_replication::names::RegionName;
use isthmus_report::{Finding, Verdict};
use isthmus_runtime::doctor::machine::TcpWindows;
use isthmus_runtime::doctor::{self, StreamCopies};
use isthmus_runtime::open_files::Connections;
use isthmus_runtime::{blocking, private};

use crate::shared::Shared;
use crate::tables::Known;
use crate::view::{LinkView, PathEstimate, Phase};

mod convergence;

/// The sources that the checks read. Clones share them.
#[derive(Clone)]
pub struct Doctor {
    /// The state that the gateway's tasks share.
    pub shared: Shared,
    /// Its connection to the region's NATS.
    pub connection: Connection,
    /// The credentials of its links.
    pub credentials: Arc<Credentials>,
    /// The credentials of its admin listener, if that uses TLS.
    pub admin: Option<OfDoor>,
    /// How many connections it accepts.
    pub connections: Connections,
}

impl Doctor {
    /// Runs all checks once.
    pub async fn examine(self) -> Vec<Finding> {
        let windows = blocking::spawn(TcpWindows::read).await.ok().flatten();
        let mut findings = self.of_nats().await;
        let now = self.shared.now().wall.millis() / 1000;
        let left = |ends: u64| ends.checked_sub(now).map(Duration::from_secs);
        let own = left(self.credentials.own().not_after());
        findings.push(doctor::certificate("this gateway", own));
        findings.extend(certificates::findings(self.admin.clone(), now));
        let settings = &self.shared.process.settings;
        let link = settings.link.key.clone();
        let secrets: Vec<_> = settings.process.secrets().chain([link]).collect();
        let wider = blocking::spawn(move || private::wider(secrets, private::EVERYBODY)).await;
        findings.extend(wider.ok().map(|wider| doctor::permissions(&wider)));
        findings.push(self.connections.finding());
        findings.extend(
            self.shared
                .with_known(|known| self.of_known(known, windows, left)),
        );
        findings
    }

    async fn of_nats(&self) -> Vec<Finding> {
        let (server, offset) = (self.connection.server(), self.shared.server_clock.offset());
        let limit = self.shared.set().clock.max_ahead;
        let mut findings = isthmus_door::doctor::of_nats(server.as_ref(), offset, limit).to_vec();
        match self.connection.survey(&self.shared.shards()).await {
            Ok(streams) => {
                findings.extend(trouble("replicas", streams.iter().map(copies)));
                findings.extend(trouble("stream limit", streams.iter().filter_map(room)));
            }
            Err(error) => {
                let mend = "check the region's NATS, and this gateway's permissions there";
                findings.push(Finding::fail("replicas", "", error.to_string(), mend));
            }
        }
        findings
    }

    fn of_known(
        &self,
        known: Known<'_>,
        windows: Option<TcpWindows>,
        left: impl Fn(u64) -> Option<Duration>,
    ) -> Vec<Finding> {
        let mut findings = vec![of_leader(known)];
        findings.extend(isthmus_door::streams::findings(&known.view.missing_streams));
        let mut paths = BTreeMap::new();
        for link in known.tables.accepted.values() {
            paths.insert(&link.peer, link.path);
        }
        for (peer, link) in &known.view.links {
            findings.extend(of_link(peer, link));
            if link.phase == Phase::Connected {
                paths.insert(peer, link.path);
            }
        }
        for ((peer, gateway), ends) in known.peer_certificates() {
            let of = format!("{peer} {gateway}");
            findings.push(doctor::certificate(of.trim_end(), left(ends)));
        }
        for (peer, path) in paths {
            findings.extend(self.of_path(peer, path, windows));
        }
        findings.extend(convergence::findings(
            self.shared.settings(),
            known,
            self.shared.log_now(),
        ));
        findings.extend(isthmus_door::doctor::of_health(&self.shared.process.health));
        let digest = self.shared.set().digest.to_string();
        for (region, heard) in &known.tables.reports {
            if let Some(why) = &heard.report.unreadable {
                let mend = "compare the versions of both regions' gateways; an older region can read what a newer one reports";
                findings.push(Finding::warn("report", region.as_str(), why.as_str(), mend));
            }
            let theirs = &heard.report.set_digest;
            if !theirs.is_empty() && *theirs != digest {
                let found = "it runs on another set.yaml";
                let mend = "give every region the same file, byte for byte: the one of the higher generation";
                findings.push(Finding::warn("set", region.as_str(), found, mend));
            }
        }
        findings
    }

    fn of_path(&self, peer: &RegionName, path: PathEstimate, windows: Option<TcpWindows>) -> [Finding; 2] {
        let offset = path
            .clock_offset_micros
            .zip(path.uncertainty_micros.map(Duration::from_micros));
        let limit = self.shared.set().clock.max_offset;
        [
            doctor::clock(peer.as_str(), offset, limit),
            doctor::path(peer.as_str(), path.rtt, windows, LANE_WINDOW_BYTES.into()),
        ]
    }
}

fn of_leader(known: Known<'_>) -> Finding {
    match &known.view.leadership.leader {
        Some(leader) => Finding::ok("leader", "", leader.as_str()),
        None => Finding::fail(
            "leader",
            "",
            "the region's gateways have no leader: nothing is sent",
            "check the events of the region (isthmus events) and its NATS",
        ),
    }
}

/// The finding for a link that should be up and is not, or that an operator paused.
fn of_link(peer: &RegionName, link: &LinkView) -> Option<Finding> {
    let found = match link.phase {
        Phase::Connected if link.paused => {
            let mend = format!("POST /v1/links/{peer}/resume, to continue");
            return Some(Finding::warn(
                "link",
                peer.as_str(),
                "an operator paused it",
                mend,
            ));
        }
        Phase::Standby | Phase::Connected => return None,
        Phase::Dialing | Phase::Greeting => link.last_error.as_deref().unwrap_or("it is not connected yet"),
    };
    let mend = "check the network between the regions, and the other region's gateways";
    Some(Finding::fail("link", peer.as_str(), found, mend))
}

fn copies(stream: &Surveyed) -> Finding {
    let found = StreamCopies {
        wanted: stream.replicas,
        current: stream.current,
        led: stream.led,
    };
    doctor::copies(&stream.stream, found)
}

fn room(stream: &Surveyed) -> Option<Finding> {
    Some(doctor::stream_room(
        &stream.stream,
        stream.bytes,
        stream.refuses_at?,
    ))
}

/// The findings of streams with a problem, equal ones combined. A single OK finding if there are
/// none.
fn trouble(check: &str, of_streams: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let (well, bad): (Vec<_>, Vec<_>) = of_streams.partition(|finding| finding.verdict == Verdict::Ok);
    if bad.is_empty() {
        let all = format!("{} streams", well.len());
        return vec![Finding::ok(check, &all, "as they should be")];
    }
    let mut alike: BTreeMap<String, (usize, Finding)> = BTreeMap::new();
    for finding in bad {
        alike
            .entry(finding.found.clone())
            .and_modify(|(count, held)| {
                *count += 1;
                held.of = format!("{count} streams");
            })
            .or_insert((1, finding));
    }
    alike.into_values().map(|(_, finding)| finding).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn identical_findings_of_streams_are_reported_once() {
        let of = |stream: &str, replicas, current| Surveyed {
            stream: stream.to_owned(),
            bytes: 1,
            refuses_at: Some(100),
            replicas,
            current,
            led: true,
        };
        let heard = |streams: &[Surveyed]| {
            let found = trouble("replicas", streams.iter().map(copies));
            found
                .into_iter()
                .map(|finding| (finding.of, finding.verdict))
                .collect::<Vec<_>>()
        };
        let named = |of: &str, verdict| (of.to_owned(), verdict);
        assert_eq!(
            heard(&[of("a", 3, 3), of("b", 3, 3)]),
            [named("2 streams", Verdict::Ok)]
        );
        assert_eq!(
            heard(&[of("a", 1, 1), of("b", 1, 1)]),
            [named("2 streams", Verdict::Warn)]
        );
        assert_eq!(
            heard(&[of("a", 3, 3), of("b", 3, 1), of("c", 3, 2)]),
            [named("b", Verdict::Fail), named("c", Verdict::Warn)]
        );
    }

    #[test]
    fn a_link_that_is_not_connected_fails_with_its_last_error() {
        let peer = RegionName::parse("us-east").unwrap();
        let link = |phase, paused| LinkView {
            phase,
            paused,
            last_error: Some("refused".to_owned()),
            ..LinkView::default()
        };
        let heard = |link: LinkView| of_link(&peer, &link).map(|finding| (finding.verdict, finding.found));
        assert_eq!(heard(link(Phase::Connected, false)), None);
        assert_eq!(heard(link(Phase::Standby, false)), None);
        assert_eq!(
            heard(link(Phase::Dialing, false)),
            Some((Verdict::Fail, "refused".to_owned()))
        );
        assert_eq!(heard(link(Phase::Connected, true)).unwrap().0, Verdict::Warn);
        assert_eq!(heard(link(Phase::Dialing, true)).unwrap().0, Verdict::Fail);
    }
}
