//! `isthmus status`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use isthmus_replication::delay::Stage;
use isthmus_report::gateway::KnownRegion;
use isthmus_report::{GatewayStatus, LagRow, Offset, ProcessKind, duration};

use crate::client::http::HttpError;
use crate::client::proof::{Proof, ProofError};
use crate::client::status::{self, state_of, states, worst};
use crate::failure::Failure;
use crate::folder::run_file::{RunFile, RunFileError};
use crate::output::{Table, line, lines, pretty_json};

/// Show the state, the links and the lag of every region, as a gateway knows them
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  isthmus status --dir shop\n  isthmus status --via http://127.0.0.1:7055 --json"
)]
pub(super) struct Status {
    /// The folder that `isthmus up` runs; the gateway that answers first is shown, with the
    /// greatest lag that any gateway reports
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The admin listener of a gateway, instead of a folder
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    via: Option<String>,
    #[command(flatten)]
    proof: Proof,
    /// Print the status as JSON, as a gateway answers it
    #[arg(long)]
    json: bool,
}

/// How long to wait for the other gateways after the first answer.
const OTHERS_WITHIN: Duration = Duration::from_millis(300);

/// Every region with its last report.
type Regions = BTreeMap<String, KnownRegion>;

#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Folder(#[from] RunFileError),
    #[error("no gateway answers")]
    NoGateway(#[source] Option<HttpError>),
    #[error("{admin} {answers}; give the admin address of a gateway, as `isthmus up` prints it")]
    NotAGateway { admin: String, answers: String },
}

impl Status {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut status = self.ask().await?;
        if self.json {
            pretty_json(&status)?;
            return Ok(());
        }
        line(format_args!("reported by {} of {}", status.name, status.region))?;
        let lag = std::mem::take(&mut status.lag);
        let regions = status.into_regions();
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

    async fn ask(&self) -> Result<GatewayStatus, StatusError> {
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
            let client = &client;
            Box::pin(async move {
                let status = status::of_gateway(client, &admin).await?;
                Ok::<_, HttpError>((admin, status))
            })
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

/// Replaces each lag by the greatest one that any gateway reports, since a reported lag is a lower
/// bound. A gateway that does not answer within `OTHERS_WITHIN` is left out.
async fn hear_others(
    status: &mut GatewayStatus,
    mut others: impl Stream<Item = Result<(String, GatewayStatus), HttpError>> + Unpin,
) {
    let all = async {
        while let Some(other) = others.next().await {
            let rows = other.ok().map(|(_, other)| other.lag);
            for row in rows.into_iter().flatten() {
                take_greater(&mut status.lag, row);
            }
        }
    };
    // A paused gateway accepts the request and does not answer.
    let _ = tokio::time::timeout(OTHERS_WITHIN, all).await;
}

fn take_greater(rows: &mut [LagRow], row: LagRow) {
    let held = rows.iter_mut().find(|held| held.is_of_same(&row));
    if let Some(held) = held.filter(|held| row.lag > held.lag) {
        *held = row;
    }
}

/// The status, if a gateway wrote it.
fn of_a_gateway(admin: String, status: GatewayStatus) -> Result<GatewayStatus, StatusError> {
    let answers = match status.process.known() {
        Some(ProcessKind::Gateway) => return Ok(status),
        Some(ProcessKind::Agent) => {
            format!("is the admin address of {} in {}", status.name, status.region)
        }
        None => "does not answer as a gateway".to_owned(),
    };
    Err(not_a_gateway(admin, answers))
}

fn not_a_gateway(admin: String, answers: String) -> StatusError {
    StatusError::NotAGateway { admin, answers }
}

fn regions_table(regions: &Regions) -> Table {
    let mut table = Table::new(["region", "leader", "epoch", "agents", "reported"]);
    for (name, KnownRegion { report, age }) in regions {
        let agents: Vec<&str> = report.agents.iter().map(|agent| agent.name.as_str()).collect();
        let epoch = report
            .epoch
            .as_ref()
            .map(|epoch| format!("{}/{}", epoch.life, epoch.revision));
        let age = age.map_or_else(
            || "now".to_owned(),
            |age| format!("{:.1} s ago", age.as_secs_f64()),
        );
        let (leader, age) = match &report.unreadable {
            Some(why) => ("unknown", format!("can't be read: {why}")),
            None => (report.leader.as_deref().unwrap_or("none"), age),
        };
        table.row([
            name.clone(),
            leader.to_owned(),
            epoch.unwrap_or_else(|| "-".to_owned()),
            agents.join(" "),
            age,
        ]);
    }
    table
}

fn members_table(regions: &Regions) -> Table {
    let mut table = Table::new(["region", "member", "role", "clock offset"]);
    for (name, region) in regions {
        for member in &region.report.members {
            let offset = member.clock_offset;
            table.row([
                name.clone(),
                member.name.clone(),
                member.role.to_string(),
                offset.map_or_else(|| "-".to_owned(), |offset| format!("{:+.1} ms", offset.millis())),
            ]);
        }
    }
    table
}

fn links_table(regions: &Regions, lag: &[LagRow]) -> Table {
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
    let offset = |offset: Offset| format!("{:.1} ms", offset.millis());
    for (from, region) in regions {
        for link in &region.report.links {
            let between = lag
                .iter()
                .filter(|lag| lag.origin == *from && lag.peer == link.peer);
            let shards: Vec<_> = between.collect();
            let runways = shards.iter().filter_map(|lag| lag.runway);
            table.row([
                from.clone(),
                link.peer.clone(),
                link.state.to_string(),
                link.protocol_version
                    .map_or_else(|| "-".to_owned(), |version| version.to_string()),
                millis(link.rtt),
                link.clock_offset.map_or_else(|| "-".to_owned(), offset),
                millis(worst(shards.iter().map(|lag| lag.lag))),
                states(shards.iter().map(|lag| state_of(lag))),
                millis(worst(shards.iter().map(|lag| lag.delay))),
                millis(worst(shards.iter().map(|lag| lag.proof_age))),
                runways.min().map_or_else(|| "-".to_owned(), span),
            ]);
        }
    }
    table
}

/// The stages of the slowest delay of each pair of regions.
fn stages_table(lag: &[LagRow]) -> Table {
    let mut slowest: BTreeMap<(&str, &str), &LagRow> = BTreeMap::new();
    for one in lag.iter().filter(|lag| lag.delay.is_some()) {
        let held = slowest.entry((&one.origin, &one.peer)).or_insert(one);
        if one.delay > held.delay {
            *held = one;
        }
    }
    let stages = Stage::ALL.map(Stage::label);
    let mut table = Table::new(["from", "to", "delay"].into_iter().chain(stages));
    for ((from, to), lag) in slowest {
        let stages = Stage::ALL.map(|stage| millis(lag.stages.of(stage)));
        let row = [from.to_owned(), to.to_owned(), millis(lag.delay)];
        table.row(row.into_iter().chain(stages));
    }
    table
}

/// Why a region is behind another one, one line per pair.
fn reasons(lag: &[LagRow]) -> Vec<String> {
    let mut first: BTreeMap<(&str, &str), (&LagRow, &str)> = BTreeMap::new();
    for row in lag {
        if let Some(reason) = &row.reason {
            first.entry((&row.origin, &row.peer)).or_insert((row, reason));
        }
    }
    let lines = first.into_iter();
    lines
        .map(|((from, to), (row, reason))| {
            let (group, partition) = (&row.group, row.partition);
            format!(
                "{from} to {to} is {} ({group}/{partition}): {reason}",
                state_of(row)
            )
        })
        .collect()
}

/// `44.5 ms`, or `-` if it is not known.
fn millis(duration: Option<Duration>) -> String {
    duration.map_or_else(
        || "-".to_owned(),
        |duration| format!("{:.1} ms", duration::millis(duration)),
    )
}

/// `45 s`, `12 min`, `7 h`, `3 days`.
fn span(duration: Duration) -> String {
    match duration.as_secs_f64() {
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
    use isthmus_replication::receiving::lag::Freshness;

    use super::*;

    fn row(peer: &str, lag: Option<u64>, state: Freshness) -> LagRow {
        LagRow {
            origin: "eu-west".to_owned(),
            peer: peer.to_owned(),
            group: "default".to_owned(),
            lag: lag.map(Duration::from_millis),
            state: state.into(),
            ..LagRow::default()
        }
    }

    #[test]
    fn the_greatest_lag_that_a_gateway_reports_holds() {
        let mut rows = [
            row("us-east", Some(5), Freshness::Live),
            row("ap-south", None, Freshness::Unknown),
        ];
        for other in [
            row("us-east", Some(4_000), Freshness::Stalled),
            row("us-east", Some(3_000), Freshness::Stalled),
            row("us-east", None, Freshness::Unknown),
            row("ap-south", Some(7), Freshness::Live),
            row("sa-east", Some(9), Freshness::Live),
        ] {
            take_greater(&mut rows, other);
        }
        let greatest = [
            row("us-east", Some(4_000), Freshness::Stalled),
            row("ap-south", Some(7), Freshness::Live),
        ];
        assert_eq!(rows, greatest);
    }
}
