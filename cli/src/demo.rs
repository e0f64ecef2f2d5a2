//! `isthmus demo`: creates a folder, starts every process, writes in all regions, and proves that
//! all agents end identical.

use crate::output::{note, note_lines};
mod lag;
mod links;
mod summary;
mod table;
mod traffic;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::time::{interval, sleep};

use crate::client::agreement::{self, Holding};
use crate::client::bulk::{self, BulkError, PartlyWritten};
use crate::client::http;
use crate::failure::Failure;
use crate::fleet::ports::PortChoice;
use crate::fleet::{self, Fleet, StartError};
use crate::folder::PORT_BASE;
use crate::folder::init::{self, InitError};
use crate::folder::run_file::RunFile;
use crate::rows::Rows;
use lag::Probes;
use links::Links;
pub(crate) use summary::Summary;
use table::LiveTable;
use traffic::Traffic;

/// How long all agents may take to become identical after the last write.
const IDENTICAL_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Several link pings long.
const CALM: Duration = Duration::from_secs(2);
const ROWS_BUCKET: &str = "rows";
const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];

/// What a demo runs.
#[derive(Debug)]
pub(crate) struct Order {
    /// A new or empty folder.
    pub(crate) folder: PathBuf,
    pub(crate) ports: PortChoice,
    /// The round trip between any two regions.
    pub(crate) round_trip: Duration,
    /// How long traffic runs.
    pub(crate) traffic: Duration,
    /// Rows to write beside the traffic, an equal share in each region.
    pub(crate) rows: Option<Rows>,
    /// Whether the live table goes to standard error, so that standard output has the summary
    /// alone.
    pub(crate) quiet: bool,
}

/// Why a demo failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error(transparent)]
    Init(#[from] InitError),
    #[error("a name in the demo is not valid")]
    Name(#[from] isthmus_replication::names::InvalidName),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Rows(#[from] BulkError),
    #[error(transparent)]
    PartlyWritten(#[from] PartlyWritten),
}

/// What the live table and the summary read.
struct Watched {
    traffic: Traffic,
    probes: Probes,
    links: Links,
}

pub(crate) struct Demo {
    fleet: Fleet,
    order: Order,
    client: Client,
}

impl Demo {
    /// Writes the folder and starts its processes.
    pub(crate) async fn start(order: Order) -> Result<Self, DemoError> {
        let regions: Result<Vec<_>, _> = REGIONS.iter().map(|name| name.parse()).collect();
        let port_base = match order.ports {
            PortChoice::Base(base) => base,
            PortChoice::Auto => PORT_BASE,
        };
        let plan = init::Plan {
            set: "demo".parse()?,
            trust_domain: "isthmus.local".to_owned(),
            regions: regions?,
            port_base,
        };
        init::write(&order.folder, &plan)?;
        let (folder, ports, round_trip) = (order.folder.clone(), order.ports, order.round_trip);
        let up = fleet::Order {
            folder,
            ports,
            round_trip,
        };
        let fleet = Fleet::start(&up, &|line| note_lines(line)).await?;
        Ok(Self {
            fleet,
            order,
            client: http::client(),
        })
    }

    /// The running processes.
    pub(crate) fn run_file(&self) -> RunFile {
        self.fleet.run_file()
    }

    /// Writes in all regions until the time is over or `enough` returns, then waits until all
    /// agents are identical.
    pub(crate) async fn show(&mut self, enough: impl Future<Output = ()>) -> Result<Summary, DemoError> {
        let run = self.fleet.run_file();
        let rows = self.order.rows.take();
        let began = Instant::now();
        let mut watched = self.watch(&run, began, rows.as_ref(), enough).await?;
        note("the traffic has ended; waiting until all agents are identical, for 30 s at most");
        let holdings = self.settle(&run, &mut watched.links).await;
        let rows = match &rows {
            Some(rows) => Some(self.compare_rows(&run, rows).await?),
            None => None,
        };
        let end = summary::End {
            took: began.elapsed(),
            holdings,
            rows,
        };
        Ok(Summary::new(
            &self.order.folder,
            &self.fleet.run_file(),
            &watched,
            end,
        ))
    }

    async fn watch(
        &mut self,
        run: &RunFile,
        began: Instant,
        rows: Option<&Rows>,
        enough: impl Future<Output = ()>,
    ) -> Result<Watched, DemoError> {
        let until = began + self.order.traffic;
        let client = self.client.clone();
        let mut watched = Watched {
            traffic: Traffic::start(&client, run, until),
            probes: Probes::start(&client, run, until),
            links: Links::default(),
        };
        let mut table = LiveTable::new(self.order.quiet);
        let mut refresh = interval(LOOK_EVERY);
        let written = write_rows(&client, run, rows, until);
        tokio::pin!(enough, written);
        let mut rows_written = false;
        loop {
            tokio::select! {
                event = self.fleet.next_event() => note_lines(event),
                done = &mut written, if !rows_written => {
                    done?;
                    rows_written = true;
                }
                _ = refresh.tick() => {
                    watched.links.refresh(&client, run).await;
                    table.show(began.elapsed(), run, &watched);
                    if Instant::now() >= until && rows_written {
                        break;
                    }
                }
                () = &mut enough => break,
            }
        }
        watched.traffic.end().await;
        watched.probes.end().await;
        Ok(watched)
    }

    /// Waits until all agents are identical, then reads the links once more after `CALM`. With no
    /// writes left, a round trip measures the network alone, even on a machine that the writes kept
    /// busy.
    async fn settle(&mut self, run: &RunFile, links: &mut Links) -> Vec<Holding> {
        let client = self.client.clone();
        let settled = async { tokio::join!(agreement::reached(&client, run, IDENTICAL_WITHIN), sleep(CALM)) };
        tokio::pin!(settled);
        loop {
            tokio::select! {
                event = self.fleet.next_event() => note_lines(event),
                _identical = &mut settled => break,
            }
        }
        links.refresh(&self.client, run).await;
        agreement::holdings(&self.client, run).await
    }

    async fn compare_rows(&self, run: &RunFile, rows: &Rows) -> Result<summary::RowsSeen, DemoError> {
        let mut equal_in = Vec::new();
        for (region, processes) in run.regions_in_order() {
            let Some(agent) = processes.agents.first() else {
                continue;
            };
            let different =
                bulk::compare(&self.client, &agent.http, ROWS_BUCKET, &rows.rows, Instant::now()).await?;
            if different.is_empty() {
                equal_in.push(region.to_owned());
            }
        }
        Ok(summary::RowsSeen {
            keys: rows.rows.len(),
            repeated: rows.repeated,
            equal_in,
        })
    }

    pub(crate) async fn stop(self) {
        self.fleet.stop().await;
    }
}

/// Writes an equal share of the rows in each region.
async fn write_rows(
    client: &Client,
    run: &RunFile,
    rows: Option<&Rows>,
    until: Instant,
) -> Result<(), PartlyWritten> {
    let Some(Rows { rows, .. }) = rows else {
        return Ok(());
    };
    let doors: Vec<&str> = run
        .regions_in_order()
        .filter_map(|(_, processes)| Some(processes.agents.first()?.http.as_str()))
        .collect();
    let share = rows.len().div_ceil(doors.len().max(1)).max(1);
    let writes = rows
        .chunks(share)
        .zip(doors)
        .map(|(rows, door)| bulk::write(client, door, ROWS_BUCKET, rows, until + IDENTICAL_WITHIN));
    futures::future::try_join_all(writes).await.map(|_| ())
}

/// The folder of a demo that was started without one.
pub(crate) fn fresh_folder() -> PathBuf {
    let folder = std::env::temp_dir();
    let number = getrandom::u32().unwrap_or_else(|_| std::process::id());
    folder.join(format!("isthmus-demo-{number:08x}"))
}

/// Removes a demo's folder, and prints a note if that fails.
pub(crate) fn remove_folder(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        note(format_args!(
            "isthmus: {} cannot be removed: {error}",
            folder.display()
        ));
    }
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        match error {
            DemoError::Init(error) => error.into(),
            DemoError::Start(_) => Self::environment(error).with_lines(),
            error => Self::environment(error),
        }
    }
}
