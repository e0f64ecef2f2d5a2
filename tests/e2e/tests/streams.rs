//! The streams beside the logs are deleted under running processes: each is reported within
//! seconds, and everything continues.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::nats::jetstream;
use isthmus_e2e::{Agent, Running, Site, binary, isthmus, until};
use isthmus_log::testing::{NatsServer, free_port};
use serde_json::Value;
use tempfile::TempDir;

/// Three checks, five seconds apart, and time for a slow machine.
const NOTICED: Duration = Duration::from_secs(45);
const REGION: &str = "eu-west";

fn streams(set: &str) -> [String; 3] {
    [
        format!("KV_ISTHMUS_{set}_{REGION}_LEASES"),
        format!("ISTHMUS_{set}_{REGION}_EVENTS"),
        format!("ISTHMUS_{set}_{REGION}_ASIDE_default"),
    ]
}

/// The failed findings of `isthmus doctor` that name `stream`.
fn failures(output: &[u8], stream: &str) -> anyhow::Result<Vec<Value>> {
    let json: Value = serde_json::from_slice(output).context("doctor prints JSON")?;
    let findings = json.as_array().context("findings")?.clone();
    let names = |finding: &Value| {
        let text = |field: &str| finding[field].as_str().unwrap_or_default().contains(stream);
        finding["verdict"] == "fail" && (text("of") || text("found"))
    };
    Ok(findings.into_iter().filter(|finding| names(finding)).collect())
}

fn doctor(arguments: &[&str], stream: &str) -> anyhow::Result<Vec<Value>> {
    let output = Command::new(binary("isthmus")?)
        .arg("doctor")
        .args(arguments)
        .arg("--json")
        .output()?;
    failures(&output.stdout, stream)
}

/// The newest event of this kind that names `stream`, from an agent.
async fn event(agent: &Agent, kind: &str, stream: &str) -> anyhow::Result<Value> {
    let json = agent.admin("/v1/events?since=1h").await?.ok()?.json()?;
    let events = json["events"].as_array().context("events")?;
    let named = |event: &&Value| event["kind"] == kind && event["fields"]["stream"] == stream;
    let found = events.iter().rev().find(named).cloned();
    found.with_context(|| format!("no {kind} of {stream}: {json}"))
}

async fn names_nothing_missing(agent: &Agent) -> anyhow::Result<()> {
    let status = agent.status().await?;
    ensure!(status["missing_streams"] == serde_json::json!([]), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_deleted_under_processes_is_reported_and_made_again() -> anyhow::Result<()> {
    let running = Running::start(&[REGION, "us-east"], &[]).await?;
    let nats = running.run_file()["regions"][REGION]["nats"]["url"]
        .as_str()
        .context("the address of NATS")?
        .trim_start_matches("nats://")
        .to_owned();
    let set = running.set();
    let folder = ["--dir", set.to_str().context("UTF-8")?];
    let agent = running.agent(REGION);
    let names = jetstream(&nats, "STREAM.NAMES", "").await?;
    let all = names["streams"].as_array().context("streams")?;
    let name = all.iter().filter_map(Value::as_str).find_map(|name| {
        let rest = name.strip_prefix("ISTHMUS_")?;
        Some(rest.split_once('_')?.0.to_owned())
    });
    for stream in streams(&name.context("a stream of ours")?) {
        jetstream(&nats, &format!("STREAM.DELETE.{stream}"), "").await?;
        until("doctor fails and names the stream", NOTICED, || async {
            let failed = doctor(&folder, &stream)?;
            ensure!(!failed.is_empty(), "no failure names {stream}");
            Ok(())
        })
        .await?;
        for kind in ["stream_missing", "stream_back"] {
            until(&format!("{kind} of {stream}"), NOTICED, || {
                event(&agent, kind, &stream)
            })
            .await?;
        }
        until("doctor is content with the stream", NOTICED, || async {
            let failed = doctor(&folder, &stream)?;
            ensure!(failed.is_empty(), "{failed:?}");
            names_nothing_missing(&agent).await
        })
        .await?;
    }
    everything_goes_on(&running, &agent).await
}

/// Leases are held, members are known, earlier events are listed, and writes are replicated.
async fn everything_goes_on(running: &Running, agent: &Agent) -> anyhow::Result<()> {
    until("a leader, a steward and every member", NOTICED, || async {
        let status = agent.status().await?;
        let members = status["members"].as_array().map_or(0, Vec::len);
        ensure!(status["steward"].is_string() && members >= 4, "{status}");
        for gateway in running.gateways(REGION, "/v1/status").await? {
            ensure!(gateway["leader"].is_string(), "{gateway}");
        }
        Ok(())
    })
    .await?;
    until("events from before the deletion are listed", NOTICED, || async {
        let json = agent.admin("/v1/events?since=1h").await?.ok()?.json()?;
        let events = json["events"].as_array().context("events")?;
        let first = |event: &&Value| event["kind"] == "node_up" && event["sequence"] == 1;
        ensure!(
            json["source"] == "region" && events.iter().any(|event| first(&event)),
            "{json}"
        );
        Ok(())
    })
    .await?;
    agent.put_everywhere("b", "k", "x").await?;
    Ok(())
}

fn init(settings: &Path, nats: &NatsServer) -> anyhow::Result<()> {
    let output = Command::new(binary("isthmus")?)
        .args(["region", "init", "--settings"])
        .arg(settings)
        .args(["--process", "eu-west-agent-1", "--process", "eu-west-gateway"])
        .env("ISTHMUS_NATS__SERVERS", format!("[\"{}\"]", nats.url()))
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_may_not_make_a_stream_wait_for_the_operator() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let set = folder.path().join("set");
    isthmus(&[
        "init",
        set.to_str().context("UTF-8")?,
        "--regions",
        "eu-west,us-east",
    ])?;
    let nats = NatsServer::start();
    let settings = set.join("eu-west/gateway.yaml");
    init(&settings, &nats)?;
    let site = Site {
        name: REGION,
        nats: vec![nats.url()],
        link: free_port(),
        dial: ("us-east", free_port()),
    };
    let never = [("ISTHMUS_LOG__CREATE", "false".to_owned())];
    let (_running, agent) = site.agent(&set, "agent-1", &never)?;
    let gateway = site.gateway(&set, &never)?;
    until("the agent takes writes", NOTICED, || async {
        agent.put("b", "k", "?timeout=2s", "x").await?.ok()
    })
    .await
    .with_context(|| gateway.said())?;
    for stream in streams("dev") {
        jetstream(
            nats.url().trim_start_matches("nats://"),
            &format!("STREAM.DELETE.{stream}"),
            "",
        )
        .await?;
        until("the missing stream is reported", NOTICED, || async {
            let status = agent.status().await?;
            let missing = status["missing_streams"].as_array().context("missing streams")?;
            let reason = missing
                .iter()
                .find(|missing| missing["stream"] == stream.as_str());
            let reason = reason.with_context(|| format!("{status}"))?["reason"].to_string();
            ensure!(reason.contains("isthmus region init"), "{reason}");
            let json = agent.admin("/v1/doctor").await?.ok()?.json()?;
            let findings = serde_json::to_vec(&json["findings"])?;
            ensure!(!failures(&findings, &stream)?.is_empty(), "{json}");
            Ok(())
        })
        .await?;
        init(&settings, &nats)?;
        until("it is there again", NOTICED, || names_nothing_missing(&agent)).await?;
        until("it is reported", NOTICED, || {
            event(&agent, "stream_missing", &stream)
        })
        .await?;
        until("its return is reported", NOTICED, || {
            event(&agent, "stream_back", &stream)
        })
        .await?;
    }
    until("the steward holds its lease again", NOTICED, || async {
        let status = agent.status().await?;
        ensure!(status["steward"].is_string(), "{status}");
        Ok(())
    })
    .await?;
    agent.put("b", "k", "?timeout=5s", "y").await?.ok()?;
    Ok(())
}
