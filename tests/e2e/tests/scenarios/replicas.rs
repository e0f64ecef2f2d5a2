//! A region on three NATS nodes with three replicas, linked to a region on one node. Nodes are
//! killed while clients write, and with them the leaders of streams.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use isthmus_e2e::nats::jetstream;
use isthmus_e2e::{Agent, Load, Process, Site, isthmus, until};
use isthmus_log::testing::{NatsCluster, NatsServer, free_port};
use serde_json::Value;
use tempfile::TempDir;

const READY_WITHIN: Duration = Duration::from_secs(60);
const WRITABLE_WITHIN: Duration = Duration::from_secs(60);

async fn write(agent: &Agent, key: &str, bound: Duration) -> anyhow::Result<()> {
    until(&format!("{key} is written"), bound, || async {
        agent.put("shop", key, "?timeout=2s", key).await?.ok()
    })
    .await?;
    Ok(())
}

/// The two regions. Dropping it ends all processes.
struct World {
    cluster: NatsCluster,
    _single: NatsServer,
    _folder: TempDir,
    _processes: Vec<Process>,
    eu: Vec<Agent>,
    us: Agent,
}

impl World {
    async fn start() -> anyhow::Result<Self> {
        let cluster = NatsCluster::start();
        let single = NatsServer::start();
        let folder = TempDir::new()?;
        let set = folder.path().join("set");
        isthmus(&[
            "init",
            set.to_str().context("a folder name that is UTF-8")?,
            "--regions",
            "eu-west,us-east",
        ])?;
        let (eu_link, us_link) = (free_port(), free_port());
        let eu = Site {
            name: "eu-west",
            nats: cluster.urls(),
            link: eu_link,
            dial: ("us-east", us_link),
        };
        let us = Site {
            name: "us-east",
            nats: vec![single.url()],
            link: us_link,
            dial: ("eu-west", eu_link),
        };
        let replicated = [("ISTHMUS_LOG__REPLICAS", "3".to_owned())];
        let (one, eu_1) = eu.agent(&set, "agent-1", &replicated)?;
        let (two, eu_2) = eu.agent(&set, "agent-2", &replicated)?;
        let (three, us_1) = us.agent(&set, "agent-1", &[])?;
        let gateways = [eu.gateway(&set, &replicated)?, us.gateway(&set, &[])?];
        write(&eu_1, "ready", READY_WITHIN).await?;
        Ok(Self {
            cluster,
            _single: single,
            _folder: folder,
            _processes: [one, two, three].into_iter().chain(gateways).collect(),
            eu: vec![eu_1, eu_2],
            us: us_1,
        })
    }

    fn node(&mut self, name: &str) -> anyhow::Result<&mut NatsServer> {
        self.cluster.server(name).context("a node of the cluster")
    }

    /// A stream's information from any running node.
    async fn stream(&self, stream: &str) -> anyhow::Result<Value> {
        let urls = self.cluster.urls();
        until(&format!("{stream} is described"), READY_WITHIN, || async {
            let mut last = None;
            for url in &urls {
                let address = url.trim_start_matches("nats://");
                match jetstream(address, &format!("STREAM.INFO.{stream}"), "").await {
                    Ok(info) => return Ok(info),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.context("no node")?)
        })
        .await
    }

    /// Moves the leadership of the logs away from `node`.
    async fn take_logs_from(&self, node: &str) -> anyhow::Result<()> {
        for partition in 0..4 {
            let log = log(partition);
            until(&format!("{log} is led elsewhere"), READY_WITHIN, || async {
                let info = self.stream(&log).await?;
                let leader = info["cluster"]["leader"].as_str().context("no leader")?;
                if leader == node {
                    let address = self.cluster.urls()[0].replace("nats://", "");
                    jetstream(&address, &format!("STREAM.LEADER.STEPDOWN.{log}"), "").await?;
                }
                ensure!(leader != node, "{leader} leads it");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// When each log was created.
    async fn created(&self) -> anyhow::Result<Vec<Value>> {
        let mut created = Vec::new();
        for partition in 0..4 {
            let info = self.stream(&log(partition)).await?;
            created.push(info["created"].clone());
        }
        Ok(created)
    }
}

fn log(partition: u16) -> String {
    format!("ISTHMUS_dev_eu-west_default_{partition}")
}

async fn lives(agent: &Agent) -> anyhow::Result<Vec<u64>> {
    let status = agent.status().await?;
    let shards = status["shards"].as_array().cloned().unwrap_or_default();
    let numbers = shards.iter().filter_map(|shard| shard["life"]["number"].as_u64());
    Ok(numbers.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_44_elections_under_load_begin_no_life_or_stream() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let (eu, us) = (world.eu.clone(), world.us.clone());
    let created = world.created().await?;
    let load = Load::start(&eu, 4);
    load.seen_by(&us, READY_WITHIN).await?;
    for node in ["n1", "n2", "n3"] {
        world.node(node)?.kill();
        let n = load.next();
        until("100 writes are sent on", WRITABLE_WITHIN, || async {
            ensure!(load.next() > n + 100, "{} were sent", load.next() - n);
            Ok(())
        })
        .await?;
        write(&eu[0], &format!("without-{node}"), WRITABLE_WITHIN).await?;
        load.seen_by(&us, WRITABLE_WITHIN).await?;
        world.node(node)?.start_again();
    }
    let tally = load.end().await?;
    for agent in eu.iter().chain([&us]) {
        until("every acknowledged write is readable", READY_WITHIN, || {
            tally.all_on(agent)
        })
        .await?;
    }
    ensure!(
        lives(&eu[0]).await? == [1; 4],
        "an election was taken for a lost tail"
    );
    ensure!(world.created().await? == created, "a stream was made again");
    println!(
        "{} acknowledged, {} refused, {} unknown",
        tally.acknowledged.len(),
        tally.refused,
        tally.unknown
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_43_forwarding_survives_the_lease_leaders_death() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let (eu, us) = (world.eu.clone(), world.us.clone());
    let load = Load::start(&eu, 4);
    load.seen_by(&us, READY_WITHIN).await?;
    let leases = world.stream("KV_ISTHMUS_dev_eu-west_LEASES").await?;
    let node = leases["cluster"]["leader"]
        .as_str()
        .context("a leader")?
        .to_owned();
    world.take_logs_from(&node).await?;
    world.node(&node)?.kill();
    let killed = Instant::now();
    let mut seen = Vec::new();
    for _ in 0..20 {
        load.seen_by(&us, WRITABLE_WITHIN).await?;
        seen.push(killed.elapsed());
    }
    let elected = world.stream("KV_ISTHMUS_dev_eu-west_LEASES").await?;
    let after = killed.elapsed();
    ensure!(elected["cluster"]["leader"] != node.as_str(), "{elected}");
    let first = seen.first().copied().unwrap_or_default();
    println!(
        "{node} led the leases; the first change that was written after its death is seen after {first:.2?}, 20 after {:.2?}; the leases told a leader again after at most {after:.2?}",
        seen[19]
    );
    let tally = load.end().await?;
    until("every acknowledged write is readable", READY_WITHIN, || {
        tally.all_on(&us)
    })
    .await?;
    ensure!(lives(&eu[0]).await? == [1; 4]);
    Ok(())
}
