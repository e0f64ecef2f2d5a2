//! One supervised process: started, logged, started again when it dies, ended in order.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use std::os::unix::process::{CommandExt, ExitStatusExt};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::board::Board;
use super::exec_child;
use super::spawner::Spawner;
use crate::output::note;

const PAUSE_BEFORE_RESTART: Duration = Duration::from_millis(500);
const LOOK_FOR_HOLD: Duration = Duration::from_millis(100);
/// Longer than the 10 s that a process may drain by default.
const ENDS_WITHIN: Duration = Duration::from_secs(15);
const SETTINGS_ARE_WRONG: i32 = 64;

/// How far the end of a fleet has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Everything runs.
    Running,
    /// Agents and gateways end.
    Ending,
    /// NATS servers end too.
    Ended,
}

/// A process to run.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its region.
    pub region: String,
    /// Its name in the region: `agent-1`, `gateway-2`, `nats`.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables set beside the inherited ones.
    pub environment: Vec<(&'static str, String)>,
    /// The folder it runs in.
    pub folder: PathBuf,
}

/// What follows the death of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is started again.
    Again,
    /// It is held down until `isthmus lab DIR start`.
    Held,
    /// It stays down: exit code 64 says that its settings are wrong.
    Down,
}

/// What happened to a process.
#[derive(Clone, Debug)]
pub enum Event {
    /// It ended although nobody asked.
    Died {
        /// Its region.
        region: String,
        /// Its name.
        name: String,
        /// How: an exit code or a signal.
        how: String,
        /// What follows.
        next: Next,
        /// Where its output is.
        log: PathBuf,
    },
    /// It could not be started.
    NotStarted {
        /// Its region.
        region: String,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// What a supervised process needs from its fleet.
#[derive(Debug)]
pub struct Supervision {
    /// Starts processes.
    pub spawner: Spawner,
    /// Where its id is noted.
    pub board: Arc<Board>,
    /// Where events go.
    pub events: mpsc::Sender<Event>,
    /// How far the end has come.
    pub stage: watch::Receiver<Stage>,
    /// The stage at which this process ends.
    pub ends_at: Stage,
}

/// Where a process of `name` is held down: while the file exists it is not started. `isthmus lab DIR down` writes it.
pub fn hold_file(region_folder: &Path, name: &str) -> PathBuf {
    region_folder.join(format!("{name}.hold"))
}

/// Where the output of a process of `name` goes.
pub fn log_file(region_folder: &Path, name: &str) -> PathBuf {
    region_folder.join(format!("{name}.log"))
}

impl Child {
    /// Runs the process until its stage has come; starts it again 500 ms after a death.
    pub async fn supervise(self, supervision: Supervision) {
        let Supervision {
            spawner,
            board,
            events,
            mut stage,
            ends_at,
        } = supervision;
        let ended = wait_for(&mut stage, ends_at);
        tokio::pin!(ended);
        let note = |pid| {
            if let Err(error) = board.note_pid(&self.region, &self.name, pid) {
                note(format_args!("isthmus: {error}"));
            }
        };
        loop {
            tokio::select! {
                () = &mut ended => return,
                () = self.released() => {}
            }
            let started = match self.command() {
                Ok(command) => spawner.spawn(command).await,
                Err(error) => Err(error),
            };
            let (event, next) = match started {
                Ok(mut process) => {
                    note(process.id().unwrap_or(0));
                    let status = tokio::select! {
                        status = process.wait() => status,
                        () = &mut ended => {
                            end(&mut process).await;
                            note(0);
                            return;
                        }
                    };
                    note(0);
                    self.died(&status)
                }
                Err(error) => (self.not_started(&error), Next::Again),
            };
            if events.send(event).await.is_err() || next == Next::Down {
                return;
            }
            tokio::select! {
                () = &mut ended => return,
                () = sleep(PAUSE_BEFORE_RESTART) => {}
            }
        }
    }

    async fn released(&self) {
        let hold = hold_file(&self.folder, &self.name);
        while hold.exists() {
            sleep(LOOK_FOR_HOLD).await;
        }
    }

    fn command(&self) -> io::Result<Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log_file(&self.folder, &self.name))?;
        let mut command = exec_child::wrap(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        Ok(command)
    }

    fn died(&self, status: &io::Result<ExitStatus>) -> (Event, Next) {
        let next = match status {
            Ok(status) if status.code() == Some(SETTINGS_ARE_WRONG) => Next::Down,
            _ if hold_file(&self.folder, &self.name).exists() => Next::Held,
            _ => Next::Again,
        };
        let how = match status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("with exit code {code}"),
                (None, Some(signal)) => format!("by signal {signal}"),
                (None, None) => "without a word".to_owned(),
            },
            Err(error) => format!("unobserved: {error}"),
        };
        let (region, name) = (self.region.clone(), self.name.clone());
        (
            Event::Died {
                region,
                name,
                how,
                next,
                log: log_file(&self.folder, &self.name),
            },
            next,
        )
    }

    fn not_started(&self, error: &io::Error) -> Event {
        Event::NotStarted {
            region: self.region.clone(),
            name: self.name.clone(),
            reason: error.to_string(),
        }
    }
}

async fn wait_for(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    if stage.wait_for(|stage| *stage >= wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn end(process: &mut tokio::process::Child) {
    let pid = process
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let asked = pid.is_some_and(|pid| {
        kill_process(pid, Signal::TERM).is_ok() && kill_process(pid, Signal::CONT).is_ok()
    });
    if asked && timeout(ENDS_WITHIN, process.wait()).await.is_ok() {
        return;
    }
    if let Err(error) = process.kill().await {
        note(format_args!("isthmus: a process could not be killed: {error}"));
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Died {
                region,
                name,
                how,
                next,
                log,
            } => {
                write!(f, "{name} of {region} ended {how}")?;
                match next {
                    Next::Again => f.write_str("; it is started again"),
                    Next::Held => f.write_str("; it is held down"),
                    Next::Down => write!(f, " and stays down; {} says why", log.display()),
                }
            }
            Self::NotStarted { region, name, reason } => {
                write!(f, "{name} of {region} could not be started: {reason}")
            }
        }
    }
}
