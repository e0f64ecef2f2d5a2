//! A region on three NATS nodes with three replicas, joined to a region on one: each node is killed in turn, and with it
//! the leader of every stream, while clients write.

use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::{Agent, Site, isthmus, until};
use isthmus_log::testing::{NatsCluster, NatsServer, free_port};
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

#[tokio::test(flavor = "multi_thread")]
async fn every_node_is_killed_in_turn_and_no_acknowledged_write_is_lost() -> anyhow::Result<()> {
    let mut cluster = NatsCluster::start();
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
    let (_agent_1, eu_1) = eu.agent(&set, "agent-1", &replicated)?;
    let (_agent_2, eu_2) = eu.agent(&set, "agent-2", &replicated)?;
    let (_agent_3, us_1) = us.agent(&set, "agent-1", &[])?;
    let _gateways = [eu.gateway(&set, &replicated)?, us.gateway(&set, &[])?];
    write(&eu_1, "ready", READY_WITHIN).await?;

    let mut written = vec!["ready".to_owned()];
    for node in ["n1", "n2", "n3"] {
        let server = cluster.server(node).context("a node of the cluster")?;
        server.kill();
        for n in 0..10 {
            let key = format!("{node}/{n}");
            write(if n % 2 == 0 { &eu_1 } else { &eu_2 }, &key, WRITABLE_WITHIN).await?;
            written.push(key);
        }
        cluster
            .server(node)
            .context("a node of the cluster")?
            .start_again();
    }
    for agent in [&eu_1, &eu_2, &us_1] {
        until("every acknowledged write is readable", READY_WITHIN, || async {
            for key in &written {
                let answer = agent.value("shop", key).await?.ok()?;
                ensure!(answer.text() == *key, "{key} is {}", answer.text());
            }
            Ok(())
        })
        .await?;
    }
    let lives = |status: serde_json::Value| -> Vec<u64> {
        let shards = status["shards"].as_array().cloned().unwrap_or_default();
        shards
            .iter()
            .filter_map(|shard| shard["life"]["number"].as_u64())
            .collect()
    };
    let lives = lives(eu_1.status().await?);
    ensure!(
        lives.iter().all(|number| *number == 1),
        "an election was taken for a lost tail: {lives:?}"
    );
    Ok(())
}
