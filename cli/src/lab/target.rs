//! The target processes of a fault, and the actions on them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::process::{Pid, Signal, kill_process};

use super::clock::Offset;
use crate::fleet::child::hold_file;
use crate::folder::run_file::RunFile;

/// `leader@eu-west`, `standby@eu-west`, `agent-1@eu-west`, `nats@eu-west`, `agents@eu-west`,
/// `gateways@eu-west` or `all@eu-west`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    who: String,
    region: String,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} names no process; write WHO@REGION, for example leader@eu-west or agent-1@eu-west")]
pub(crate) struct NotATarget(String);

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        match text.split_once('@') {
            Some((who, region)) if !who.is_empty() && !region.is_empty() => Ok(Self {
                who: who.to_owned(),
                region: region.to_owned(),
            }),
            _ => Err(NotATarget(text.to_owned())),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.who, self.region)
    }
}

/// A process of a running folder.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) region: String,
    pub(crate) name: String,
    pub(crate) pid: u32,
    clock_file: Option<PathBuf>,
}

/// Why a fault was not injected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("no region {0} runs here; the regions are: {1}")]
    NoRegion(String, String),
    #[error("no process {target} runs here; in that region there are: {known}")]
    NoProcess { target: Target, known: String },
    #[error("no gateway of {0} leads; waited for 5 s")]
    NoLeader(String),
    #[error("{name} of {region} is down at the moment")]
    Down { region: String, name: String },
    #[error("{name} of {region} has no clock file: only agents and gateways have one")]
    NoClock { region: String, name: String },
    #[error("the signal to {name} of {region} failed")]
    Signal {
        region: String,
        name: String,
        #[source]
        source: rustix::io::Errno,
    },
    #[error("{path} cannot be written")]
    Unwritable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

pub(crate) fn known(run: &RunFile) -> String {
    run.regions.keys().cloned().collect::<Vec<_>>().join(", ")
}

impl Target {
    pub(crate) fn new(who: &str, region: &str) -> Self {
        Self {
            who: who.to_owned(),
            region: region.to_owned(),
        }
    }

    /// The region whose leader must be known to resolve the target.
    pub(crate) fn wants_leader(&self) -> Option<&str> {
        matches!(self.who.as_str(), "leader" | "standby").then_some(self.region.as_str())
    }

    /// The target processes, at least one.
    pub(crate) fn resolve(&self, run: &RunFile, leader: Option<&str>) -> Result<Vec<Process>, TargetError> {
        let processes = of_region(run, &self.region)?;
        let names: Vec<&str> = processes.iter().map(|process| process.name.as_str()).collect();
        let known = names.join(", ");
        let meant = |name: &str| match self.who.as_str() {
            "all" => true,
            "agents" => name.starts_with("agent-"),
            "gateways" => name.starts_with("gateway-"),
            "leader" => Some(name) == leader,
            "standby" => name.starts_with("gateway-") && Some(name) != leader,
            who => name == who,
        };
        let meant: Vec<Process> = processes
            .into_iter()
            .filter(|process| meant(&process.name))
            .collect();
        if meant.is_empty() {
            return Err(TargetError::NoProcess {
                target: self.clone(),
                known,
            });
        }
        Ok(meant)
    }
}

fn of_region(run: &RunFile, region: &str) -> Result<Vec<Process>, TargetError> {
    let unknown = || TargetError::NoRegion(region.to_owned(), known(run));
    let found = run.regions.get(region).ok_or_else(unknown)?;
    let process = |name: &str, pid, clock_file: Option<&PathBuf>| Process {
        region: region.to_owned(),
        name: name.to_owned(),
        pid,
        clock_file: clock_file.cloned(),
    };
    let agents = found
        .agents
        .iter()
        .map(|agent| process(&agent.name, agent.pid, Some(&agent.clock_file)));
    let gateways = found
        .gateways
        .iter()
        .map(|gateway| process(&gateway.name, gateway.pid, Some(&gateway.clock_file)));
    let nats = process("nats", found.nats.pid, None);
    Ok(agents.chain(gateways).chain([nats]).collect())
}

impl Process {
    pub(crate) fn kill(&self) -> Result<(), TargetError> {
        self.signal(Signal::KILL)
    }

    pub(crate) fn end(&self) -> Result<(), TargetError> {
        self.signal(Signal::TERM)
    }

    pub(crate) fn pause(&self) -> Result<(), TargetError> {
        self.signal(Signal::STOP)
    }

    pub(crate) fn go_on(&self) -> Result<(), TargetError> {
        self.signal(Signal::CONT)
    }

    /// Holds the process down, then kills it if it runs.
    pub(crate) fn take_down(&self, dir: &Path) -> Result<(), TargetError> {
        let path = hold_file(&dir.join(&self.region), &self.name);
        std::fs::write(&path, "kept down by isthmus lab\n")
            .map_err(|source| TargetError::Unwritable { path, source })?;
        match self.kill() {
            Err(TargetError::Down { .. }) => Ok(()),
            done => done,
        }
    }

    pub(crate) fn release(&self, dir: &Path) -> Result<(), TargetError> {
        let path = hold_file(&dir.join(&self.region), &self.name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(TargetError::Unwritable { path, source })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn put_clock(&self, offset: &Offset) -> Result<(), TargetError> {
        let Some(path) = &self.clock_file else {
            return Err(TargetError::NoClock {
                region: self.region.clone(),
                name: self.name.clone(),
            });
        };
        let draft = path.with_extension("clock.new");
        std::fs::write(&draft, format!("{offset}\n"))
            .and_then(|()| std::fs::rename(&draft, path))
            .map_err(|source| TargetError::Unwritable {
                path: path.clone(),
                source,
            })
    }

    fn signal(&self, signal: Signal) -> Result<(), TargetError> {
        let (region, name) = (self.region.clone(), self.name.clone());
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else {
            return Err(TargetError::Down { region, name });
        };
        kill_process(pid, signal).map_err(|source| TargetError::Signal { region, name, source })
    }
}
