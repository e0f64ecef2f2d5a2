//! `isthmus status`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use serde::Deserialize as _;
use serde_json::Value;

use crate::client::http::{self, HttpError};
use crate::client::proof::{Proof, ProofError};
use crate::client::status::{GatewayStatus, LagStatus, RegionStatus, states, worst};
use crate::failure::Failure;
use crate::folder::run_file::{RunFile, RunFileError};
use crate::output::{Table, line, lines, pretty_json};

/// Tell what every region says of itself, its links and its lag, as any gateway knows it
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  isthmus status --dir shop\n  isthmus status --via http://127.0.0.1:7055 --json"
)]
pub struct Status {
    /// The folder that `isthmus up` runs; the gateway that answers first is shown, with the greatest lag that any tells
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The admin listener of a gateway, instead of a folder
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    via: Option<String>,
    #[command(flatten)]
    proof: Proof,
    /// Print what the gateway answered
    #[arg(long)]
    json: bool,
}

/// The other gateways are heard for so long after the first.
const OTHERS_WITHIN: Duration = Duration::from_millis(300);
/// The parts of a delay, in order.
pub(super) const STAGES: [&str; 5] = ["commit", "queue", "wire", "append", "apply"];

#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Folder(#[from] RunFileError),
    #[error("no gateway answers")]
    NoGateway(#[source] Option<HttpError>),
    #[error("{admin} {answers}; name the admin address of a gateway, as `isthmus up` prints it")]
    NotAGateway { admin: String, answers: String },
    #[error("the gateway's status is not one")]
    Unreadable(#[from] serde_json::Error),
}

impl Status {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let told = self.ask().await?;
        if self.json {
            pretty_json(&told)?;
            return Ok(());
        }
        let mut status: GatewayStatus = serde_json::from_value(told).map_err(StatusError::from)?;
        line(format_args!("told by {} of {}", status.name, status.region))?;
        let lag = std::mem::take(&mut status.lag);
        let regions = status.every_region();
        let tables = [
            regions_table(&regions),
            members_table(&regions),
            links_table(&regions, &lag),
            stages_table(&lag),
        ];
        for table in tables {
            line("")?;
            lines(table)?;
        }
        for reason in reasons(&lag) {
            line("")?;
            line(reason)?;
        }
        Ok(())
    }

    async fn ask(&self) -> Result<Value, StatusError> {
        let admins = match &self.via {
            Some(via) => vec![via.trim_end_matches('/').to_owned()],
            None => {
                let run = RunFile::of_running(&self.dir)?;
                let gateways = run
                    .regions_in_order()
                    .flat_map(|(_, processes)| &processes.gateways);
                gateways.map(|gateway| gateway.admin.clone()).collect()
            }
        };
        let client = self.proof.client(&self.via)?;
        let asked = admins.into_iter().map(|admin| {
            let request = client.get(format!("{admin}/v1/status"));
            Box::pin(async move { http::json(request).await.map(|status| (admin, status)) })
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let (mut last, mut unusable) = (None, None);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok((admin, status)) => match of_a_gateway(admin, status) {
                    Ok(mut status) => {
                        hear_others(&mut status, asked).await;
                        return Ok(status);
                    }
                    Err(error) => unusable = Some(error),
                },
                Err(error) => last = Some(error),
            }
        }
        if let Some(unusable) = unusable {
            return Err(unusable);
        }
        Err(match (last, self.via.clone()) {
            (Some(HttpError::Refused { status: 404, .. } | HttpError::Unreadable { .. }), Some(admin)) => {
                not_a_gateway(admin, "does not answer as a gateway".to_owned())
            }
            (last, _) => StatusError::NoGateway(last),
        })
    }
}

/// What every gateway tells of lag is "at least": the greatest that is told holds. Who does not answer soon is not waited for.
async fn hear_others(
    status: &mut Value,
    mut others: impl Stream<Item = Result<(String, Value), HttpError>> + Unpin,
) {
    let all = async {
        while let Some(other) = others.next().await {
            let rows = other
                .ok()
                .and_then(|(_, mut other)| other.get_mut("lag").map(Value::take));
            for row in rows.iter().filter_map(Value::as_array).flatten() {
                take_greater(status, row);
            }
        }
    };
    // A gateway that is paused takes the question and gives no answer.
    let _ = tokio::time::timeout(OTHERS_WITHIN, all).await;
}

fn take_greater(status: &mut Value, row: &Value) {
    let is_same = |held: &Value| {
        ["origin", "peer", "group", "partition"]
            .iter()
            .all(|name| held[name] == row[name])
    };
    let mut held = status["lag"].as_array_mut().into_iter().flatten();
    if let Some(held) = held.find(|held| is_same(held))
        && row["lag_ms"].as_f64() > held["lag_ms"].as_f64()
    {
        held.clone_from(row);
    }
}

/// The status, if a gateway tells it.
fn of_a_gateway(admin: String, status: Value) -> Result<Value, StatusError> {
    let text = |name: &str| status[name].as_str().unwrap_or("?");
    let answers = match text("process") {
        "gateway" => {
            GatewayStatus::deserialize(&status)?;
            return Ok(status);
        }
        "agent" => format!("is the admin address of {} in {}", text("name"), text("region")),
        _ => "does not answer as a gateway".to_owned(),
    };
    Err(not_a_gateway(admin, answers))
}

fn not_a_gateway(admin: String, answers: String) -> StatusError {
    StatusError::NotAGateway { admin, answers }
}

fn regions_table(regions: &[(String, RegionStatus)]) -> Table {
    let mut table = Table::new(["region", "leader", "epoch", "agents", "told"]);
    for (name, region) in regions {
        let agents: Vec<&str> = region.agents.iter().map(|agent| agent.name.as_str()).collect();
        let epoch = region
            .epoch
            .as_ref()
            .map(|epoch| format!("{}/{}", epoch.life, epoch.revision));
        let age = region
            .age_ms
            .map_or_else(|| "now".to_owned(), |age| format!("{:.1} s ago", age / 1000.0));
        let (leader, told) = match &region.unreadable {
            Some(why) => ("unknown", format!("can't be read: {why}")),
            None => (region.leader.as_deref().unwrap_or("none"), age),
        };
        table.row([
            name.clone(),
            leader.to_owned(),
            epoch.unwrap_or_else(|| "-".to_owned()),
            agents.join(" "),
            told,
        ]);
    }
    table
}

fn members_table(regions: &[(String, RegionStatus)]) -> Table {
    let mut table = Table::new(["region", "member", "role", "clock offset"]);
    for (name, region) in regions {
        for member in &region.members {
            let offset = member.clock_offset_ms;
            table.row([
                name.clone(),
                member.name.clone(),
                member.role.clone(),
                offset.map_or_else(|| "-".to_owned(), |offset| format!("{offset:+.1} ms")),
            ]);
        }
    }
    table
}

fn links_table(regions: &[(String, RegionStatus)], lag: &[LagStatus]) -> Table {
    let header = [
        "from",
        "to",
        "link",
        "version",
        "rtt",
        "clock offset",
        "lag",
        "state",
        "delay",
        "proof age",
        "runway",
    ];
    let mut table = Table::new(header);
    let millis = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} ms"));
    for (from, region) in regions {
        for link in &region.links {
            let between = lag
                .iter()
                .filter(|lag| lag.origin == *from && lag.peer == link.peer);
            let shards: Vec<_> = between.collect();
            let runways = shards.iter().filter_map(|lag| lag.runway_s);
            table.row([
                from.clone(),
                link.peer.clone(),
                link.state.clone(),
                link.protocol_version
                    .map_or_else(|| "-".to_owned(), |version| version.to_string()),
                millis(link.rtt_ms),
                millis(link.clock_offset_ms),
                millis(worst(shards.iter().map(|lag| lag.lag_ms))),
                states(shards.iter().map(|lag| lag.told_state())),
                millis(worst(shards.iter().map(|lag| lag.delay_ms))),
                millis(worst(shards.iter().map(|lag| lag.proof_age_ms))),
                runways.reduce(f64::min).map_or_else(|| "-".to_owned(), span),
            ]);
        }
    }
    table
}

/// The stages of the slowest delay of each pair of regions.
fn stages_table(lag: &[LagStatus]) -> Table {
    let mut slowest: BTreeMap<(&str, &str), &LagStatus> = BTreeMap::new();
    for one in lag.iter().filter(|lag| lag.delay_ms.is_some()) {
        let held = slowest.entry((&one.origin, &one.peer)).or_insert(one);
        if one.delay_ms > held.delay_ms {
            *held = one;
        }
    }
    let header = ["from", "to", "delay"].into_iter().chain(STAGES);
    let mut table = Table::new(header);
    let millis = |value: Option<&f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} ms"));
    for ((from, to), lag) in slowest {
        let stages = STAGES.map(|stage| millis(lag.stages_ms.get(stage)));
        let row = [from.to_owned(), to.to_owned(), millis(lag.delay_ms.as_ref())];
        table.row(row.into_iter().chain(stages));
    }
    table
}

/// Why a region is behind another one, one line a pair.
fn reasons(lag: &[LagStatus]) -> Vec<String> {
    let mut told: BTreeMap<(&str, &str), (&LagStatus, &str)> = BTreeMap::new();
    for one in lag {
        if let Some(reason) = &one.reason {
            told.entry((&one.origin, &one.peer)).or_insert((one, reason));
        }
    }
    let lines = told.into_iter();
    lines
        .map(|((from, to), (lag, reason))| {
            let (group, partition) = (&lag.group, lag.partition);
            format!(
                "{from} to {to} is {} ({group}/{partition}): {reason}",
                lag.told_state()
            )
        })
        .collect()
}

/// `45 s`, `12 min`, `7 h`, `3 days`.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

impl From<StatusError> for Failure {
    fn from(error: StatusError) -> Self {
        let settings = matches!(error, StatusError::NotAGateway { .. } | StatusError::Proof(_));
        Self::blaming(settings, error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_what_gateways_tell_of_a_lag_the_greatest_holds() {
        let row = |peer: &str, lag: Value, state: &str| json!({ "origin": "eu-west", "peer": peer, "group": "default", "partition": 0, "lag_ms": lag, "state": state });
        let mut status =
            json!({ "lag": [row("us-east", json!(5.0), "live"), row("ap-south", Value::Null, "unknown")] });
        for told in [
            row("us-east", json!(4_000.0), "stalled"),
            row("us-east", json!(3_000.0), "stalled"),
            row("us-east", Value::Null, "unknown"),
            row("ap-south", json!(7.0), "live"),
            row("sa-east", json!(9.0), "live"),
        ] {
            take_greater(&mut status, &told);
        }
        let held = [
            row("us-east", json!(4_000.0), "stalled"),
            row("ap-south", json!(7.0), "live"),
        ];
        assert_eq!(status, json!({ "lag": held }));
    }
}
