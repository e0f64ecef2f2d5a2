//! `isthmus why`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use isthmus_replication::version::Version;
use reqwest::Client;
use serde_json::{Value, json};

use super::kv::as_json;
use crate::client::http::{self, HttpError};
use crate::client::kv::{self, Found, Place};
use crate::failure::Failure;
use crate::folder::run_file::{AgentRun, RunFile};
use crate::output::{Table, json_line, lines};

const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Show what every region holds for a key: value, version, origin, when it was written and applied
///
/// One agent of each region is asked, the next one if it does not answer. Exit 1 if a region does
/// not answer.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  isthmus why carts/alice --dir shop")]
pub(super) struct Why {
    /// BUCKET/KEY
    place: Place,
    /// The folder that `isthmus up` runs
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

struct AgentAnswer {
    region: String,
    agent: String,
    found: Result<Found, Unknown>,
}

/// Why the content of a region is unknown.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("no agent is running")]
    NoAgent,
}

impl Unknown {
    fn blames_arguments(&self) -> bool {
        matches!(self, Self::Http(error) if error.blames_arguments())
    }
}

impl Why {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let run = RunFile::of_running(&self.dir)?;
        let client = http::client();
        let asked = run
            .regions_in_order()
            .map(|(region, processes)| ask(&client, &self.place, region, &processes.agents));
        let answers = join_all(asked).await;
        if self.json {
            json_line(&to_json(&answers))?;
        } else {
            lines(table(&answers))?;
        }
        judge(answers)
    }
}

/// Asks the agents of a region, one after the other, until one answers.
async fn ask(client: &Client, place: &Place, region: &str, agents: &[AgentRun]) -> AgentAnswer {
    let mut answer = AgentAnswer {
        region: region.to_owned(),
        agent: "-".to_owned(),
        found: Err(Unknown::NoAgent),
    };
    for agent in agents.iter().filter(|agent| agent.pid != 0) {
        let found = kv::get(client, &agent.http, place, None, Some(ANSWER_WITHIN)).await;
        answer.agent.clone_from(&agent.name);
        answer.found = found.map_err(Unknown::from);
        if answer
            .found
            .as_ref()
            .map_or_else(Unknown::blames_arguments, |_| true)
        {
            break;
        }
    }
    answer
}

/// A region that does not carry the bucket counts as answered, unless no region carries it.
fn judge(answers: Vec<AgentAnswer>) -> Result<(), Failure> {
    let total = answers.len();
    let unknown = answers
        .into_iter()
        .filter_map(|answer| Some((answer.region, answer.found.err()?)));
    let (blaming, silent): (Vec<_>, Vec<_>) = unknown.partition(|(_, why)| why.blames_arguments());
    if !silent.is_empty() {
        let regions: Vec<String> = silent.into_iter().map(|(region, _)| region).collect();
        return Err(Failure::environment(format!(
            "no agent of {} reports what it holds; are they running?",
            regions.join(", ")
        )));
    }
    let everywhere = blaming.len() == total;
    match blaming.into_iter().next() {
        Some((_, why)) if everywhere => Err(Failure::settings(why)),
        _ => Ok(()),
    }
}

/// When a version was written, by the clock of the region that wrote it.
fn written(found: &Found) -> Option<String> {
    let version: Version = found.version.as_ref()?.parse().ok()?;
    Some(isthmus_runtime::timestamp::rfc3339(version.hlc.millis()))
}

fn to_json(answers: &[AgentAnswer]) -> Value {
    let one = |answer: &AgentAnswer| match &answer.found {
        Ok(found) => {
            let mut json = as_json(found);
            json["agent"] = answer.agent.clone().into();
            json["written"] = written(found).into();
            json["applied"] = found.applied.clone().into();
            json
        }
        Err(error) => json!({"agent": answer.agent, "error": error.to_string()}),
    };
    let regions = answers.iter().map(|answer| (answer.region.clone(), one(answer)));
    json!({"regions": regions.collect::<serde_json::Map<_, _>>()})
}

fn table(answers: &[AgentAnswer]) -> Table {
    let mut table = Table::new([
        "region", "agent", "value", "version", "origin", "written", "applied",
    ]);
    for answer in answers {
        let mut row = vec![answer.region.clone(), answer.agent.clone()];
        match &answer.found {
            Ok(found) => {
                let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
                let applied = found
                    .applied
                    .clone()
                    .or_else(|| written(found).map(|_| "unknown".to_owned()));
                row.push(shown(found));
                row.extend([
                    text(&found.version),
                    text(&found.origin),
                    text(&written(found)),
                    text(&applied),
                ]);
            }
            Err(error) => row.push(error.to_string()),
        }
        table.row(row);
    }
    table
}

fn shown(found: &Found) -> String {
    const LONGEST: usize = 40;
    match (&found.value, &found.version) {
        (Some(value), _) => {
            let text = String::from_utf8_lossy(value);
            let cut: String = text.chars().take(LONGEST).collect();
            let more = if cut.len() < text.len() { "…" } else { "" };
            cut + more
        }
        (None, Some(_)) => "(deleted or expired)".to_owned(),
        (None, None) => "(unknown key)".to_owned(),
    }
}
