//! docs/telemetry.md lists what real processes export, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::{Running, until};

const SOON: Duration = Duration::from_secs(30);
/// Regions are compared for the first time after they have settled.
const COMPARED: Duration = Duration::from_secs(120);

/// Metrics that appear only after a fault that this test does not cause.
const AFTER_A_FAULT: [&str; 8] = [
    "isthmus_aside_lost_total",
    "isthmus_gaps_total",
    "isthmus_lane_resets_total",
    "isthmus_link_reconnects_total",
    "isthmus_link_watchdog_total",
    "isthmus_unusable_bodies_total",
    "isthmus_void_messages_total",
    "isthmus_voids_total",
];

/// A metric: its type and the names of its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

type Metrics = BTreeMap<String, Metric>;

/// The tables of the page, keyed by the line above each.
fn documented() -> anyhow::Result<BTreeMap<String, Metrics>> {
    let page = include_str!("../../../docs/telemetry.md");
    let mut tables: BTreeMap<String, Metrics> = BTreeMap::new();
    let mut of = String::new();
    for line in page.lines() {
        if let Some(whose) = line
            .strip_suffix(':')
            .filter(|line| !line.contains(' ') || line.starts_with("Every"))
        {
            whose.clone_into(&mut of);
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, _] = cells[..] else {
            continue;
        };
        let Some(name) = name
            .strip_prefix("`isthmus_")
            .and_then(|name| name.strip_suffix('`'))
        else {
            continue;
        };
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let metric = Metric {
            kind: kind.to_owned(),
            labels: labels.map(str::to_owned).collect(),
        };
        let twice = tables
            .entry(of.clone())
            .or_default()
            .insert(format!("isthmus_{name}"), metric);
        ensure!(twice.is_none(), "{name} is listed twice");
    }
    Ok(tables)
}

/// The metrics in the OpenMetrics text of one process.
fn exported(text: &str) -> Metrics {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut metrics = Metrics::new();
    for line in text.lines() {
        if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kinds.insert(family, kind);
        }
        let Some((sample, _)) = line.split_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|part| name.strip_suffix(part));
        let name = histogram
            .filter(|family| kinds.get(family) == Some(&"histogram"))
            .unwrap_or(name);
        let family = ["_total", "_info"]
            .iter()
            .find_map(|part| name.strip_suffix(part))
            .unwrap_or(name);
        let named = labels.split(',').filter_map(|label| label.split_once('='));
        let named = named.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
        let metric = metrics.entry(name.to_owned()).or_insert_with(|| Metric {
            kind: kinds.get(family).copied().unwrap_or("untyped").to_owned(),
            labels: BTreeSet::new(),
        });
        metric.labels.extend(named);
    }
    metrics
}

/// Causes a conflict: both regions write a key while the link between them is cut.
async fn conflict(running: &Running) -> anyhow::Result<()> {
    running.lab(&["cut", "eu-west", "us-east"])?;
    for region in ["eu-west", "us-east"] {
        running
            .agent(region)
            .put("shop", "both", "", region)
            .await?
            .ok()?;
    }
    running.lab(&["heal"])?;
    running.identical(SOON).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_lists_what_is_exported() -> anyhow::Result<()> {
    let tables = documented()?;
    let of = |whose: &str| tables.get(whose).with_context(|| format!("no table of {whose}"));
    let otlp = "telemetry: { otlp: { endpoint: \"http://127.0.0.1:9\", protocol: http }, ratio: 1 }\n";
    let running = Running::start_with(&["eu-west", "us-east"], &[], otlp).await?;
    conflict(&running).await?;

    let common = of("Every process")?;
    until("everything that is listed is exported", COMPARED, || async {
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for agent in running.all_agents() {
            texts
                .entry("Agents")
                .or_default()
                .push_str(&agent.admin("/metrics").await?.ok()?.text());
        }
        for region in ["eu-west", "us-east"] {
            texts
                .entry("Gateways")
                .or_default()
                .extend(running.gateway_texts(region, "/metrics").await);
        }
        for (whose, text) in texts {
            let exported = exported(&text);
            let listed: Metrics = common.clone().into_iter().chain(of(whose)?.clone()).collect();
            for (name, metric) in &exported {
                let entry = listed
                    .get(name)
                    .with_context(|| format!("{whose}: {name} is not listed: {metric:?}"))?;
                ensure!(entry.kind == metric.kind, "{whose}: {name} is a {}", metric.kind);
                ensure!(
                    entry.labels.is_superset(&metric.labels),
                    "{whose}: {name} has {:?}",
                    metric.labels
                );
            }
            for (name, entry) in of(whose)? {
                let Some(metric) = exported.get(name) else {
                    ensure!(
                        AFTER_A_FAULT.contains(&name.as_str()),
                        "{whose}: {name} is not exported"
                    );
                    continue;
                };
                ensure!(
                    entry == metric,
                    "{whose}: {name} is {metric:?}, listed as {entry:?}"
                );
            }
        }
        Ok(())
    })
    .await
}
