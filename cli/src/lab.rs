//! Faults in a running folder: in its network, its processes and their clocks.

pub(crate) mod clock;
pub(crate) mod target;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use isthmus_wan::{Command, ControlClient, ControlError};
use tokio::time::{sleep, timeout};

use crate::client::{http, status};
use crate::failure::Failure;
use crate::folder::control_secret;
use crate::folder::run_file::{RunFile, RunFileError};
use clock::Offset;
use target::{Process, Target, TargetError};

const LEADER_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A fault, or its heal.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A fault of the network between the regions.
    Network(Command),
    Processes(Act, Target),
}

/// An action on a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// SIGKILL; it is started again.
    Kill,
    /// SIGTERM; it is started again.
    End,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Cont,
    /// SIGKILL; it stays down until [`Act::Start`].
    Down,
    /// A process that is held down is started.
    Start,
    /// Its wall time gets this offset.
    Clock(Offset),
}

/// An action that was taken on a process.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// The action, in the past tense.
    pub(crate) what: &'static str,
    /// The process as it was before.
    pub(crate) process: Process,
}

/// Injects a fault into the processes that run in `dir`, and returns the processes that it acted
/// on.
pub(crate) async fn put(dir: &Path, fault: &Fault) -> Result<Vec<Done>, Failure> {
    match fault {
        Fault::Network(command) => {
            let run = RunFile::of_running(dir)?;
            control(dir, &run).await?.send(command).await?;
            Ok(Vec::new())
        }
        Fault::Processes(act, target) => processes(dir, act, target).await,
    }
}

/// The control door of the network that runs in `dir`.
pub(crate) async fn control(dir: &Path, run: &RunFile) -> Result<ControlClient, Failure> {
    let door = run
        .wan
        .control
        .ok_or_else(|| Failure::settings("this folder has no network between regions"))?;
    let secret = control_secret::read(dir).map_err(Failure::environment)?;
    Ok(ControlClient::connect(door, &secret).await?)
}

async fn processes(dir: &Path, act: &Act, target: &Target) -> Result<Vec<Done>, Failure> {
    let leader = match target.wants_leader() {
        Some(region) => Some(leader_of(dir, region).await?),
        None => None,
    };
    let run = RunFile::of_running(dir)?;
    let mut done = Vec::new();
    for process in target.resolve(&run, leader.as_deref())? {
        let what = process_act(&process, dir, act)?;
        done.push(Done { what, process });
    }
    Ok(done)
}

fn process_act(process: &Process, dir: &Path, act: &Act) -> Result<&'static str, TargetError> {
    match act {
        Act::Kill => process.kill().map(|()| "killed"),
        Act::End => process.end().map(|()| "sent SIGTERM to"),
        Act::Stop => process.pause().map(|()| "paused"),
        Act::Cont => process.go_on().map(|()| "continued"),
        Act::Down => process.take_down(dir).map(|()| "took down"),
        Act::Start => process.release(dir).map(|()| "starting"),
        Act::Clock(offset) => process.put_clock(offset).map(|()| "set the clock of"),
    }
}

/// The leading gateway of a region: a running one that reports itself as leader. Waits for a
/// takeover.
async fn leader_of(dir: &Path, region: &str) -> Result<String, Failure> {
    let client = http::client();
    let until = Instant::now() + LEADER_WITHIN;
    loop {
        let run = RunFile::of_running(dir)?;
        let unknown = || TargetError::NoRegion(region.to_owned(), target::known(&run));
        let gateways = &run.regions.get(region).ok_or_else(unknown)?.gateways;
        let asked = gateways.iter().filter(|gateway| gateway.pid != 0);
        let asked = asked.map(|gateway| timeout(ANSWER_WITHIN, status::of_gateway(&client, &gateway.admin)));
        let all: Vec<_> = join_all(asked).await.into_iter().flatten().flatten().collect();
        let leads = all.iter().find(|status| status.names_itself_leader());
        if let Some(leader) = leads {
            return Ok(leader.name.clone());
        }
        if Instant::now() >= until {
            return Err(TargetError::NoLeader(region.to_owned()).into());
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, process } = self;
        write!(f, "{what} {} of {}", process.name, process.region)
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
