//! What a region sets aside: writes that lost to others that had not seen them, and writes with a
//! wrong clock.

use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::{Running, until};
use reqwest::StatusCode;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
const REGIONS: [&str; 2] = ["eu-west", "us-east"];

fn list(running: &Running, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let json = running.json(&[&["aside", "list"], arguments].concat())?;
    Ok(json.as_array().context("entries are an array")?.clone())
}

async fn reads(running: &Running, key: &str, value: &str) -> anyhow::Result<()> {
    until(&format!("{key} is {value} everywhere"), SOON, || async {
        for agent in running.all_agents() {
            let answer = agent.value("shop", key).await?.ok()?;
            ensure!(answer.text() == value, "{key} is {}", answer.text());
        }
        Ok(())
    })
    .await
}

/// The conflict metric's lines of every agent of a region.
async fn conflicts(running: &Running, region: &str) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for agent in running.agents(region) {
        let text = agent.admin("/metrics").await?.ok()?.text();
        let of_conflicts = text
            .lines()
            .filter(|line| line.starts_with("isthmus_conflicts_total{"));
        lines.extend(of_conflicts.map(str::to_owned));
    }
    Ok(lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_42_a_write_that_lost_across_a_cut_can_be_restored() -> anyhow::Result<()> {
    let running = Running::start(&REGIONS, &[]).await?;
    for n in 0..20 {
        let agent = running.agent(REGIONS[n % 2]);
        agent.put("shop", "turns", "", &n.to_string()).await?.ok()?;
        reads(&running, "turns", &n.to_string()).await?;
    }
    running.lab(&["cut", "eu-west", "us-east"])?;
    let lost = running
        .agent("eu-west")
        .put("shop", "cart", "", "apples")
        .await?
        .ok()?;
    let version = lost.json()?["version"].as_str().context("a version")?.to_owned();
    let won = running
        .agent("us-east")
        .put("shop", "cart", "", "pears")
        .await?
        .ok()?;
    let winner = won.json()?["version"].clone();
    ensure!(
        list(&running, &[])?.is_empty(),
        "nothing is lost as long as the cut lasts"
    );
    running.lab(&["heal"])?;
    reads(&running, "cart", "pears").await?;

    let entries = until("the loser is set aside", SOON, || async {
        let entries = list(&running, &["--region", "eu-west"])?;
        ensure!(!entries.is_empty(), "nothing yet");
        Ok(entries)
    })
    .await?;
    let [entry] = &entries[..] else {
        anyhow::bail!("more than the one write that lost: {entries:#?}")
    };
    ensure!(
        entry["version"] == version.as_str() && entry["winner"] == winner,
        "{entry}"
    );
    ensure!(
        entry["reason"] == "conflict" && entry["bucket"] == "shop" && entry["key"] == "cart",
        "{entry}"
    );
    ensure!(
        list(&running, &["--region", "us-east"])?.is_empty(),
        "the winner's region has it too"
    );
    for (filter, found) in [
        (["--reason", "conflict"], 1),
        (["--reason", "clock"], 0),
        (["--bucket", "shop"], 1),
        (["--bucket", "other"], 0),
        (["--since", "1h"], 1),
    ] {
        ensure!(list(&running, &filter)?.len() == found, "{filter:?}");
    }
    let counted = conflicts(&running, "eu-west").await?;
    let labels = "winner=\"us-east\",loser=\"eu-west\"} 1";
    ensure!(
        !counted.is_empty() && counted.iter().all(|line| line.contains(labels)),
        "{counted:?}"
    );

    let id = entry["id"].as_str().context("an id")?;
    let shown = running.json(&["aside", "show", id])?;
    ensure!(shown["value"] == "apples", "{shown}");
    running.lab(&["kill", "agents@eu-west"])?;
    running.identical(SOON).await?;
    let entries = until("what is aside is listed again", SOON, || async {
        list(&running, &[])
    })
    .await?;
    ensure!(entries.len() == 1, "a restart sets it aside again");

    let restored = until("it is restored", SOON, || async {
        running.json(&["aside", "restore", id])
    })
    .await?;
    ensure!(restored["restored"]["version"] != version.as_str(), "{restored}");
    reads(&running, "cart", "apples").await?;
    running.identical(SOON).await?;
    ensure!(
        list(&running, &[])?.is_empty(),
        "what was restored is not aside any more"
    );
    ensure!(
        running.json(&["aside", "drop", id]).is_err(),
        "it can be dropped twice"
    );
    Ok(())
}

/// A write that loses as it reaches its own region's log was never readable. None may vanish, no
/// matter which agent of the region wrote the winner.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_42_writes_that_lose_in_their_region_are_set_aside() -> anyhow::Result<()> {
    const ROUNDS: usize = 40;
    let running = Running::start(&["eu-west"], &[]).await?;
    let agents = running.agents("eu-west");
    let mut lost = std::collections::BTreeSet::new();
    for round in 0..ROUNDS {
        let value = round.to_string();
        let puts = (0..8).map(|n| agents[n % 2].put("shop", "hot", "", &value));
        for answer in futures::future::join_all(puts).await {
            let answer = answer?.ok()?.json()?;
            if answer["superseded"] == true {
                lost.insert(answer["version"].as_str().context("a version")?.to_owned());
            }
        }
    }
    ensure!(!lost.is_empty(), "no write lost as it arrived");
    until("every write that lost is set aside", SOON, || async {
        let entries = list(&running, &["--reason", "conflict"])?;
        let named = |version: &&String| entries.iter().any(|entry| entry["version"] == version.as_str());
        let missing: Vec<&String> = lost.iter().filter(|version| !named(version)).collect();
        ensure!(
            missing.is_empty(),
            "{} of {} are missing",
            missing.len(),
            lost.len()
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_08_a_write_from_a_clock_ahead_is_set_aside_once() -> anyhow::Result<()> {
    let running = Running::start(&["eu-west"], &[]).await?;
    let agents = running.agents("eu-west");
    agents[1].put("shop", "before", "", "1").await?.ok()?;
    running.lab(&["clock", "agent-1@eu-west", "+8h"])?;
    let refused = until("a write is refused for the clock", SOON, || async {
        let answer = agents[0].put("shop", "ahead", "", "from tomorrow").await?;
        ensure!(
            answer.status == StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            answer.status
        );
        ensure!(answer.json()?["code"] == "clock_ahead", "{}", answer.text());
        Ok(answer)
    })
    .await?;
    ensure!(refused.json()?["retryable"] == true, "{}", refused.text());
    let entries = until("the write is set aside", SOON, || async {
        let entries = list(&running, &["--reason", "clock"])?;
        ensure!(!entries.is_empty(), "nothing yet");
        Ok(entries)
    })
    .await?;
    let ids: std::collections::BTreeSet<&str> =
        entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
    ensure!(ids.len() == entries.len(), "{entries:#?}");
    ensure!(
        entries
            .iter()
            .all(|entry| entry["bucket"] == "shop" && entry["key"] == "ahead"),
        "{entries:#?}"
    );
    agents[1].put("shop", "others", "", "go on").await?.ok()?;
    running.lab(&["clock", "agent-1@eu-west", "0s"])?;
    let id = entries[0]["id"].as_str().context("an id")?;
    until("it is restored", SOON, || async {
        running.json(&["aside", "restore", id]).map(drop)
    })
    .await?;
    reads(&running, "ahead", "from tomorrow").await?;
    until("both events are in the region's journal", SOON, || async {
        let kinds = ["--kind", "clock_ahead", "--kind", "aside"];
        let events = running.json(&[&["events", "--since", "1h"], &kinds[..]].concat())?;
        let events = events.as_array().context("events")?;
        for kind in ["clock_ahead", "aside"] {
            ensure!(
                events.iter().any(|event| event["kind"] == kind),
                "no {kind}: {events:#?}"
            );
        }
        Ok(())
    })
    .await
}
