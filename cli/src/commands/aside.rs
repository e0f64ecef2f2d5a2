//! `isthmus aside`.

use clap::{Args, Subcommand};
use reqwest::{Client, Method};
use serde_json::Value;

use crate::client::operators::{Asked, Listeners, NoAnswer, Operators};
use crate::failure::Failure;
use crate::output::{Table, json_line, line, lines};

/// The most entries that are read of one region.
const MOST: usize = 100_000;

/// List, show, restore and drop what a region has set aside: writes that were overwritten unseen or
/// do not count
///
/// Each region keeps what was written there, and what it could not decode of others. A conflict is
/// listed in the region of the write that lost.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  isthmus aside list --reason conflict --since 1d --dir shop\n  \
                  isthmus aside show default.conflict-3-0199b3a1c2d30000-eu-west-9f0c2b7d11aa54e3 --dir shop\n  \
                  isthmus aside restore default.conflict-3-0199b3a1c2d30000-eu-west-9f0c2b7d11aa54e3 --dir shop"
)]
pub(super) struct Aside {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Show(Show),
    Restore(Restore),
    Drop(DropEntry),
}

/// List what every region has set aside, oldest first
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  isthmus aside list --reason conflict --bucket carts --since 1d --dir shop"
)]
struct List {
    #[command(flatten)]
    at: Operators,
    /// Only what was set aside for this reason: clock, too_late, undecodable, conflict
    #[arg(long)]
    reason: Option<String>,
    /// Only writes of this bucket
    #[arg(long)]
    bucket: Option<String>,
    /// Only entries that are at most this old, by the clock of each region's NATS: 30m, 1h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Print the entries as one JSON array
    #[arg(long)]
    json: bool,
}

/// The entry that a command is about.
#[derive(Args, Debug)]
struct EntryArgs {
    /// The id that `list` prints
    id: String,
    #[command(flatten)]
    at: Operators,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Show an entry with its value
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  isthmus aside show default.conflict-3-0199b3a1c2d30000-eu-west-9f0c2b7d11aa54e3 --dir shop"
)]
struct Show {
    #[command(flatten)]
    entry: EntryArgs,
}

/// Write the value of an entry again, in the region that has it, and drop the entry
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  isthmus aside restore default.conflict-3-0199b3a1c2d30000-eu-west-9f0c2b7d11aa54e3 --dir shop"
)]
struct Restore {
    #[command(flatten)]
    entry: EntryArgs,
}

/// Drop an entry for good
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  isthmus aside drop default.conflict-3-0199b3a1c2d30000-eu-west-9f0c2b7d11aa54e3 --dir shop"
)]
struct DropEntry {
    #[command(flatten)]
    entry: EntryArgs,
}

impl Aside {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List(list) => list.run().await,
            What::Show(show) => {
                let answer = show.entry.ask(Method::GET, "").await?;
                print(
                    &answer,
                    show.entry.json,
                    &["id", "reason", "bucket", "key", "value", "value_base64"],
                )
            }
            What::Restore(restore) => {
                let answer = restore.entry.ask(Method::POST, "/restore").await?;
                let written = &answer["restored"]["version"];
                print(&answer, restore.entry.json, &["id"])?;
                match restore.entry.json {
                    true => Ok(()),
                    false => line(format_args!("written again as {}", text(written))),
                }
            }
            What::Drop(dropped) => {
                let answer = dropped.entry.ask(Method::DELETE, "").await?;
                print(&answer, dropped.entry.json, &["id", "dropped"])
            }
        }
    }
}

impl EntryArgs {
    /// Asks each region in turn until one has the entry.
    async fn ask(&self, method: Method, what: &str) -> Result<Value, Failure> {
        let path = format!("/v1/aside/{}{what}", self.id);
        let client = self.at.client()?;
        let (mut absent, mut silent) = (None, None);
        for region in self.at.listeners(Asked::Agents)? {
            match region.ask(&client, method.clone(), &path, &[]).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_absence() => absent = Some(error),
                Err(error) if error.blames_arguments() => return Err(Failure::settings(error)),
                Err(error) => silent = Some(error),
            }
        }
        let absent = absent.map(Failure::settings);
        Err(match silent {
            Some(error) => Failure::environment(error),
            None => absent.unwrap_or_else(|| Failure::environment("no region was asked")),
        })
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let client = self.at.client()?;
        let (mut entries, mut silent) = (Vec::new(), Vec::new());
        for region in self.at.listeners(Asked::Agents)? {
            match self.of_region(&client, &region).await {
                Ok(found) => entries.extend(found),
                Err(error) if error.blames_arguments() => return Err(Failure::settings(error)),
                Err(error) => silent.push(error.to_string()),
            }
        }
        if self.json {
            json_line(&entries)?;
        } else {
            lines(table(&entries))?;
        }
        match silent.is_empty() {
            true => Ok(()),
            false => Err(Failure::environment(silent.join("; "))),
        }
    }

    async fn of_region(&self, client: &Client, region: &Listeners) -> Result<Vec<Value>, NoAnswer> {
        let filters = [
            ("reason", &self.reason),
            ("bucket", &self.bucket),
            ("since", &self.since),
        ];
        let filters = filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        let filters: Vec<(&str, String)> = filters.collect();
        let (mut entries, mut from) = (Vec::new(), None);
        while entries.len() < MOST {
            let mut query = filters.clone();
            query.extend(from.take().map(|from| ("from", from)));
            let mut page = region.ask(client, Method::GET, "/v1/aside", &query).await?;
            if let Value::Array(found) = page["entries"].take() {
                entries.extend(found);
            }
            from = page["next"].as_str().map(str::to_owned);
            if from.is_none() {
                break;
            }
        }
        Ok(entries)
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn print(answer: &Value, json: bool, fields: &[&str]) -> Result<(), Failure> {
    if json {
        return json_line(answer);
    }
    for field in fields.iter().filter(|field| !answer[**field].is_null()) {
        line(format_args!("{field}: {}", text(&answer[*field])))?;
    }
    Ok(())
}

fn table(entries: &[Value]) -> Table {
    let mut table = Table::new(["at", "origin", "reason", "bucket/key", "holds", "id"]);
    for entry in entries {
        let name = match (entry["bucket"].as_str(), entry["key"].as_str()) {
            (Some(bucket), Some(key)) => format!("{bucket}/{key}"),
            _ => "-".to_owned(),
        };
        let bytes = entry["bytes"].as_u64();
        let holds = match bytes {
            Some(bytes) => format!("{} of {bytes} B", text(&entry["content"])),
            None => text(&entry["content"]),
        };
        table.row([
            text(&entry["at"]),
            text(&entry["origin"]),
            text(&entry["reason"]),
            name,
            holds,
            text(&entry["id"]),
        ]);
    }
    table
}
