//! `isthmus why`.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use comfy_table::Table;
use futures::future::join_all;
use isthmus_replication::version::Version;
use serde_json::{Value, json};

use super::kv::as_json;
use crate::client::http::{self, HttpError};
use crate::client::kv::{self, Found, Place};
use crate::failure::Failure;
use crate::folder::run_file::RunFile;
use crate::output::line;

/// Tell what every region holds of a key: value, version, origin, when it was written and applied
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  isthmus why carts/alice --dir shop")]
pub struct Why {
    /// BUCKET/KEY
    place: Place,
    /// The folder that `isthmus up` runs
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

struct Answer {
    region: String,
    agent: String,
    found: Result<Found, HttpError>,
}

impl Why {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let run = RunFile::of_running(&self.dir)?;
        let client = http::client();
        let agents = run.regions_in_order().filter_map(|(region, processes)| {
            Some((region, processes.agents.iter().find(|agent| agent.pid != 0)?))
        });
        let asked = agents.map(|(region, agent)| {
            let (client, place) = (&client, &self.place);
            async move {
                let found = kv::get(client, &agent.http, place, None, None).await;
                Answer {
                    region: region.to_owned(),
                    agent: agent.name.clone(),
                    found,
                }
            }
        });
        let answers = join_all(asked).await;
        if self.json {
            line(told(&answers))?;
        } else {
            line(table(&answers))?;
        }
        Ok(())
    }
}

/// When a version was written, by the clock of the region that wrote it.
fn written(found: &Found) -> Option<String> {
    let version: Version = found.version.as_ref()?.parse().ok()?;
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(version.hlc.millis()))?;
    Some(humantime::format_rfc3339_millis(at).to_string())
}

fn told(answers: &[Answer]) -> Value {
    let one = |answer: &Answer| match &answer.found {
        Ok(found) => {
            let mut told = as_json(found);
            told["agent"] = answer.agent.clone().into();
            told["written"] = written(found).into();
            told["applied"] = found.applied.clone().into();
            told
        }
        Err(error) => json!({"agent": answer.agent, "error": error.to_string()}),
    };
    let regions = answers.iter().map(|answer| (answer.region.clone(), one(answer)));
    json!({"regions": regions.collect::<serde_json::Map<_, _>>()})
}

fn table(answers: &[Answer]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
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
                    .or_else(|| written(found).map(|_| "not told".to_owned()));
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
        table.add_row(row);
    }
    table
}

fn shown(found: &Found) -> String {
    const LONGEST: usize = 40;
    match (&found.value, &found.version) {
        (Some(value), _) => {
            let text = String::from_utf8_lossy(value);
            let cut: String = text.chars().take(LONGEST).collect();
            if cut.len() < text.len() {
                format!("{}…", cut.escape_debug())
            } else {
                cut.escape_debug().to_string()
            }
        }
        (None, Some(_)) => "(deleted or expired)".to_owned(),
        (None, None) => "(never heard of)".to_owned(),
    }
}
