//! The result of a demo.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use isthmus_report::duration::millis;
use serde::Serialize;

use super::Watched;
use super::table::pairs;
use super::traffic::RegionTraffic;
use crate::client::agreement::{self, Holding};
use crate::folder::run_file::RunFile;
use crate::output::counted;

#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Whether all agents of all regions ended with the same digests and cell counts, and every
    /// region has every row.
    pub(crate) identical: bool,
    folder: PathBuf,
    seconds: f64,
    regions: Vec<RegionSummary>,
    /// Keys with an acknowledged write in every region.
    keys_in_all_regions: usize,
    agents: Vec<AgentSummary>,
    pids: Pids,
    links: Vec<LinkSummary>,
    /// Where the lag was measured: at a client, from sending a write in one region until a read in
    /// another region returned it.
    lag_source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<RowsSeen>,
}

#[derive(Debug, Serialize)]
struct RegionSummary {
    region: String,
    acknowledged: u64,
    refused: u64,
}

#[derive(Debug, Serialize)]
struct AgentSummary {
    region: String,
    name: String,
    digest: Option<String>,
    cells: u64,
}

#[derive(Debug, Serialize)]
struct Pids {
    nats: Vec<u32>,
    agents: Vec<u32>,
    gateways: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct LinkSummary {
    from: String,
    to: String,
    /// The lowest round trip that the leader measured.
    rtt_ms: Option<f64>,
    rtt_p50_ms: Option<f64>,
    lag_p50_ms: Option<f64>,
    lag_p99_ms: Option<f64>,
    lag_samples: usize,
    /// Reported by the receiving region's leader; see `Links::median_delay`.
    delay_p50_ms: Option<f64>,
}

/// What was measured after the traffic.
pub(super) struct End {
    pub(super) took: Duration,
    pub(super) holdings: Vec<Holding>,
    pub(super) rows: Option<RowsSeen>,
}

/// How the rows of a file ended.
#[derive(Debug, Serialize)]
pub(super) struct RowsSeen {
    pub(super) keys: usize,
    pub(super) repeated: usize,
    /// Regions whose first agent has every row unchanged.
    pub(super) equal_in: Vec<String>,
}

impl Summary {
    pub(super) fn new(folder: &Path, run: &RunFile, watched: &Watched, end: End) -> Self {
        let Watched {
            traffic,
            probes,
            links,
        } = watched;
        let End { took, holdings, rows } = end;
        let rows_everywhere = rows
            .as_ref()
            .is_none_or(|rows| rows.equal_in.len() == run.order.len());
        let region = |region: &Arc<RegionTraffic>| RegionSummary {
            region: region.region.clone(),
            acknowledged: region.acknowledged(),
            refused: region.refused(),
        };
        let agent = |holding: &Holding| AgentSummary {
            region: holding.region.clone(),
            name: holding.name.clone(),
            digest: holding.digest(),
            cells: holding.cells(),
        };
        let tenths = |value: f64| (value * 10.0).round() / 10.0;
        let millis = |duration: Option<Duration>| duration.map(|duration| tenths(millis(duration)));
        let link = |pair| LinkSummary {
            rtt_ms: millis(links.least_round_trip(&pair)),
            rtt_p50_ms: millis(links.median_round_trip(&pair)),
            lag_p50_ms: millis(probes.percentile(&pair, 50)),
            lag_p99_ms: millis(probes.percentile(&pair, 99)),
            lag_samples: probes.count(&pair),
            delay_p50_ms: millis(links.median_delay(&pair)),
            from: pair.0,
            to: pair.1,
        };
        Self {
            identical: agreement::agree(&holdings) && rows_everywhere,
            folder: folder.to_owned(),
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            regions: traffic.regions().iter().map(region).collect(),
            keys_in_all_regions: traffic.keys_in_all_regions(),
            agents: holdings.iter().map(agent).collect(),
            pids: Pids::of(run),
            links: pairs(run).map(link).collect(),
            lag_source: "client",
            rows,
        }
    }
}

impl Pids {
    fn of(run: &RunFile) -> Self {
        let regions: Vec<_> = run.regions_in_order().map(|(_, processes)| processes).collect();
        Self {
            nats: regions.iter().map(|region| region.nats.pid).collect(),
            agents: regions
                .iter()
                .flat_map(|region| &region.agents)
                .map(|agent| agent.pid)
                .collect(),
            gateways: regions
                .iter()
                .flat_map(|region| &region.gateways)
                .map(|gateway| gateway.pid)
                .collect(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nafter {:.0} s", self.seconds)?;
        for region in &self.regions {
            writeln!(
                f,
                "  {:<10} {} acknowledged, {} refused",
                region.region,
                counted(region.acknowledged, "write", "writes"),
                region.refused
            )?;
        }
        writeln!(
            f,
            "  {} written in every region",
            counted(self.keys_in_all_regions, "key was", "keys were")
        )?;
        let millis =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} ms"));
        for link in &self.links {
            let (rtt, p50, p99) = (
                millis(link.rtt_ms),
                millis(link.lag_p50_ms),
                millis(link.lag_p99_ms),
            );
            writeln!(
                f,
                "  {} to {}: round trip {rtt}, lag p50 {p50}, p99 {p99}",
                link.from, link.to
            )?;
        }
        for agent in &self.agents {
            let digest = agent.digest.as_deref().unwrap_or("no answer");
            let short: String = digest.chars().take(16).collect();
            writeln!(
                f,
                "  {}/{}: {}, digest {short}…",
                agent.region,
                agent.name,
                counted(agent.cells, "cell", "cells")
            )?;
        }
        if let Some(rows) = &self.rows {
            writeln!(
                f,
                "  {} equal in: {}",
                counted(rows.keys, "row of the file is", "rows of the file are"),
                rows.equal_in.join(", ")
            )?;
        }
        f.write_str(if self.identical {
            "all agents are identical"
        } else {
            "the agents are NOT identical"
        })
    }
}
