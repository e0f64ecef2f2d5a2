//! Regions that hold different values report it; regions that only write all the time do not.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::{Agent, Load, Running, binary, until};
use serde_json::Value;

const EU: &str = "eu-west";
const US: &str = "us-east";
const SOON: Duration = Duration::from_secs(60);
/// A region settles for 30 s, and a difference is reported after 30 s. Each shard is compared every
/// 10 s. The rest is for slow machines.
const COMPARED: Duration = Duration::from_secs(180);

/// The findings of this check that `isthmus doctor` reports for both regions.
fn found(running: &Running, check: &str) -> anyhow::Result<Vec<Value>> {
    let output = Command::new(binary("isthmus")?)
        .args(["doctor", "--json", "--dir"])
        .arg(running.set())
        .output()?;
    let found: Value = serde_json::from_slice(&output.stdout).context("doctor prints JSON")?;
    let found = found.as_array().context("findings")?.iter();
    Ok(found
        .filter(|finding| finding["check"] == check)
        .cloned()
        .collect())
}

fn failed(found: &[Value]) -> usize {
    found
        .iter()
        .filter(|finding| finding["verdict"] == "fail")
        .count()
}

async fn events(agent: &Agent, kind: &str) -> anyhow::Result<Vec<Value>> {
    let found = agent
        .admin("/v1/events?since=1h&limit=1000")
        .await?
        .ok()?
        .json()?;
    let events = found["events"].as_array().context("events")?.iter();
    Ok(events.filter(|event| event["kind"] == kind).cloned().collect())
}

async fn put_all(agent: &Agent, name: &str, value: &str) -> anyhow::Result<()> {
    for number in 0..40 {
        let key = format!("{name}-{number}");
        until("the write is taken", SOON, || async {
            agent.put("shop", &key, "?timeout=2s", value).await?.ok()
        })
        .await?;
    }
    Ok(())
}

async fn read_all(agent: &Agent, name: &str, value: &str) -> anyhow::Result<()> {
    until(&format!("every {name} is {value}"), SOON, || async {
        for number in 0..40 {
            let answer = agent.value("shop", &format!("{name}-{number}")).await?.ok()?;
            ensure!(answer.text() == value, "{name}-{number} is {}", answer.text());
        }
        Ok(())
    })
    .await
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(copied.success(), "{} could not be copied", from.display());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_and_doctor_report_a_region_rolled_back_to_a_snapshot() -> anyhow::Result<()> {
    let running = Running::start(&[EU, US], &["--rtt", "20ms"]).await?;
    let (eu, us) = (running.agent(EU), running.agent(US));
    put_all(&eu, "kept", "a").await?;
    read_all(&us, "kept", "a").await?;
    let data = running.set().join(EU).join("data");
    let snapshot = running.folder().join("snapshot");
    running.down(EU).await?;
    copy(&data, &snapshot)?;
    running.lab(&["start", "all@eu-west"])?;
    put_all(&eu, "lost", "b").await?;
    read_all(&us, "lost", "b").await?;
    running.down(EU).await?;
    std::fs::remove_dir_all(&data)?;
    copy(&snapshot, &data)?;
    running.lab(&["start", "all@eu-west"])?;
    put_all(&eu, "after", "c").await?;
    read_all(&us, "after", "c").await?;

    until("the peer tells that the region lost a tail", COMPARED, || async {
        let found = events(&us, "peer_lost_tail").await?;
        ensure!(!found.is_empty(), "no event");
        ensure!(
            found.iter().all(|event| event["fields"]["peer"] == EU),
            "{found:?}"
        );
        Ok(())
    })
    .await?;
    let missing = eu.value("shop", "lost-0").await?;
    ensure!(
        missing.status == 404,
        "what only the peer holds is {}",
        missing.status
    );
    until(
        "both regions tell that they differ, and doctor fails",
        COMPARED,
        || async {
            for agent in [&eu, &us] {
                ensure!(!events(agent, "regions_differ").await?.is_empty(), "no event");
            }
            ensure!(failed(&found(&running, "regions")?) >= 2, "doctor is content");
            Ok(())
        },
    )
    .await?;
    for agent in [&eu, &us] {
        let found = events(agent, "regions_differ").await?;
        let mut shards: Vec<String> = found
            .iter()
            .map(|event| event["fields"]["partition"].to_string())
            .collect();
        shards.sort();
        shards.dedup();
        ensure!(shards.len() == found.len(), "a shard is reported once: {found:?}");
    }

    put_all(&us, "lost", "d").await?;
    read_all(&eu, "lost", "d").await?;
    until("they agree again", COMPARED, || async {
        ensure!(!events(&eu, "regions_agree").await?.is_empty(), "no event");
        let found = found(&running, "regions")?;
        ensure!(failed(&found) == 0, "{found:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_under_constant_load_are_compared_and_do_not_differ() -> anyhow::Result<()> {
    let running = Running::start(&[EU, US], &["--rtt", "80ms"]).await?;
    let loads = [EU, US].map(|region| Load::start(&running.agents(region), 4));
    until("every part of every shard is compared", COMPARED, || async {
        for region in [EU, US] {
            let found = running.gateways(region, "/v1/status").await?;
            let compared = found
                .iter()
                .filter_map(|status| status["compared"].as_array())
                .flatten();
            let (mut shards, mut whole) = (0, 0);
            for shard in compared {
                ensure!(shard["differing_parts"] == 0, "{shard}");
                shards += 1;
                whole += usize::from(shard["all_compared"] == true);
            }
            ensure!(
                shards == 4 && whole == shards,
                "{whole} of {shards} in {region}: {found:?}"
            );
        }
        Ok(())
    })
    .await?;
    for load in loads {
        load.end().await?;
    }
    for region in [EU, US] {
        let found = events(&running.agent(region), "regions_differ").await?;
        ensure!(found.is_empty(), "{found:?}");
    }
    Ok(())
}
