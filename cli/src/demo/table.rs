//! The live table: redrawn on a terminal, one line a second elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_report::duration::millis;

use super::Watched;
use super::lag::{Pair, Probes};
use super::links::Links;
use super::traffic::Traffic;
use crate::folder::run_file::RunFile;
use crate::output::Live;

#[derive(Debug)]
pub(super) struct LiveTable {
    live: Live,
    before: BTreeMap<String, u64>,
    before_at: Duration,
}

impl LiveTable {
    /// A table on standard error if `to_error`, else on standard output.
    pub(super) fn new(to_error: bool) -> Self {
        Self {
            live: Live::new(to_error),
            before: BTreeMap::new(),
            before_at: Duration::ZERO,
        }
    }

    /// Draws the state after `elapsed`.
    pub(super) fn show(&mut self, elapsed: Duration, run: &RunFile, watched: &Watched) {
        let Watched {
            traffic,
            probes,
            links,
        } = watched;
        let regions = self.regions(elapsed, traffic, links);
        let links = pairs(run)
            .map(|pair| LinkLine::new(&pair, links, probes))
            .collect::<Vec<_>>();
        let lines = if self.live.redraws() {
            table(elapsed, &regions, &links)
        } else {
            vec![line(elapsed, &regions, &links)]
        };
        self.live.show(&lines);
    }

    fn regions(&mut self, elapsed: Duration, traffic: &Traffic, links: &Links) -> Vec<RegionLine> {
        let seconds = elapsed.saturating_sub(self.before_at).as_secs_f64().max(0.001);
        self.before_at = elapsed;
        let line = |region: &std::sync::Arc<super::traffic::RegionTraffic>| {
            let writes = region.acknowledged();
            let before = self.before.insert(region.region.clone(), writes).unwrap_or(0);
            RegionLine {
                name: region.region.clone(),
                leader: links.leader(&region.region).unwrap_or("none").to_owned(),
                writes,
                refused: region.refused(),
                per_second: (writes - before) as f64 / seconds,
            }
        };
        traffic.regions().iter().map(line).collect()
    }
}

#[derive(Debug)]
struct RegionLine {
    name: String,
    leader: String,
    writes: u64,
    refused: u64,
    per_second: f64,
}

#[derive(Debug)]
struct LinkLine {
    pair: Pair,
    state: String,
    rtt: String,
    lag: String,
}

impl LinkLine {
    fn new(pair: &Pair, links: &Links, probes: &Probes) -> Self {
        let lag = probes.newest(pair).map(|lag| format!("{} ms", lag.as_millis()));
        let rtt = links
            .newest_round_trip(pair)
            .map(|rtt| format!("{:.1} ms", millis(rtt)));
        Self {
            pair: pair.clone(),
            state: links.state(pair).unwrap_or("-").to_owned(),
            rtt: rtt.unwrap_or_else(|| "-".to_owned()),
            lag: lag.unwrap_or_else(|| "-".to_owned()),
        }
    }
}

/// Every ordered pair of regions.
pub(super) fn pairs(run: &RunFile) -> impl Iterator<Item = Pair> {
    let names = &run.order;
    names.iter().flat_map(move |from| {
        names
            .iter()
            .filter(move |to| *to != from)
            .map(move |to| (from.clone(), to.clone()))
    })
}

fn table(elapsed: Duration, regions: &[RegionLine], links: &[LinkLine]) -> Vec<String> {
    let mut lines = vec![format!(
        "{:>4} s  {:<12} {:<12} {:>9} {:>9} {:>9}",
        elapsed.as_secs(),
        "region",
        "leader",
        "writes",
        "refused",
        "writes/s"
    )];
    lines.extend(regions.iter().map(|one| {
        format!(
            "        {:<12} {:<12} {:>9} {:>9} {:>9.0}",
            one.name, one.leader, one.writes, one.refused, one.per_second
        )
    }));
    lines.push(format!(
        "        {:<25} {:<12} {:>8} {:>10}",
        "link", "state", "rtt", "lag"
    ));
    lines.extend(links.iter().map(|one| {
        format!(
            "        {:<25} {:<12} {:>8} {:>10}",
            format!("{} > {}", one.pair.0, one.pair.1),
            one.state,
            one.rtt,
            one.lag
        )
    }));
    lines
}

fn line(elapsed: Duration, regions: &[RegionLine], links: &[LinkLine]) -> String {
    let regions: Vec<String> = regions
        .iter()
        .map(|one| {
            format!(
                "{} leader {} {} writes {:.0}/s",
                one.name, one.leader, one.writes, one.per_second
            )
        })
        .collect();
    let links: Vec<String> = links
        .iter()
        .map(|one| format!("{}>{} {} lag {}", one.pair.0, one.pair.1, one.state, one.lag))
        .collect();
    format!(
        "{} s: {}; {}",
        elapsed.as_secs(),
        regions.join(", "),
        links.join(", ")
    )
}
