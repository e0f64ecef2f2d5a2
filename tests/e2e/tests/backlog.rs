//! A region that is cut off for long while the other one writes as fast as it can.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::{Agent, Running, until};
use serde_json::Value;
use tokio::task::JoinSet;

const REGIONS: [&str; 2] = ["east", "west"];
const MIB: u64 = 1024 * 1024;
/// Keys that are written in turn, beside a hot one.
const KEYS: u64 = 2000;
const BATCH: u64 = 500;
const VALUE_BYTES: usize = 1000;

/// The bound on each process: the store's limit, plus the read-ahead of the readers of eight logs
/// and lanes.
const MOST: u64 = 256 * MIB;

/// Starts the regions with small memory limits, and logs with this retention and size.
async fn start(retention: &str, max_bytes: &str) -> anyhow::Result<Running> {
    Running::start_edited(&REGIONS, &["--rtt", "10ms"], |file, written| {
        let log = format!("log: {{ create: true, retention: {retention}, max_bytes: {max_bytes} }} #");
        let memory = match file {
            "region-agent.yaml" => "memory: { soft: 48MiB, hard: 64MiB }\n",
            _ => "",
        };
        written.replace("log: { create: true }", &log) + memory
    })
    .await
}

/// Writers on every agent of the first region, until this is dropped.
struct Load {
    written: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writers: JoinSet<anyhow::Result<()>>,
}

impl Load {
    fn start(running: &Running) -> Self {
        let (written, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let mut writers = JoinSet::new();
        for agent in running.agents(REGIONS[0]) {
            let (written, stop) = (Arc::clone(&written), Arc::clone(&stop));
            writers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let first = written.fetch_add(BATCH, Ordering::Relaxed);
                    let answer = agent.batch(batch(first)).await?.ok()?.text();
                    let refused = answer.lines().find(|line| !line.contains("\"status\":200"));
                    ensure!(refused.is_none(), "a write was refused: {refused:?}");
                }
                Ok(())
            });
        }
        Self {
            written,
            stop,
            writers,
        }
    }

    fn bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed) * VALUE_BYTES as u64
    }

    /// Waits until `bytes` more bytes of values have been written.
    async fn through(&mut self, bytes: u64) -> anyhow::Result<()> {
        let goal = self.bytes() + bytes;
        until(
            &format!("{bytes} bytes are written"),
            Duration::from_secs(180),
            || async {
                ensure!(self.bytes() >= goal, "{} of {goal}", self.bytes());
                Ok(())
            },
        )
        .await
    }

    /// Stops the writers; returns the first error of a writer.
    async fn end(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// NDJSON of puts; every fifth is of the hot key.
fn batch(first: u64) -> String {
    let value = "v".repeat(VALUE_BYTES);
    let put = |n: u64| {
        let key = if n.is_multiple_of(5) {
            "hot".to_owned()
        } else {
            format!("k/{}", n % KEYS)
        };
        let put =
            serde_json::json!({ "op": "put", "bucket": "b", "key": key, "value": format!("{n} {value}") });
        format!("{put}\n")
    };
    (first..first + BATCH).map(put).collect()
}

/// Resident memory of each agent and gateway, in bytes.
fn resident(running: &Running) -> anyhow::Result<BTreeMap<String, u64>> {
    let of = |(name, pid): (String, u64)| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok((name, kib.context("no VmRSS")? * 1024))
    };
    running.processes().into_iter().map(of).collect()
}

/// Writes `bytes` bytes and returns the most that each process held meanwhile.
async fn most_resident(
    running: &Running,
    load: &mut Load,
    bytes: u64,
) -> anyhow::Result<BTreeMap<String, u64>> {
    let (mut most, parts) = (BTreeMap::<String, u64>::new(), 8);
    for _ in 0..parts {
        load.through(bytes / parts).await?;
        for (name, bytes) in resident(running)? {
            let held = most.entry(name).or_default();
            *held = bytes.max(*held);
        }
    }
    Ok(most)
}

async fn hot_version(agent: &Agent) -> anyhow::Result<Option<String>> {
    Ok(agent.value("b", "hot").await?.version)
}

/// Polls the hot key until `done`. Fails if its version ever goes back.
async fn watch_order(agent: Agent, done: Arc<AtomicBool>) -> anyhow::Result<usize> {
    let (mut newest, mut seen) = (None, 0);
    while !done.load(Ordering::Relaxed) {
        let version = hot_version(&agent).await?;
        ensure!(
            version >= newest,
            "the version went back from {newest:?} to {version:?}"
        );
        seen += usize::from(version > newest);
        newest = version;
    }
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_21_a_long_outage_drains_in_order_in_bounded_memory() -> anyhow::Result<()> {
    let running = start("400MiB", "900MiB").await?;
    let mut load = Load::start(&running);
    load.through(10 * MIB).await?;
    running.lab(&["cut", REGIONS[0], REGIONS[1]])?;
    // First the read-ahead of the cut link fills up to its bounds.
    load.through(80 * MIB).await?;
    let early = most_resident(&running, &mut load, 80 * MIB).await?;
    let late = most_resident(&running, &mut load, 80 * MIB).await?;
    println!("most resident bytes early in the outage: {early:?}\nand late: {late:?}");
    for (name, bytes) in &late {
        let before = early.get(name).context("a process that was there before")?;
        ensure!(
            *bytes <= before + 24 * MIB,
            "{name} grew from {before} to {bytes} while the outage lasted"
        );
        ensure!(*bytes <= MOST, "{name} holds {bytes} bytes");
    }
    load.end().await?;
    let (peer, done) = (running.agent(REGIONS[1]), Arc::<AtomicBool>::default());
    let watch = tokio::spawn(watch_order(peer, Arc::clone(&done)));
    running.lab(&["heal"])?;
    let cells = running.identical(Duration::from_secs(120)).await;
    done.store(true, Ordering::Relaxed);
    let versions = watch.await??;
    println!("the hot key was seen in {versions} versions while the backlog drained");
    ensure!(cells? == 4 * KEYS / 5 + 1, "every key that was written is there");
    for (name, bytes) in resident(&running)? {
        ensure!(bytes <= MOST, "{name} holds {bytes} bytes after the drain");
    }
    Ok(())
}

fn of_kind<'a>(events: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = events["events"].as_array().or(events.as_array());
    all.into_iter()
        .flatten()
        .filter(|event| event["kind"] == kind)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_21_a_region_cut_beyond_retention_heals_by_itself() -> anyhow::Result<()> {
    let running = start("4MiB", "900MiB").await?;
    let west = running.agent(REGIONS[1]);
    let mut load = Load::start(&running);
    load.through(4 * MIB).await?;
    running.lab(&["cut", REGIONS[0], REGIONS[1]])?;
    west.put("b", "of-west", "", "kept").await?.ok()?;
    let long = Duration::from_secs(120);
    until("the steward names the peer that is left behind", long, || async {
        for agent in running.agents(REGIONS[0]) {
            let events = agent.events().await?;
            if of_kind(&events, "peer_needs_sync")
                .iter()
                .any(|event| event["fields"]["peer"] == REGIONS[1])
            {
                return Ok(());
            }
        }
        anyhow::bail!("no peer_needs_sync")
    })
    .await?;
    load.through(8 * MIB).await?;
    load.end().await?;
    let deleted = running.agent(REGIONS[0]).delete("b", "k/1").await?;
    ensure!(deleted.status == 200, "{}", deleted.text());
    running.lab(&["heal"])?;
    running.identical(long).await?;
    for region in REGIONS {
        let agent = running.agent(region);
        let kept = agent.value("b", "of-west").await?;
        ensure!(kept.text() == "kept", "{region} lost a write of west");
        ensure!(agent.value("b", "k/1").await?.status == 404, "a delete came back");
    }
    until(
        "a steward took it from the other region's store",
        long,
        || async {
            for agent in running.agents(REGIONS[1]) {
                let events = agent.events().await?;
                let mut completed = of_kind(&events, "sync_completed").into_iter();
                if completed.any(|event| event["fields"]["from"] == REGIONS[0]) {
                    return Ok(());
                }
            }
            anyhow::bail!("no sync was completed")
        },
    )
    .await?;
    until("no lane needs a sync", long, || async {
        for region in REGIONS {
            let statuses = running.gateways(region, "/v1/status").await?;
            let text = serde_json::to_string(&statuses)?;
            ensure!(!text.contains("\"needs_sync\":true"), "{text}");
        }
        Ok(())
    })
    .await
}
