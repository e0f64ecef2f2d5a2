//! `isthmus status`.

use std::path::PathBuf;

use clap::Args;
use comfy_table::Table;
use serde_json::Value;

use crate::client::http::{self, HttpError};
use crate::client::status::{GatewayStatus, RegionStatus, states, worst};
use crate::failure::Failure;
use crate::folder::run_file::{RunFile, RunFileError};
use crate::output::line;

/// Tell what every region says of itself, its links and its lag, as any gateway knows it
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  isthmus status --dir shop\n  isthmus status --via http://127.0.0.1:7055 --json"
)]
pub struct Status {
    /// The folder that `isthmus up` runs; its first gateway that answers is asked
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The admin listener of a gateway, instead of a folder
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    via: Option<String>,
    /// Print what the gateway answered
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum StatusError {
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
            line(serde_json::to_string_pretty(&told).map_err(Failure::environment)?)?;
            return Ok(());
        }
        let status: GatewayStatus = serde_json::from_value(told).map_err(StatusError::from)?;
        line(format_args!("told by {} of {}\n", status.name, status.region))?;
        let regions = status.every_region();
        line(format_args!(
            "{}\n\n{}\n\n{}",
            regions_table(&regions),
            members_table(&regions),
            links_table(&regions)
        ))?;
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
        let client = http::client();
        let mut last = None;
        for admin in admins {
            match http::json(client.get(format!("{admin}/v1/status"))).await {
                Ok(status) => return of_a_gateway(admin, status),
                Err(HttpError::Refused { status: 404, .. } | HttpError::Unreadable { .. }) => {
                    return of_a_gateway(admin, Value::Null);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(StatusError::NoGateway(last))
    }
}

/// The status, if a gateway tells it.
fn of_a_gateway(admin: String, status: Value) -> Result<Value, StatusError> {
    let text = |name: &str| status[name].as_str().unwrap_or("?");
    let answers = match text("process") {
        "gateway" => return Ok(status),
        "agent" => format!("is the admin address of {} in {}", text("name"), text("region")),
        _ => "does not answer as a gateway".to_owned(),
    };
    Err(StatusError::NotAGateway { admin, answers })
}

fn empty_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    table
}

fn regions_table(regions: &[(String, RegionStatus)]) -> Table {
    let mut table = empty_table(&["region", "leader", "epoch", "agents", "told"]);
    for (name, region) in regions {
        let agents: Vec<&str> = region.agents.iter().map(|agent| agent.name.as_str()).collect();
        let epoch = region
            .epoch
            .as_ref()
            .map(|epoch| format!("{}/{}", epoch.life, epoch.revision));
        let told = region
            .age_ms
            .map_or_else(|| "now".to_owned(), |age| format!("{:.1} s ago", age / 1000.0));
        table.add_row([
            name.clone(),
            region.leader.clone().unwrap_or_else(|| "none".to_owned()),
            epoch.unwrap_or_else(|| "-".to_owned()),
            agents.join(" "),
            told,
        ]);
    }
    table
}

fn members_table(regions: &[(String, RegionStatus)]) -> Table {
    let mut table = empty_table(&["region", "member", "role", "clock offset"]);
    for (name, region) in regions {
        for member in &region.members {
            let offset = member.clock_offset_ms;
            table.add_row([
                name.clone(),
                member.name.clone(),
                member.role.clone(),
                offset.map_or_else(|| "-".to_owned(), |offset| format!("{offset:+.1} ms")),
            ]);
        }
    }
    table
}

fn links_table(regions: &[(String, RegionStatus)]) -> Table {
    let header = [
        "from",
        "to",
        "link",
        "rtt",
        "clock offset",
        "sending",
        "lag",
        "receiving",
        "delay",
        "proof age",
    ];
    let mut table = empty_table(&header);
    let millis = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} ms"));
    for (from, region) in regions {
        for link in &region.links {
            let receiver = regions
                .iter()
                .find(|(name, _)| *name == link.peer)
                .map(|(_, region)| region);
            let received = receiver
                .iter()
                .flat_map(|region| &region.receiving)
                .filter(|lane| lane.origin == *from);
            let received: Vec<_> = received.collect();
            table.add_row([
                from.clone(),
                link.peer.clone(),
                link.state.clone(),
                millis(link.rtt_ms),
                millis(link.clock_offset_ms),
                states(link.lanes.iter().map(|lane| lane.state.as_str())),
                millis(worst(link.lanes.iter().map(|lane| lane.lag_ms))),
                states(received.iter().map(|lane| lane.told_state())),
                millis(worst(received.iter().map(|lane| lane.delay_ms))),
                millis(worst(received.iter().map(|lane| lane.proof_age_ms))),
            ]);
        }
    }
    table
}

impl From<StatusError> for Failure {
    fn from(error: StatusError) -> Self {
        Self::blaming(matches!(error, StatusError::NotAGateway { .. }), error)
    }
}
