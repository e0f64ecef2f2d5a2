//! `isthmus lab`: faults in a running folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use futures::future::join_all;
use isthmus_wan::{Command, ControlClient, ControlError};
use tokio::time::{sleep, timeout};

use crate::client::{http, status};
use crate::failure::Failure;
use crate::folder::run_file::{RunFile, RunFileError};
use crate::output::line;

mod clock;
mod target;

use clock::Offset;
use target::{Process, Target, TargetError};

const LEADER_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Put faults into a running folder: its network, processes and clocks
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    isthmus lab shop cut eu-west us-east --for 40s\n  \
    isthmus lab shop delay eu-west us-east 3s\n  \
    isthmus lab shop heal\n  \
    isthmus lab shop kill leader@eu-west\n  \
    isthmus lab shop clock agent-1@eu-west +8h")]
pub struct Lab {
    /// The folder that `isthmus up` or `isthmus demo` runs
    dir: PathBuf,
    #[command(subcommand)]
    fault: Fault,
}

#[derive(Debug, Subcommand)]
enum Fault {
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
    /// Limit each direction between two regions to so many bytes a second
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
        /// The one region; without it the whole network is healed
        from: Option<String>,
        /// The other region
        to: Option<String>,
    },
    /// Kill processes (SIGKILL); they are started again after 500 ms
    #[command(after_help = "Example:\n  isthmus lab shop kill leader@eu-west")]
    Kill(Whom),
    /// Pause processes (SIGSTOP) until cont; it prints which, for a paused leader leads no more
    #[command(after_help = "Example:\n  isthmus lab shop stop gateways@eu-west")]
    Stop(Whom),
    /// Let paused processes go on (SIGCONT)
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
        /// The time to add: +8h, -300ms; 0s sets the clock right
        #[arg(allow_hyphen_values = true)]
        offset: Offset,
    },
    /// Tell the state of the network as JSON
    #[command(after_help = "Example:\n  isthmus lab shop show")]
    Show,
}

#[derive(Args, Debug)]
struct Pair {
    /// The one region, for example eu-west
    from: String,
    /// The other region
    to: String,
}

#[derive(Args, Debug)]
struct Whom {
    /// WHO@REGION: leader@R, agent-1@R, gateway-2@R, nats@R, agents@R, gateways@R or all@R
    target: Target,
}

impl Lab {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let run = RunFile::of_running(&self.dir)?;
        match self.fault.into_order() {
            Order::Network(command) => network(&run, &command).await,
            Order::Show => show(&run).await,
            Order::Processes(act, target) => processes(&self.dir, act, &target).await,
        }
    }
}

enum Order {
    Network(Command),
    Show,
    Processes(Act, Target),
}

enum Act {
    Kill,
    Stop,
    Cont,
    Down,
    Start,
    Clock(Offset),
}

impl Fault {
    fn into_order(self) -> Order {
        let millis = |duration: Duration| duration.as_millis() as u64;
        match self {
            Self::Cut {
                pair: Pair { from, to },
                one_way,
                lasting,
            } => Order::Network(Command::Cut {
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
                Order::Network(Command::Delay {
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
                Order::Network(Command::Rate {
                    from,
                    to,
                    one_way: false,
                    bytes_per_second,
                })
            }
            Self::Reset {
                pair: Pair { from, to },
            } => Order::Network(Command::Reset { from, to }),
            Self::BlackHole {
                pair: Pair { from, to },
            } => Order::Network(Command::BlackHole { from, to }),
            Self::Heal { from, to } => Order::Network(Command::Heal { from, to }),
            Self::Show => Order::Show,
            Self::Kill(whom) => Order::Processes(Act::Kill, whom.target),
            Self::Stop(whom) => Order::Processes(Act::Stop, whom.target),
            Self::Cont(whom) => Order::Processes(Act::Cont, whom.target),
            Self::Down(whom) => Order::Processes(Act::Down, whom.target),
            Self::Start(whom) => Order::Processes(Act::Start, whom.target),
            Self::Clock { whom, offset } => Order::Processes(Act::Clock(offset), whom.target),
        }
    }
}

async fn control(run: &RunFile) -> Result<ControlClient, Failure> {
    let door = run
        .wan
        .control
        .ok_or_else(|| Failure::settings("this folder has no network between regions"))?;
    Ok(ControlClient::connect(door).await?)
}

async fn network(run: &RunFile, command: &Command) -> Result<(), Failure> {
    control(run).await?.send(command).await?;
    Ok(())
}

async fn show(run: &RunFile) -> Result<(), Failure> {
    let answer = control(run).await?.send(&Command::Show).await?;
    let text = serde_json::to_string_pretty(&answer.paths).map_err(Failure::environment)?;
    line(text)?;
    Ok(())
}

async fn processes(dir: &Path, act: Act, target: &Target) -> Result<(), Failure> {
    let leader = match target.wants_leader() {
        Some(region) => Some(leader_of(dir, region).await?),
        None => None,
    };
    let run = RunFile::of_running(dir)?;
    for process in target.resolve(&run, leader.as_deref())? {
        let did = process_act(&process, dir, &act)?;
        line(format_args!("{did} {} of {}", process.name, process.region))?;
    }
    Ok(())
}

fn process_act(process: &Process, dir: &Path, act: &Act) -> Result<&'static str, TargetError> {
    match act {
        Act::Kill => process.kill().map(|()| "killed"),
        Act::Stop => process.pause().map(|()| "paused"),
        Act::Cont => process.go_on().map(|()| "continued"),
        Act::Down => process.take_down(dir).map(|()| "took down"),
        Act::Start => process.release(dir).map(|()| "starting"),
        Act::Clock(offset) => process.put_clock(offset).map(|()| "put the clock of"),
    }
}

/// The leading gateway of a region: one that runs and says so of itself. A take-over is waited for.
async fn leader_of(dir: &Path, region: &str) -> Result<String, Failure> {
    let client = http::client();
    let until = Instant::now() + LEADER_WITHIN;
    loop {
        let run = RunFile::of_running(dir)?;
        let unknown = || TargetError::NoRegion(region.to_owned(), target::known(&run));
        let gateways = &run.regions.get(region).ok_or_else(unknown)?.gateways;
        let asked = gateways.iter().filter(|gateway| gateway.pid != 0);
        let asked = asked.map(|gateway| timeout(ANSWER_WITHIN, status::of_gateway(&client, &gateway.admin)));
        let told: Vec<_> = join_all(asked).await.into_iter().flatten().flatten().collect();
        let leads = told
            .iter()
            .find(|told| told.own.leader.as_ref() == Some(&told.name));
        if let Some(leader) = leads {
            return Ok(leader.name.clone());
        }
        if Instant::now() >= until {
            return Err(TargetError::NoLeader(region.to_owned()).into());
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

impl From<RunFileError> for Failure {
    fn from(error: RunFileError) -> Self {
        Self::environment(error)
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Refused(_) => Self::settings(error),
            _ => Self::environment(error),
        }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::NoRegion(..) | TargetError::NoProcess { .. } => Self::settings(error),
            _ => Self::environment(error),
        }
    }
}
