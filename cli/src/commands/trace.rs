//! `isthmus trace`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use isthmus_replication::delay::Stage;
use isthmus_report::Stages;
use isthmus_report::duration::{MaybeMillis, millis};
use isthmus_report::trace::{TracedChange, Traces};
use reqwest::Client;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::client::door;
use crate::client::http;
use crate::client::kv::Place;
use crate::failure::Failure;
use crate::folder::run_file::{AgentRun, RunFile};
use crate::output::{line, pretty_json};

/// The pause before an agent is asked again for the probe.
const AGAIN: Duration = Duration::from_millis(20);
/// The width of a bar in characters.
const WIDTH: f64 = 48.0;

/// Write a probe to an empty key, and show when it arrived at every agent of every region and how
/// long each stage took
///
/// The probe lives for a minute. Its trace is recorded: if traces are sent to a receiver, its
/// identifier finds it there. Exit 1 if an agent did not have it in time.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  isthmus trace carts/probe --dir shop --from eu-west\n\nThe bars:  c commit  q queue  w wire  a append  p apply"
)]
pub(super) struct Trace {
    /// BUCKET/KEY; the key must be empty
    place: Place,
    /// The folder that `isthmus up` runs
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The region that writes; by default the first of set.yaml
    #[arg(long, value_name = "REGION")]
    from: Option<String>,
    /// How long to wait for the last agent
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration, value_name = "TIME")]
    within: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum TraceError {
    #[error("no agent of region {0} is running")]
    NoAgent(String),
    #[error("{0} did not have the probe in time: see `isthmus status`")]
    Late(String),
}

/// The answer of the agent that wrote the probe.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Probe {
    trace_id: String,
    version: String,
    region: String,
    /// The regions that carry the bucket.
    regions: Vec<String>,
}

/// How the probe reached an agent.
#[derive(Clone, Debug, Default, Serialize)]
struct Applied {
    #[serde(rename = "delay_ms", with = "MaybeMillis")]
    delay: Option<Duration>,
    #[serde(rename = "stages_ms")]
    stages: Stages,
    #[serde(rename = "uncertainty_ms", with = "MaybeMillis")]
    uncertainty: Option<Duration>,
    applied_at: String,
    sequence: u64,
}

impl From<TracedChange> for Applied {
    fn from(change: TracedChange) -> Self {
        Self {
            delay: change.delay,
            stages: change.stages,
            uncertainty: change.uncertainty,
            applied_at: change.applied_at,
            sequence: change.sequence,
        }
    }
}

/// One agent, and the probe if it arrived in time.
#[derive(Debug, Serialize)]
struct Arrival {
    region: String,
    agent: String,
    #[serde(flatten)]
    applied: Option<Applied>,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    probe: &'a Probe,
    key: &'a str,
    applied: &'a [Arrival],
}

impl Trace {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let run = RunFile::of_running(&self.dir)?;
        let client = http::client();
        let first = run.order.first().map_or("", String::as_str);
        let from = self.from.as_deref().unwrap_or(first);
        let probe = self.probe(&client, &run, from).await?;
        let until = Instant::now() + self.within;
        let holding = run
            .regions_in_order()
            .filter(|(region, _)| probe.regions.iter().any(|holds| holds == region));
        let agents = holding.flat_map(|(region, processes)| {
            let running = processes.agents.iter().filter(|agent| agent.pid != 0);
            running.map(move |agent| (region, agent))
        });
        let arrivals = agents.map(|(region, agent)| arrival(&client, &probe, region, agent, until));
        let mut arrivals = join_all(arrivals).await;
        let delay = |arrival: &Arrival| arrival.applied.as_ref().and_then(|applied| applied.delay);
        arrivals.sort_by_key(|arrival| delay(arrival).unwrap_or(Duration::MAX));
        self.tell(&probe, &arrivals)?;
        let late = arrivals.iter().filter(|arrival| arrival.applied.is_none());
        let late: Vec<String> = late
            .map(|arrival| format!("{}/{}", arrival.region, arrival.agent))
            .collect();
        match late.is_empty() {
            true => Ok(()),
            false => Err(Failure::environment(TraceError::Late(late.join(", ")))),
        }
    }

    async fn probe(&self, client: &Client, run: &RunFile, from: &str) -> Result<Probe, Failure> {
        let region = door::region(run, from)?;
        let agent = region.agents.iter().find(|agent| agent.pid != 0);
        let agent = agent.ok_or_else(|| Failure::environment(TraceError::NoAgent(from.to_owned())))?;
        let url = self.place.in_path(&format!("{}/v1/probe", agent.admin));
        http::json(client.post(url))
            .await
            .map_err(|error| Failure::blaming(error.blames_arguments(), error))
    }

    fn tell(&self, probe: &Probe, arrivals: &[Arrival]) -> Result<(), Failure> {
        let key = format!("{}/{}", self.place.bucket, self.place.key);
        if self.json {
            let report = Report {
                probe,
                key: &key,
                applied: arrivals,
            };
            return pretty_json(&report);
        }
        line(format_args!("{key}, written in {}", probe.region))?;
        line(format_args!(
            "trace {}, version {}",
            probe.trace_id, probe.version
        ))?;
        line("")?;
        let delays = arrivals
            .iter()
            .filter_map(|arrival| arrival.applied.as_ref()?.delay);
        let longest = delays.max().unwrap_or_default();
        let names = arrivals
            .iter()
            .map(|arrival| arrival.region.len() + arrival.agent.len() + 1);
        let width = names.max().unwrap_or_default();
        for arrival in arrivals {
            let name = format!("{}/{}", arrival.region, arrival.agent);
            match &arrival.applied {
                Some(applied) => line(format_args!("{name:width$}  {}", waterfall(applied, longest)))?,
                None => line(format_args!(
                    "{name:width$}  not within {}",
                    humantime::format_duration(self.within)
                ))?,
            }
        }
        Ok(())
    }
}

/// Waits until an agent has applied the probe, at most until `until`.
async fn arrival(client: &Client, probe: &Probe, region: &str, agent: &AgentRun, until: Instant) -> Arrival {
    let url = format!("{}/v1/traces/{}", agent.admin, probe.trace_id);
    let mut arrival = Arrival {
        region: region.to_owned(),
        agent: agent.name.clone(),
        applied: None,
    };
    while arrival.applied.is_none() && Instant::now() < until {
        let asked: Result<Traces, _> = http::json(client.get(&url)).await;
        let oldest = asked.ok().and_then(|found| found.traces.into_iter().next_back());
        arrival.applied = oldest.map(Into::into);
        if arrival.applied.is_none() {
            sleep_until(until.min(Instant::now() + AGAIN)).await;
        }
    }
    arrival
}

/// A bar with one letter per stage, then the times.
fn waterfall(applied: &Applied, longest: Duration) -> String {
    let mut bar = String::new();
    let (mut passed, mut times) = (Duration::ZERO, Vec::new());
    for (stage, letter) in Stage::ALL.into_iter().zip(['c', 'q', 'w', 'a', 'p']) {
        let Some(took) = applied.stages.of(stage) else {
            continue;
        };
        passed += took;
        let share = passed.as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE);
        let ends = (share * WIDTH).round() as usize;
        bar.extend(std::iter::repeat_n(letter, ends.saturating_sub(bar.len())));
        times.push(format!("{} {:.1}", stage.label(), millis(took)));
    }
    let total = millis(applied.delay.unwrap_or_default());
    let width = WIDTH as usize;
    format!("{bar:width$}  {total:>7.1} ms  ({})", times.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_each_stage_in_proportion_to_the_slowest() {
        let stages = [
            (Stage::Commit, 2),
            (Stage::Queue, 2),
            (Stage::Wire, 40),
            (Stage::Append, 2),
            (Stage::Apply, 2),
        ];
        let stages = stages.map(|(stage, millis)| (stage, Duration::from_millis(millis)));
        let whole = Duration::from_millis(48);
        let applied = Applied {
            delay: Some(whole),
            stages: stages.into_iter().collect(),
            ..Applied::default()
        };
        let shown = waterfall(&applied, whole);
        let bar = format!("cc{}{}aapp", "qq", "w".repeat(40));
        assert!(shown.starts_with(&bar), "{shown}");
        assert!(
            shown.contains("48.0 ms  (commit 2.0, queue 2.0, wire 40.0, append 2.0, apply 2.0)"),
            "{shown}"
        );
        let half = waterfall(&applied, whole * 2);
        assert!(half.starts_with(&format!("cq{}ap ", "w".repeat(20))), "{half}");
        assert!(waterfall(&Applied::default(), Duration::ZERO).contains("0.0 ms"));
    }
}
