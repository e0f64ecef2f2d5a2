//! `isthmus demo`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::signals::EndSignals;
use super::up::addresses;
use crate::demo::{Demo as RunningDemo, Order, fresh_folder, remove_folder};
use crate::failure::Failure;
use crate::fleet::ports::PortChoice;
use crate::output::{json_line, lines, note, note_lines};
use crate::rows::Rows;

/// Show three regions on this machine: a fresh folder, every process, traffic in all regions, and
/// their agreement
///
/// Exit 0 only if all agents of all regions end identical, within 30 s after the last write; else
/// 2. Ctrl-C ends the traffic early, a second one everything.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  isthmus demo --seconds 20 --json\n  isthmus demo customers.csv --dir shop"
)]
pub(super) struct Demo {
    /// A CSV or NDJSON file whose rows are written too, a third in each region
    file: Option<PathBuf>,
    /// How long there is traffic
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The round trip between any two regions
    #[arg(long, default_value = "80ms", value_parser = humantime::parse_duration)]
    rtt: Duration,
    /// The first of a fixed block of ports, or auto for any free block
    #[arg(long, default_value = "auto")]
    port_base: PortChoice,
    /// The folder to use, new or empty, and kept; by default a temporary one that is removed after
    /// a success
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut signals = EndSignals::listen().map_err(Failure::environment)?;
        let rows = self
            .file
            .as_deref()
            .map(|file| Rows::read(file, None, None))
            .transpose()?;
        let folder = self.dir.clone().unwrap_or_else(fresh_folder);
        let order = Order {
            folder: folder.clone(),
            ports: self.port_base,
            round_trip: self.rtt,
            traffic: Duration::from_secs(self.seconds),
            rows,
            quiet: self.json,
        };
        note(format_args!("folder {}", folder.display()));
        let mut demo = tokio::select! {
            demo = RunningDemo::start(order) => demo?,
            () = signals.arrive() => return Err(Failure::environment("ended before everything was up")),
        };
        let listed = addresses(&demo.run_file(), &folder);
        match self.json {
            true => note_lines(listed),
            false => lines(listed).unwrap_or_default(),
        }
        let mut again = EndSignals::listen().map_err(Failure::environment)?;
        let impatient = async {
            again.arrive().await;
            again.arrive().await;
        };
        let shown = tokio::select! {
            shown = demo.show(signals.arrive()) => shown,
            () = impatient => return Err(Failure::environment("ended before the agents were compared")),
        };
        if let Ok(summary) = &shown {
            match self.json {
                true => json_line(summary),
                false => lines(summary),
            }
            .ok();
        }
        demo.stop().await;
        if !shown?.identical {
            let why = format!("not identical; see the logs in {}", folder.display());
            return Err(Failure::difference(why));
        }
        if self.dir.is_none() {
            remove_folder(&folder);
        }
        Ok(())
    }
}
