//! What gateways report about leaders and links while a demo runs.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use isthmus_report::GatewayStatus;
use reqwest::Client;

use super::lag::Pair;
use crate::client::status;
use crate::folder::run_file::RunFile;

/// The samples of every link.
#[derive(Debug, Default)]
pub(super) struct Links {
    leaders: BTreeMap<String, String>,
    states: BTreeMap<Pair, String>,
    round_trips: BTreeMap<Pair, Vec<Duration>>,
    delays: BTreeMap<Pair, Vec<Duration>>,
}

impl Links {
    /// Asks every gateway once and keeps what the leaders report.
    pub(super) async fn refresh(&mut self, client: &Client, run: &RunFile) {
        let gateways = run
            .regions_in_order()
            .flat_map(|(_, processes)| &processes.gateways);
        let asked = gateways.map(|gateway| status::of_gateway(client, &gateway.admin));
        self.leaders.clear();
        self.states.clear();
        for said in join_all(asked).await.into_iter().flatten() {
            self.keep(said);
        }
    }

    fn keep(&mut self, said: GatewayStatus) {
        let leads = said.names_itself_leader();
        if let Some(leader) = said.leader {
            self.leaders.insert(said.region.clone(), leader);
        }
        if !leads {
            return;
        }
        let mut delays: BTreeMap<Pair, Duration> = BTreeMap::new();
        for shard in said.lag.into_iter().filter(|lag| lag.peer == said.region) {
            let Some(delay) = shard.delay else { continue };
            let worst = delays.entry((shard.origin, shard.peer)).or_default();
            *worst = delay.max(*worst);
        }
        for (pair, delay) in delays {
            self.delays.entry(pair).or_default().push(delay);
        }
        for link in said.links {
            let pair = (said.region.clone(), link.peer);
            if let Some(round_trip) = link.rtt {
                self.round_trips.entry(pair.clone()).or_default().push(round_trip);
            }
            self.states.insert(pair, link.state.to_string());
        }
    }

    pub(super) fn leader(&self, region: &str) -> Option<&str> {
        self.leaders.get(region).map(String::as_str)
    }

    /// The state of a link as the leader of its first region reports it.
    pub(super) fn state(&self, pair: &Pair) -> Option<&str> {
        self.states.get(pair).map(String::as_str)
    }

    pub(super) fn newest_round_trip(&self, pair: &Pair) -> Option<Duration> {
        self.round_trips.get(pair)?.last().copied()
    }

    /// The lowest round trip seen: the network's own delay, without the load of the machine.
    pub(super) fn least_round_trip(&self, pair: &Pair) -> Option<Duration> {
        self.round_trips.get(pair)?.iter().copied().min()
    }

    pub(super) fn median_round_trip(&self, pair: &Pair) -> Option<Duration> {
        median(self.round_trips.get(pair)?)
    }

    /// The median of a link's delays: from the request at the origin to the apply at the receiver,
    /// of the newest message of the worst shard. The receiving region's leader reports it, sampled
    /// once a second.
    pub(super) fn median_delay(&self, pair: &Pair) -> Option<Duration> {
        median(self.delays.get(pair)?)
    }
}

fn median(seen: &[Duration]) -> Option<Duration> {
    let mut seen = seen.to_vec();
    seen.sort_unstable();
    seen.get(seen.len().saturating_sub(1) / 2).copied()
}
