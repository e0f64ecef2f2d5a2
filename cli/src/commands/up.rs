//! `isthmus up`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::config;
use super::signals::EndSignals;
use crate::failure::Failure;
use crate::fleet::ports::PortChoice;
use crate::fleet::{Fleet, Order, StartError};
use crate::folder::run_file::RunFile;
use crate::output::{lines, note_lines};

/// Run the regions of a folder on this machine: each has one nats-server, two agents and two
/// gateways
///
/// The regions are joined by a network in this process that can delay and cut (`isthmus lab`).
/// Everything ends with this process, also when it is killed. A process that dies is started again
/// after 500 ms; one that dies 5 times before it is ever ready ends everything, and the end of
/// its log is printed.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  isthmus up shop --rtt 80ms --port-base auto")]
pub(super) struct Up {
    /// The folder, as `isthmus init` writes it
    dir: PathBuf,
    /// The round trip between any two regions
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
    rtt: Duration,
    /// The first of a fixed block of ports, or auto for any free block
    #[arg(long, default_value = "7040")]
    port_base: PortChoice,
}

impl Up {
    pub(super) async fn run(self) -> Result<(), Failure> {
        // The files of the processes hold values, and their logs name clients.
        isthmus_runtime::private::by_default();
        let mut signals = EndSignals::listen().map_err(Failure::environment)?;
        config::check_folder(&self.dir)?;
        let order = Order {
            folder: self.dir.clone(),
            ports: self.port_base,
            round_trip: self.rtt,
        };
        let say = |line: &str| note_lines(line);
        let mut fleet = tokio::select! {
            fleet = Fleet::start(&order, &say) => fleet?,
            () = signals.arrive() => return Ok(()),
        };
        // It keeps running if its output is closed.
        lines(addresses(&fleet.run_file(), &self.dir)).ok();
        loop {
            tokio::select! {
                event = fleet.next_event() => say(&event.to_string()),
                () = signals.arrive() => break,
            }
        }
        say("stopping agents and gateways, then the NATS servers");
        fleet.stop().await;
        Ok(())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Folder(_) => Self::settings(error).with_lines(),
            StartError::NotReady(_) => Self::environment(error).with_lines(),
            _ => Self::environment(error),
        }
    }
}

/// The addresses of all listeners, and commands to paste.
pub(super) fn addresses(run: &RunFile, dir: &Path) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        let _infallible = writeln!(text, "{line}");
    };
    for (region, processes) in run.regions_in_order() {
        line(format!("\n{region}"));
        line(format!(
            "  nats       {}   monitoring {}",
            processes.nats.url, processes.nats.monitor
        ));
        for agent in &processes.agents {
            line(format!(
                "  {:<10} {}   admin {}",
                agent.name, agent.http, agent.admin
            ));
        }
        for gateway in &processes.gateways {
            line(format!(
                "  {:<10} link {}   admin {}",
                gateway.name, gateway.link, gateway.admin
            ));
        }
    }
    let doors: Vec<(&str, &str)> = run
        .regions_in_order()
        .filter_map(|(region, processes)| Some((region, processes.agents.first()?.http.as_str())))
        .collect();
    let Some((here, write)) = doors.first().copied() else {
        return text;
    };
    let (there, read) = doors.get(1).copied().unwrap_or((here, write));
    line(format!("\n# write in {here}, read in {there}"));
    line(format!(
        "curl -sS -X PUT --data 'two apples' {write}/v1/kv/carts/alice"
    ));
    line(format!("curl -sS {read}/v1/kv/carts/alice"));
    line(format!(
        "# write in {here}; a read in {there} with the session waits until it sees the write"
    ));
    line(format!(
        "SESSION=$(curl -sS -o /dev/null -D - -X PUT --data 'three apples' {write}/v1/kv/carts/alice | tr -d '\\r' | sed -n 's/^isthmus-session: //Ip')"
    ));
    line(format!(
        "curl -sS -H \"Isthmus-Session: $SESSION\" {read}/v1/kv/carts/alice"
    ));
    line("# what every region reports about itself and the others".to_owned());
    line(format!("isthmus status --dir {}", dir.display()));
    if here != there {
        line(format!("# cut {here} off from {there} for 20 seconds"));
        line(format!(
            "isthmus lab {} cut {here} {there} --for 20s",
            dir.display()
        ));
    }
    line("\nCtrl-C stops everything.".to_owned());
    text.truncate(text.trim_end().len());
    text
}
