//! `isthmus kv`.

use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::door::Door;
use crate::client::http::HttpError;
use crate::client::kv::{self, Found, Place, Terms, Written};
use crate::failure::Failure;
use crate::output::{json_line, line, value};

const PAGE: usize = 1000;

/// Read and write single keys
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    isthmus kv put carts/alice 'two apples' --dir shop --region eu-west --consistency majority\n  \
    isthmus kv get carts/alice --dir shop --region us-east\n  \
    isthmus kv list carts --prefix a --via http://127.0.0.1:7050")]
pub(super) struct Kv {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a value
    #[command(after_help = "Examples:\n  \
        isthmus kv put carts/alice 'two apples' --dir shop --region eu-west --consistency majority\n  \
        isthmus kv put carts/bob - --ttl 30s --via http://127.0.0.1:7050 < cart.txt")]
    Put {
        /// BUCKET/KEY
        place: Place,
        /// The value; - reads standard input
        value: String,
        /// Expire after this time, for example 30s
        #[arg(long)]
        ttl: Option<String>,
        /// The value's media type
        #[arg(long, default_value = "text/plain; charset=utf-8")]
        content_type: String,
        #[command(flatten)]
        how: WriteArgs,
    },
    /// Print a value, its bytes as they are unless to a terminal; exit 2 if there is none
    #[command(after_help = "Example:\n  isthmus kv get carts/alice --dir shop --region us-east")]
    Get {
        /// BUCKET/KEY
        place: Place,
        /// Read at a point that includes what this session has seen
        #[arg(long)]
        session: Option<String>,
        /// How long to wait for that point
        #[arg(long, value_parser = humantime::parse_duration)]
        timeout: Option<Duration>,
        #[command(flatten)]
        door: Door,
        /// Print value, version and origin as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a tombstone
    #[command(after_help = "Example:\n  isthmus kv delete carts/alice --dir shop --consistency all")]
    Delete {
        /// BUCKET/KEY
        place: Place,
        #[command(flatten)]
        how: WriteArgs,
    },
    /// Print the keys of a bucket in order, one in each line, with control characters
    /// escaped
    #[command(after_help = "Example:\n  isthmus kv list carts --prefix a --via http://127.0.0.1:7050")]
    List {
        /// The bucket
        bucket: String,
        /// Only keys that begin with this
        #[arg(long, default_value = "")]
        prefix: String,
        #[command(flatten)]
        door: Door,
        /// Print key and version as one JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
struct WriteArgs {
    /// Acknowledge when it is in the logs of this region, a majority or all regions
    #[arg(long, value_parser = ["region", "majority", "all"])]
    consistency: Option<String>,
    /// How long to wait for the acknowledgement
    #[arg(long, value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    door: Door,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl WriteArgs {
    fn terms(&self, ttl: Option<String>) -> Terms {
        Terms {
            ttl,
            consistency: self.consistency.clone(),
            timeout: self.timeout,
        }
    }
}

impl Kv {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Put {
                place,
                value,
                ttl,
                content_type,
                how,
            } => {
                let value = if value == "-" {
                    standard_input()?
                } else {
                    value.into_bytes()
                };
                let (client, door) = (how.door.client()?, how.door.url()?);
                let terms = how.terms(ttl);
                let written = kv::put(&client, &door, &place, value, &content_type, &terms).await?;
                print_written(&written, how.json)
            }
            Verb::Get {
                place,
                session,
                timeout,
                door,
                json,
            } => {
                let client = door.client()?;
                let found = kv::get(&client, &door.url()?, &place, session.as_deref(), timeout).await?;
                print_found(&place, &found, json)
            }
            Verb::Delete { place, how } => {
                let client = how.door.client()?;
                let written = kv::delete(&client, &how.door.url()?, &place, &how.terms(None)).await?;
                print_written(&written, how.json)
            }
            Verb::List {
                bucket,
                prefix,
                door,
                json,
            } => list(&door.client()?, &door.url()?, &bucket, &prefix, json).await,
        }
    }
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    std::io::stdin()
        .read_to_end(&mut value)
        .map_err(Failure::environment)?;
    Ok(value)
}

fn print_written(written: &Written, json: bool) -> Result<(), Failure> {
    if json {
        json_line(written)?;
        return Ok(());
    }
    line(format_args!("version {}", written.version))?;
    line(format_args!("session {}", written.session))?;
    line(format_args!("regions {}", written.regions.join(", ")))?;
    if written.superseded {
        line("a newer change had already won")?;
    }
    Ok(())
}

fn print_found(place: &Place, found: &Found, json: bool) -> Result<(), Failure> {
    if json {
        json_line(&as_json(found))?;
    } else if let Some(bytes) = &found.value {
        value(bytes)?;
    }
    match &found.value {
        Some(_) => Ok(()),
        None => {
            let why = found
                .version
                .as_ref()
                .map_or(String::new(), |version| format!(" since version {version}"));
            Err(Failure::difference(format!(
                "{}/{} has no value{why}",
                place.bucket, place.key
            )))
        }
    }
}

/// A read's result as JSON; a value that is not UTF-8 goes into `value_base64`.
pub(super) fn as_json(found: &Found) -> Value {
    let mut json = json!({
        "version": found.version,
        "origin": found.origin,
        "session": found.session,
        "content_type": found.content_type,
    });
    if let Some(value) = &found.value {
        match std::str::from_utf8(value) {
            Ok(text) => json["value"] = text.into(),
            Err(_) => json["value_base64"] = STANDARD.encode(value).into(),
        }
    }
    json
}

async fn list(
    client: &reqwest::Client,
    door: &str,
    bucket: &str,
    prefix: &str,
    json: bool,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = kv::list(client, door, bucket, prefix, after.as_deref(), PAGE).await?;
        for listed in &page.keys {
            match json {
                true => json_line(listed)?,
                false => line(&listed.key)?,
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::blaming(error.blames_arguments(), error)
    }
}
