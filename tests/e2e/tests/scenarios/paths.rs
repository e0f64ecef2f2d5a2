//! Slow paths and paths with jitter: what is in flight stays bounded, and everything arrives.

use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::{Load, Running, until};
use tokio::time::{Instant, interval};

const EU: &str = "eu-west";
const US: &str = "us-east";
const SOON: Duration = Duration::from_secs(60);
/// How long each path carries load.
const LOADED: Duration = Duration::from_secs(10);
const LARGE_EVERY: Duration = Duration::from_millis(50);
/// A lane's window plus one message.
const IN_FLIGHT: f64 = (5 << 20) as f64;
/// Four lanes with their windows, and as much again in other buffers.
const RESIDENT_GROWTH: u64 = 64 << 20;

/// Resident memory of the process `name` of a region, in bytes.
fn resident(running: &Running, region: &str, name: &str) -> anyhow::Result<u64> {
    let now = running.now()?;
    let processes = now["regions"][region]["gateways"].as_array().cloned();
    let pid = processes
        .iter()
        .flatten()
        .find(|process| process["name"] == name)
        .and_then(|process| process["pid"].as_u64());
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.context("it runs")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("a resident size")?.parse::<u64>()? * 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_18_credit_and_memory_stay_bounded_on_bad_paths() -> anyhow::Result<()> {
    let running = Running::start(&[EU, US], &["--rtt", "80ms"]).await?;
    let reader = running.agent(US);
    let leader = running.leader(EU).await?;
    let before = resident(&running, EU, &leader.name)?;
    let paths: [&[&str]; 3] = [
        &["delay", EU, US, "40ms", "--jitter", "0ms"],
        &["delay", EU, US, "150ms", "--jitter", "200ms"],
        &["rate", EU, US, "125000"],
    ];
    let load = Load::start(&running.agents(EU), 8);
    let value = "x".repeat(100_000);
    let mut large = 0;
    for path in paths {
        running.lab(path)?;
        let until_then = Instant::now() + LOADED;
        let (mut pace, mut most) = (interval(LARGE_EVERY), 0.0);
        while Instant::now() < until_then {
            pace.tick().await;
            large += 1;
            running
                .agent(EU)
                .put("shop", &format!("large/{large}"), "", &value)
                .await?
                .ok()?;
            let in_flight = running.samples(EU, "isthmus_lane_in_flight_bytes").await;
            most = in_flight.into_iter().fold(most, f64::max);
        }
        ensure!(
            most > 0.0 && most <= IN_FLIGHT,
            "{path:?}: {most} bytes in flight on a lane"
        );
        let grown = resident(&running, EU, &leader.name)?.saturating_sub(before);
        println!(
            "{path:?}: at most {most} bytes in flight on a lane; the leading gateway has grown by {} KiB",
            grown >> 10
        );
        ensure!(grown < RESIDENT_GROWTH, "{path:?}: {grown} bytes more");
        running.lab(&["heal"])?;
        load.seen_by(&reader, SOON).await?;
    }
    let tally = load.end().await?;
    until("the last large value has arrived", SOON, || async {
        reader.value("shop", &format!("large/{large}")).await?.ok()
    })
    .await?;
    running.applied_once(EU, US, SOON).await?;
    tally.all_on(&reader).await?;
    println!("{} writes and {large} large ones", tally.acknowledged.len());
    Ok(())
}
