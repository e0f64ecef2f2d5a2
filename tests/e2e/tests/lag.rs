//! The reported lag is what an outside probe sees, and it grows with time while anything is
//! stopped.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use isthmus_e2e::{Running, until};
use serde_json::Value;

const FROM: &str = "eu-west";
const TO: &str = "us-east";
const SOON: Duration = Duration::from_secs(60);
/// Before this an outage need not show: marks and reports come once a second.
const NOTICED: Duration = Duration::from_secs(4);
const SAMPLES: usize = 20;
/// How long a gateway that does not answer in time is asked again.
const ANSWERED: Duration = Duration::from_secs(10);
/// How much faster or slower than time a lag may grow from one reading to another.
const TOLERANCE: f64 = 0.2;

/// The sources that show the lag to operators.
const SOURCES: [&str; 3] = ["status", "metrics", "isthmus status"];

/// The lag from eu-west to us-east, read at some moment between these two; all in seconds.
#[derive(Debug, Clone, Copy)]
struct Reading {
    asked: f64,
    answered: f64,
    lag: f64,
}

impl Reading {
    /// Whether the lag has grown by the time since `earlier`.
    fn grew_with_time_since(&self, earlier: &Self) -> bool {
        let least = (self.asked - earlier.answered).max(0.0);
        let most = self.answered - earlier.asked;
        let expected = least * (1.0 - TOLERANCE)..=most * (1.0 + TOLERANCE);
        expected.contains(&(self.lag - earlier.lag))
    }
}

fn worst(rows: &Value) -> Option<f64> {
    let rows = rows.as_array()?.iter();
    let between = rows.filter(|row| row["origin"] == FROM && row["peer"] == TO);
    between
        .filter_map(|row| row["lag_ms"].as_f64())
        .reduce(f64::max)
        .map(|lag| lag / 1e3)
}

/// The lag that `source` shows. For metrics it is the maximum over all gateways, as in a query.
async fn shown(running: &Running, source: &str) -> anyhow::Result<f64> {
    let lag = match source {
        "status" => {
            let mut said = running.statuses(FROM).await;
            said.extend(running.statuses(TO).await);
            said.first().and_then(|status| worst(&status["lag"]))
        }
        "metrics" => {
            let mut samples = Vec::new();
            for region in [FROM, TO] {
                let of_pair = format!("isthmus_lag_seconds{{origin=\"{FROM}\",peer=\"{TO}\"");
                samples.extend(running.samples_beginning(region, &of_pair).await);
            }
            samples.into_iter().reduce(f64::max)
        }
        _ => worst(&running.json(&["status"])?["lag"]),
    };
    lag.with_context(|| format!("{source} shows no lag"))
}

/// Reads every source once a second until there are enough readings of each.
async fn watch(running: &Running) -> anyhow::Result<Vec<(&'static str, Vec<Reading>)>> {
    let began = Instant::now();
    let mut readings: Vec<(&'static str, Vec<Reading>)> =
        SOURCES.iter().map(|source| (*source, Vec::new())).collect();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..=SAMPLES {
        ticks.tick().await;
        for (source, seen) in &mut readings {
            let source = *source;
            let reading = until(&format!("{source} shows the lag"), ANSWERED, || async {
                let asked = began.elapsed().as_secs_f64();
                let lag = shown(running, source).await?;
                let answered = began.elapsed().as_secs_f64();
                Ok(Reading { asked, answered, lag })
            })
            .await?;
            seen.push(reading);
        }
    }
    Ok(readings)
}

/// Checks that every source adds a second per second.
fn grows(what: &str, readings: &[(&'static str, Vec<Reading>)]) -> anyhow::Result<()> {
    for (source, seen) in readings {
        let noticed: Vec<_> = seen
            .iter()
            .filter(|reading| reading.asked >= NOTICED.as_secs_f64())
            .collect();
        let (first, last) = (noticed.first(), noticed.last());
        let (first, last) = (first.context("readings")?, last.context("readings")?);
        let steps = noticed.windows(2).map(|step| (&step[0], &step[1]));
        for (earlier, later) in steps.chain([(first, last)]) {
            ensure!(
                later.grew_with_time_since(earlier),
                "{what}: {source} did not grow by a second a second from {earlier:?} to {later:?}: {seen:?}"
            );
        }
        ensure!(
            last.lag >= last.asked - NOTICED.as_secs_f64(),
            "{what}: {source} says too little: {seen:?}"
        );
    }
    Ok(())
}

async fn is_current(running: &Running) -> anyhow::Result<()> {
    until("the lag is small again", SOON, || async {
        for source in SOURCES {
            let lag = shown(running, source).await?;
            ensure!(lag < 1.0, "{source} shows {lag} s");
        }
        for region in [FROM, TO] {
            for status in running.gateways(region, "/v1/status").await? {
                let lag = worst(&status["lag"]).context("a gateway knows no lag")?;
                ensure!(lag < 1.0, "{} of {region} shows {lag} s", status["name"]);
            }
        }
        Ok(())
    })
    .await
}

/// What is stopped, the command that stops it, and the one that lets it continue.
const OUTAGES: [(&str, &[&str], &[&str]); 4] = [
    ("the link is cut", &["cut", FROM, TO], &["heal"]),
    (
        "the leader and its standby are stopped",
        &["stop", "gateways@eu-west"],
        &["cont", "gateways@eu-west"],
    ),
    (
        "the agents that apply are stopped",
        &["stop", "agents@us-east"],
        &["cont", "agents@us-east"],
    ),
    (
        "the origin's NATS is stopped",
        &["stop", "nats@eu-west"],
        &["cont", "nats@eu-west"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_grows_in_real_time_whatever_has_stopped() -> anyhow::Result<()> {
    let running = Running::start(&[FROM, TO], &["--rtt", "20ms"]).await?;
    for (what, begin, end) in OUTAGES {
        is_current(&running).await.context(what)?;
        running.lab(begin)?;
        let readings = watch(&running).await.context(what)?;
        running.lab(end)?;
        grows(what, &readings)?;
    }
    is_current(&running).await
}

/// The time from sending a PUT in one region until a GET in the other one returns it, and the delay
/// that the agent there reports.
async fn probe(running: &Running, key: &str) -> anyhow::Result<(Duration, Value)> {
    let (writer, reader) = (running.agent(FROM), running.agent(TO));
    let sent = Instant::now();
    writer.put("shop", key, "", "x").await?.ok()?;
    loop {
        if reader.value("shop", key).await?.status.as_u16() == 200 {
            break;
        }
        ensure!(sent.elapsed() < SOON, "{key} did not appear");
    }
    let took = sent.elapsed();
    let status = reader.status().await?;
    let shard = status["shards"].as_array().context("shards")?.iter();
    let lags = shard.flat_map(|shard| shard["lag"].as_array().into_iter().flatten());
    // There is no proof of a shard from which nothing has arrived.
    let proven = lags.filter(|lag| lag["origin"] == FROM && lag["proof_age_ms"].is_number());
    let newest = proven.min_by(|one, other| {
        one["proof_age_ms"]
            .as_f64()
            .partial_cmp(&other["proof_age_ms"].as_f64())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok((took, newest.context("a lag")?.clone()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_delay_that_is_reported_is_what_a_probe_from_outside_sees() -> anyhow::Result<()> {
    let running = Running::start(&[FROM, TO], &["--rtt", "80ms"]).await?;
    is_current(&running).await?;
    let (mut probed, mut reported) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let (took, lag) = probe(&running, &format!("probe-{number}")).await?;
        let delay = lag["delay_ms"].as_f64().context("a delay")?;
        let stages = lag["stages_ms"].as_object().context("stages")?;
        let sum: f64 = stages.values().filter_map(Value::as_f64).sum();
        ensure!((sum - delay).abs() < 0.01, "the stages are not the whole: {lag}");
        let uncertainty = lag["uncertainty_ms"].as_f64().context("an uncertainty")?;
        ensure!(uncertainty < 50.0, "{lag}");
        probed.push(took.as_secs_f64() * 1e3);
        reported.push(delay);
    }
    let (probed, reported) = (median(probed), median(reported));
    // Half the round trip, plus what the machine adds.
    println!("probe {probed:.1} ms, reported {reported:.1} ms");
    ensure!(
        (probed - reported).abs() <= (probed / 10.0).max(10.0),
        "a probe took {probed:.1} ms, the agent says {reported:.1} ms"
    );
    ensure!(
        reported >= 40.0,
        "less than the way of the bytes: {reported:.1} ms"
    );
    Ok(())
}
