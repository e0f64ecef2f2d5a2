//! An agent whose disk is empty, in a region whose logs no longer begin with their first message.

use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::{Agent, Running, until};
use serde_json::Value;

const EU: &str = "eu-west";
const US: &str = "us-east";
const SOON: Duration = Duration::from_secs(120);
const VALUE_BYTES: usize = 16 * 1024;
const KEYS: usize = 400;

/// Writes every key, and deletes each tenth.
async fn write_all(agent: &Agent, round: usize) -> anyhow::Result<()> {
    let value = format!("{round} {}", "v".repeat(VALUE_BYTES));
    for key in 0..KEYS {
        let name = format!("{round}-{key}");
        agent.put("shop", &name, "", &value).await?.ok()?;
        if key % 10 == 0 {
            agent.delete("shop", &name).await?.ok()?;
        }
    }
    Ok(())
}

fn shards(status: &Value) -> anyhow::Result<&Vec<Value>> {
    status["shards"].as_array().context("shards")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_data_copies_another_agents_store() -> anyhow::Result<()> {
    let running = Running::start_edited(&[EU, US], &[], |_, written| {
        let log = "log: { create: true, retention: 256KiB, max_bytes: 64MiB } #";
        written.replace("log: { create: true }", log)
    })
    .await?;
    let agents = running.agents(EU);
    let [stays, wiped] = &agents[..] else {
        anyhow::bail!("a region has two agents, not {}", agents.len());
    };
    write_all(stays, 0).await?;
    until("every log is trimmed", SOON, || async {
        let status = stays.status().await?;
        let first = |shard: &Value| shard["log"]["first"].as_u64();
        let begins: Vec<_> = shards(&status)?.iter().map(first).collect();
        ensure!(begins.iter().all(|first| *first > Some(1)), "{begins:?}");
        Ok(())
    })
    .await?;
    running.agent_down(EU, "agent-2").await?;
    std::fs::remove_dir_all(running.set().join(EU).join("data/agent-2"))?;
    write_all(stays, 1).await?;
    running.lab(&["start", "agent-2@eu-west"])?;
    write_all(stays, 2).await?;
    until("the agent serves", SOON, || async {
        let ready = wiped.admin("/readyz/read").await?;
        ensure!(ready.status == 200, "{}", ready.text());
        Ok(())
    })
    .await?;
    let cells = running.identical(SOON).await?;
    ensure!(cells == 3 * KEYS as u64, "{cells} cells");
    for key in ["0-10", "1-10", "2-10"] {
        ensure!(wiped.value("shop", key).await?.status == 404, "{key} is back");
    }
    let copied = wiped.metric("isthmus_synced_cells_total").await?;
    ensure!(copied > Some(0.0), "{copied:?} cells were copied");
    let events = wiped.events().await?;
    let text = events.to_string();
    for kind in ["needs_sync", "sync_started", "sync_completed"] {
        ensure!(text.contains(kind), "no {kind} in {text}");
    }
    Ok(())
}
