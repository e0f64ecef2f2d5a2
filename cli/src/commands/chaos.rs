//! `isthmus chaos`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::signals::EndSignals;
use crate::chaos::kind::Kind;
use crate::chaos::{Chaos as Running, Order};
use crate::demo::{fresh_folder, remove_folder};
use crate::failure::Failure;
use crate::output::{json_line, lines, note};

/// Break three regions on this machine at random while they are written and read, and check what
/// clients saw
///
/// Processes are killed, paused and restarted, links cut, delayed and reset, clocks put wrong, all
/// drawn from a seed. Exit 0 only if every kind of fault happened and was healed, all agents of all
/// regions ended equal, no acknowledged write was lost, no session was shown anything older than
/// what it had seen, and nothing came back after a delete; else 2.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  isthmus chaos --seconds 300\n  \
    isthmus chaos --seed 17 --seconds 60 --only kill-leader,cut --dir broken")]
pub(super) struct Chaos {
    /// How long there are writes and faults
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// What the faults are drawn from; by default a random one, which is printed
    #[arg(long)]
    seed: Option<u64>,
    /// Only these kinds of faults
    #[arg(long, value_delimiter = ',', value_name = "KIND,...")]
    only: Vec<Kind>,
    /// The folder to use, new or empty, and kept; by default a temporary one that is kept only when
    /// a check fails
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

impl Chaos {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut signals = EndSignals::listen().map_err(Failure::environment)?;
        let folder = self.dir.clone().unwrap_or_else(fresh_folder);
        let done = self.judged(folder.clone(), &mut signals).await;
        let failed = matches!(&done, Ok(false));
        if failed {
            note(format_args!("the folder is kept: {}", folder.display()));
        } else if self.dir.is_none() && folder.exists() {
            remove_folder(&folder);
        }
        if done? {
            return Ok(());
        }
        Err(Failure::difference("not every check passed"))
    }

    /// Runs the schedule. Returns whether every check passed.
    async fn judged(&self, folder: PathBuf, signals: &mut EndSignals) -> Result<bool, Failure> {
        let seed = self.seed.unwrap_or_else(drawn_seed);
        note(format_args!("seed {seed}, folder {}", folder.display()));
        let kinds = if self.only.is_empty() {
            Kind::all().to_vec()
        } else {
            self.only.clone()
        };
        let order = Order {
            folder,
            seed,
            writes: Duration::from_secs(self.seconds),
            kinds,
        };
        let ended = || Failure::environment("ended before the check was done");
        let mut running = tokio::select! {
            running = Running::start(order) => running?,
            () = signals.arrive() => return Err(ended()),
        };
        let summary = tokio::select! {
            summary = running.run() => summary,
            () = signals.arrive() => Err(ended()),
        };
        running.stop().await;
        let summary = summary?;
        match self.json {
            true => json_line(&summary)?,
            false => lines(&summary)?,
        }
        Ok(summary.wrongs().is_empty())
    }
}

/// A seed short enough to type.
fn drawn_seed() -> u64 {
    u64::from(getrandom::u32().unwrap_or_else(|_| std::process::id()))
}
