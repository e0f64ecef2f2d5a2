//! The events of a region outlive its processes, and any process reports them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::{Running, until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// The events that `isthmus events` reports for the last hour, each as process, kind, time and
/// message.
fn events(running: &Running, arguments: &[&str]) -> anyhow::Result<Vec<Event>> {
    let json = running.json(&[&["events", "--since", "1h"], arguments].concat())?;
    let json = json.as_array().context("events are an array")?;
    json.iter().map(Event::read).collect()
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at_ms: u64,
    process: String,
    kind: String,
    message: String,
}

impl Event {
    fn read(json: &Value) -> anyhow::Result<Self> {
        let text = |name: &str| {
            json[name]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("{name} in {json}"))
        };
        ensure!(json["stored_ms"].is_u64(), "not of the region's journal: {json}");
        Ok(Self {
            at_ms: json["at_ms"].as_u64().context("a time")?,
            process: text("process")?,
            kind: text("kind")?,
            message: text("message")?,
        })
    }
}

async fn with_kinds(running: &Running, kinds: &[&str]) -> anyhow::Result<Vec<Event>> {
    until(&format!("events of {kinds:?}"), SOON, || async {
        let json = events(running, &[])?;
        for kind in kinds {
            ensure!(
                json.iter().any(|event| event.kind == *kind),
                "no {kind}: {json:#?}"
            );
        }
        Ok(json)
    })
    .await
}

/// The members that these events are about.
fn members(events: &[Event]) -> BTreeSet<&str> {
    events.iter().map(|event| event.message.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_outlive_every_process_of_the_region() -> anyhow::Result<()> {
    let running = Running::start(&["eu-west", "us-east"], &[]).await?;
    let before = with_kinds(&running, &["leader_taken", "steward_taken", "node_up", "link_up"]).await?;

    for target in ["agents@eu-west", "gateways@eu-west", "nats@eu-west"] {
        running.lab(&["kill", target])?;
    }
    let changes = until("a gateway leads after the kill", SOON, || async {
        let json = events(&running, &["--region", "eu-west", "--kind", "leader_taken"])?;
        ensure!(json.len() >= 2, "{json:?}");
        Ok(json)
    })
    .await?;
    ensure!(
        changes.iter().all(|event| event.kind == "leader_taken"),
        "{changes:?}"
    );
    until("all events from before are listed again", SOON, || async {
        let after: BTreeSet<Event> = events(&running, &[])?.into_iter().collect();
        let lost: Vec<_> = before.iter().filter(|event| !after.contains(event)).collect();
        ensure!(lost.is_empty(), "lost with the processes: {lost:?}");
        Ok(())
    })
    .await?;

    let ups = until("each member of us-east has come", SOON, || async {
        let ups = events(&running, &["--region", "us-east", "--kind", "node_up"])?;
        ensure!(members(&ups).len() >= 4, "{ups:#?}");
        Ok(ups)
    })
    .await?;
    ensure!(
        ups.len() == members(&ups).len(),
        "a member that came is reported more than once: {ups:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_nats_a_process_tells_its_own_events_and_says_so() -> anyhow::Result<()> {
    let running = Running::start(&["eu-west"], &[]).await?;
    with_kinds(&running, &["steward_taken"]).await?;
    running.lab(&["stop", "nats@eu-west"])?;
    let agent = running.agent("eu-west");
    let json = until("the process's own events", SOON, || async {
        let json = agent.admin("/v1/events?since=1h").await?.ok()?.json()?;
        ensure!(json["source"] == "process", "{json}");
        Ok(json)
    })
    .await?;
    ensure!(
        json["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
        "{json}"
    );
    let own = json["events"].as_array().context("events")?;
    ensure!(
        own.iter().any(|event| event["kind"] == "node_up")
            && own.iter().all(|event| event["process"] == own[0]["process"]),
        "{json}"
    );
    running.lab(&["cont", "nats@eu-west"])?;
    until("the region's events again", SOON, || async {
        let json = agent.admin("/v1/events?since=1h").await?.ok()?.json()?;
        ensure!(json["source"] == "region", "{json}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_how_far_each_members_clock_is_off() -> anyhow::Result<()> {
    let running = Running::start(&["eu-west", "us-east"], &[]).await?;
    running.lab(&["clock", "agent-2@eu-west", "+300ms"])?;
    let agent = running.agent("eu-west");
    until("the clock offsets of all members", SOON, || async {
        let by_gateway = running.json(&["status"])?["regions"].clone();
        let json = [
            ("eu-west", agent.status().await?),
            ("eu-west", by_gateway["eu-west"].clone()),
            ("us-east", by_gateway["us-east"].clone()),
        ];
        for (region, json) in json {
            let members = json["members"].as_array().context("members")?;
            ensure!(members.len() >= 4, "{json}");
            for member in members {
                let offset = member["clock_offset_ms"]
                    .as_f64()
                    .with_context(|| format!("{member}"))?;
                let ahead = region == "eu-west" && member["name"] == "agent-2";
                let expected = if ahead { 300.0 } else { 0.0 };
                ensure!((offset - expected).abs() < 100.0, "{member} of {region}");
            }
        }
        Ok(())
    })
    .await
}
