//! `isthmus compare`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::load::FileArgs;
use crate::client::bulk::{self, Different};
use crate::client::door::Door;
use crate::failure::Failure;
use crate::output::{counted, json_line, line};
use crate::rows::Rows;

const SHOWN: usize = 20;

/// Compare the rows of a file with what a region holds: exit 0 if equal, 2 if not
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  isthmus compare customers.csv --dir shop --region ap-south")]
pub(super) struct Compare {
    /// CSV (RFC 4180, with a header) or NDJSON
    file: PathBuf,
    #[command(flatten)]
    rows: FileArgs,
    #[command(flatten)]
    door: Door,
    /// Ask again for what differs until it is equal or this time has passed
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let rows = Rows::read(&self.file, self.rows.format, self.rows.key.as_deref())?;
        let door = self.door.url()?;
        let until = Instant::now() + self.wait;
        let different =
            bulk::compare(&self.door.client()?, &door, &self.rows.bucket, &rows.rows, until).await?;
        self.tell(&rows, &different)
    }

    fn tell(&self, rows: &Rows, different: &[Different]) -> Result<(), Failure> {
        let keys = rows.rows.len();
        if self.json {
            json_line(&json!({"keys": keys, "equal": different.is_empty(), "different": different}))?;
        } else {
            for one in different.iter().take(SHOWN) {
                line(format_args!("{}: {}", one.key, one.how))?;
            }
            if different.len() > SHOWN {
                line(format_args!("and {} more", different.len() - SHOWN))?;
            }
        }
        match different.len() {
            0 if self.json => Ok(()),
            0 => line(match keys {
                1 => "the one key is equal".to_owned(),
                keys => format!("all {keys} keys are equal"),
            }),
            count => Err(Failure::difference(format!(
                "{count} of {} {}",
                counted(keys, "key", "keys"),
                if count == 1 { "differs" } else { "differ" }
            ))),
        }
    }
}
