//! `isthmus lab`: faults in a running folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use isthmus_wan::Command;

use crate::failure::Failure;
use crate::folder::run_file::RunFile;
use crate::lab::clock::Offset;
use crate::lab::target::Target;
use crate::lab::{self, Act, Fault};
use crate::output::{line, pretty_json};

/// Put faults into a running folder: its network, processes and clocks
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    isthmus lab shop cut eu-west us-east --for 40s\n  \
    isthmus lab shop delay eu-west us-east 3s\n  \
    isthmus lab shop heal\n  \
    isthmus lab shop kill leader@eu-west\n  \
    isthmus lab shop clock agent-1@eu-west +8h")]
pub(super) struct Lab {
    /// The folder that `isthmus up` or `isthmus demo` runs
    dir: PathBuf,
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Let no byte pass between two regions: connections stall, none closes, nothing is lost
    #[command(after_help = "Example:\n  isthmus lab shop cut eu-west us-east --for 40s")]
    Cut {
        #[command(flatten)]
        pair: Pair,
        /// Hold only what FROM sends to TO
        #[arg(long)]
        one_way: bool,
        /// Heal by itself after this time; the command returns at once
        #[arg(long = "for", value_parser = humantime::parse_duration)]
        lasting: Option<Duration>,
    },
    /// Delay every byte between two regions by this time in each direction
    #[command(after_help = "Example:\n  isthmus lab shop delay eu-west us-east 3s --jitter 200ms")]
    Delay {
        #[command(flatten)]
        pair: Pair,
        /// How long each byte is held, for example 3s
        #[arg(value_parser = humantime::parse_duration)]
        delay: Duration,
        /// A random part on top, of up to this time
        #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
        jitter: Duration,
        /// Delay only what FROM sends to TO
        #[arg(long)]
        one_way: bool,
    },
    /// Limit each direction between two regions to this number of bytes a second
    #[command(after_help = "Example:\n  isthmus lab shop rate eu-west us-east 100000")]
    Rate {
        #[command(flatten)]
        pair: Pair,
        /// Bytes a second in each direction
        bytes_per_second: u64,
    },
    /// Reset every connection between two regions once
    #[command(after_help = "Example:\n  isthmus lab shop reset eu-west us-east")]
    Reset {
        #[command(flatten)]
        pair: Pair,
    },
    /// Swallow what two regions send each other, without a close or a reset
    #[command(after_help = "Example:\n  isthmus lab shop black-hole eu-west us-east")]
    BlackHole {
        #[command(flatten)]
        pair: Pair,
    },
    /// Return the network between two regions, or all of it, to what it was at the start
    #[command(after_help = "Examples:\n  isthmus lab shop heal\n  isthmus lab shop heal eu-west us-east")]
    Heal {
        /// One region; without it the whole network is healed
        from: Option<String>,
        /// The other region
        to: Option<String>,
    },
    /// Kill processes (SIGKILL); they are started again after 500 ms
    #[command(after_help = "Example:\n  isthmus lab shop kill leader@eu-west")]
    Kill(Whom),
    /// End processes in order (SIGTERM); they are started again 500 ms after they have ended
    #[command(after_help = "Example:\n  isthmus lab shop restart nats@eu-west")]
    Restart(Whom),
    /// Pause processes (SIGSTOP) until cont; it prints their names: a paused leader loses its lead
    #[command(after_help = "Example:\n  isthmus lab shop stop gateways@eu-west")]
    Stop(Whom),
    /// Let paused processes continue (SIGCONT)
    #[command(after_help = "Example:\n  isthmus lab shop cont gateways@eu-west")]
    Cont(Whom),
    /// Kill processes and keep them down until start
    #[command(after_help = "Example:\n  isthmus lab shop down all@eu-west")]
    Down(Whom),
    /// Start processes that are kept down
    #[command(after_help = "Example:\n  isthmus lab shop start all@eu-west")]
    Start(Whom),
    /// Add an offset to the wall time of processes
    #[command(after_help = "Example:\n  isthmus lab shop clock agent-1@eu-west +8h")]
    Clock {
        #[command(flatten)]
        whom: Whom,
        /// The time to add: +8h, -300ms; 0s removes the offset
        #[arg(allow_hyphen_values = true)]
        offset: Offset,
    },
    /// Print the state of the network as JSON
    #[command(after_help = "Example:\n  isthmus lab shop show")]
    Show,
}

#[derive(Args, Debug)]
struct Pair {
    /// One region, for example eu-west
    from: String,
    /// The other region
    to: String,
}

#[derive(Args, Debug)]
struct Whom {
    /// WHO@REGION: leader@R, standby@R, agent-1@R, gateway-2@R, nats@R, agents@R, gateways@R or
    /// all@R
    target: Target,
}

impl Lab {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Some(fault) = self.order.into_fault() else {
            return show(&self.dir, &RunFile::of_running(&self.dir)?).await;
        };
        for done in lab::put(&self.dir, &fault).await? {
            line(done)?;
        }
        Ok(())
    }
}

async fn show(dir: &Path, run: &RunFile) -> Result<(), Failure> {
    let answer = lab::control(dir, run).await?.send(&Command::Show).await?;
    pretty_json(&answer.paths)
}

impl Order {
    /// The fault to inject; `None` for [`Order::Show`].
    fn into_fault(self) -> Option<Fault> {
        let millis = |duration: Duration| duration.as_millis() as u64;
        Some(match self {
            Self::Cut {
                pair: Pair { from, to },
                one_way,
                lasting,
            } => Fault::Network(Command::Cut {
                from,
                to,
                one_way,
                for_ms: lasting.map(millis),
            }),
            Self::Delay {
                pair: Pair { from, to },
                delay,
                jitter,
                one_way,
            } => {
                let (delay_ms, jitter_ms) = (millis(delay), millis(jitter));
                Fault::Network(Command::Delay {
                    from,
                    to,
                    one_way,
                    delay_ms,
                    jitter_ms,
                })
            }
            Self::Rate {
                pair: Pair { from, to },
                bytes_per_second,
            } => {
                let bytes_per_second = Some(bytes_per_second);
                Fault::Network(Command::Rate {
                    from,
                    to,
                    one_way: false,
                    bytes_per_second,
                })
            }
            Self::Reset {
                pair: Pair { from, to },
            } => Fault::Network(Command::Reset { from, to }),
            Self::BlackHole {
                pair: Pair { from, to },
            } => Fault::Network(Command::BlackHole { from, to }),
            Self::Heal { from, to } => Fault::Network(Command::Heal { from, to }),
            Self::Show => return None,
            Self::Kill(whom) => Fault::Processes(Act::Kill, whom.target),
            Self::Restart(whom) => Fault::Processes(Act::End, whom.target),
            Self::Stop(whom) => Fault::Processes(Act::Stop, whom.target),
            Self::Cont(whom) => Fault::Processes(Act::Cont, whom.target),
            Self::Down(whom) => Fault::Processes(Act::Down, whom.target),
            Self::Start(whom) => Fault::Processes(Act::Start, whom.target),
            Self::Clock { whom, offset } => Fault::Processes(Act::Clock(offset), whom.target),
        })
    }
}
