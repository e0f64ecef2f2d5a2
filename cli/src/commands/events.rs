//! `isthmus events`.

use clap::Args;
use reqwest::{Client, Method};
use serde_json::Value;

use crate::client::operators::{Asked, Listeners, NoAnswer, Operators};
use crate::failure::Failure;
use crate::output::{Table, json_line, lines, note};

/// The most events that are read of one region.
const MOST: usize = 10_000;

/// Show what happened to the processes, links and logs of every region
///
/// The kinds are listed in docs/events.md. Exit 1 if a region does not answer.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  isthmus events --since 1h --dir shop\n  isthmus events --since 7d --kind leader_taken --kind leader_lost --region eu-west --dir shop --json"
)]
pub(super) struct Events {
    #[command(flatten)]
    at: Operators,
    /// How far back, by the clock of each region's NATS: 30m, 1h, 7d
    #[arg(long, default_value = "1h", value_name = "TIME")]
    since: String,
    /// Only events of this kind; may be given more than once
    #[arg(long)]
    kind: Vec<String>,
    /// Print the events as one JSON array
    #[arg(long)]
    json: bool,
}

impl Events {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.at.client()?;
        let (mut events, mut silent) = (Vec::new(), Vec::new());
        for region in self.at.listeners(Asked::All)? {
            match self.of_region(&client, &region).await {
                Ok(found) => events.extend(found),
                Err(error) if error.blames_arguments() => return Err(Failure::settings(error)),
                Err(error) => silent.push(error.to_string()),
            }
        }
        events.sort_by_key(|event| event["at_ms"].as_u64());
        if self.json {
            json_line(&events)?;
        } else {
            lines(table(&events))?;
        }
        match silent.is_empty() {
            true => Ok(()),
            false => Err(Failure::environment(silent.join("; "))),
        }
    }

    async fn of_region(&self, client: &Client, region: &Listeners) -> Result<Vec<Value>, NoAnswer> {
        let (mut events, mut from) = (Vec::new(), None);
        while events.len() < MOST {
            let mut query = vec![("since", self.since.clone())];
            query.extend(from.map(|from: u64| ("from", from.to_string())));
            let mut page = region.ask(client, Method::GET, "/v1/events", &query).await?;
            if let Some(reason) = page["reason"].as_str() {
                let name = &region.region;
                note(format_args!(
                    "{name} reports the events of one process only: {reason}"
                ));
            }
            let Value::Array(found) = page["events"].take() else {
                break;
            };
            events.extend(found.into_iter().filter(|event| self.wants(event)));
            from = page["next"].as_u64();
            if from.is_none() {
                break;
            }
        }
        Ok(events)
    }

    fn wants(&self, event: &Value) -> bool {
        self.kind.is_empty() || self.kind.iter().any(|kind| event["kind"] == kind.as_str())
    }
}

fn table(events: &[Value]) -> Table {
    let mut table = Table::new(["at", "region", "process", "severity", "kind", "what happened"]);
    for event in events {
        let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
        table.row([
            time(event["at_ms"].as_u64()),
            text("region"),
            text("process"),
            text("severity"),
            text("kind"),
            text("message"),
        ]);
    }
    table
}

/// A time in milliseconds since 1970, as text.
fn time(millis: Option<u64>) -> String {
    millis.map_or_else(|| "-".to_owned(), isthmus_runtime::timestamp::rfc3339)
}
