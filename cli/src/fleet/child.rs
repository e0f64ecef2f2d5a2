//! One supervised process: started, logged, restarted when it ends, and stopped in order.

use std::fmt;
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

use super::restarts::{ATTEMPTS, EverReady, Next, Restarts};
use super::run_state::RunState;
use super::spawner::Spawner;
use super::{exec_child, last_words};
use crate::output::note;

const LOOK_FOR_HOLD: Duration = Duration::from_millis(100);
/// Longer than the 10 s that a process may drain by default.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// How far the shutdown of a fleet has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// All processes run.
    Running,
    /// Agents and gateways are stopped.
    Ending,
    /// NATS servers are stopped too.
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
    /// Whether it has been ready.
    pub ever_ready: EverReady,
}

/// A process ended without being stopped, or could not be started.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// What happened: `ended with exit code 1`.
    pub what: String,
    /// What the supervisor does next.
    pub next: Next,
    /// Where its output is.
    pub log: PathBuf,
    /// The last lines of its output, if they may give the reason.
    pub said: Option<String>,
}

#[derive(Debug)]
enum End {
    Exit(ExitStatus),
    NotStarted(io::Error),
    Unobserved(io::Error),
}

/// What a supervised process needs from its fleet.
#[derive(Debug)]
pub struct Supervision {
    /// Starts processes.
    pub spawner: Spawner,
    /// Records its process id.
    pub run_state: Arc<RunState>,
    /// Receives its events.
    pub events: mpsc::Sender<Event>,
    /// How far the shutdown has come.
    pub stage: watch::Receiver<Stage>,
    /// The stage at which this process is stopped.
    pub ends_at: Stage,
}

/// The hold file of the process `name`: while it exists, the process is not started. `isthmus lab
/// DIR down` writes it.
pub fn hold_file(region_folder: &Path, name: &str) -> PathBuf {
    region_folder.join(format!("{name}.hold"))
}

/// The file that the output of the process `name` goes to.
pub fn log_file(region_folder: &Path, name: &str) -> PathBuf {
    region_folder.join(format!("{name}.log"))
}

impl Child {
    /// Runs the process until the fleet reaches its stage, and restarts it after an end as
    /// [`Restarts`] decides.
    pub async fn supervise(self, supervision: Supervision) {
        let Supervision {
            spawner,
            run_state,
            events,
            mut stage,
            ends_at,
        } = supervision;
        let ended = wait_for(&mut stage, ends_at);
        tokio::pin!(ended);
        let mut restarts = Restarts::default();
        loop {
            tokio::select! {
                () = &mut ended => return,
                () = self.released() => {}
            }
            let said_before = last_words::length(&self.log());
            let Some(end) = self.run(&spawner, &run_state, &mut ended).await else {
                return;
            };
            let held = hold_file(&self.folder, &self.name).exists();
            let next = restarts.after_end(end.exit_code(), held, self.ever_ready.was_noted());
            if events.send(self.event(&end, next, said_before)).await.is_err() {
                return;
            }
            match next {
                Next::Down | Next::GivenUp => return,
                Next::Held => {}
                Next::Again(pause) => tokio::select! {
                    () = &mut ended => return,
                    () = sleep(pause) => {}
                },
            }
        }
    }

    /// Runs the process once. `None` means that it was stopped because `stop` completed.
    async fn run(
        &self,
        spawner: &Spawner,
        run_state: &RunState,
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> Option<End> {
        let note = |pid| {
            if let Err(error) = run_state.note_pid(&self.region, &self.name, pid) {
                note(format_args!("isthmus: {error}"));
            }
        };
        let started = match self.command() {
            Ok(command) => spawner.spawn(command).await,
            Err(error) => Err(error),
        };
        let mut process = match started {
            Ok(process) => process,
            Err(error) => return Some(End::NotStarted(error)),
        };
        note(process.id().unwrap_or(0));
        let end = tokio::select! {
            status = process.wait() => Some(status.map_or_else(End::Unobserved, End::Exit)),
            () = stop => {
                end(&mut process).await;
                None
            }
        };
        note(0);
        end
    }

    async fn released(&self) {
        let hold = hold_file(&self.folder, &self.name);
        while hold.exists() {
            sleep(LOOK_FOR_HOLD).await;
        }
    }

    fn command(&self) -> io::Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
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

    fn log(&self) -> PathBuf {
        log_file(&self.folder, &self.name)
    }

    /// Leaves out the last lines of a process that a signal ended after it was ready: they do not
    /// explain the end.
    fn event(&self, end: &End, next: Next, said_before: u64) -> Event {
        let log = self.log();
        let telling = end.exit_code().is_some() || !self.ever_ready.was_noted();
        let said = telling.then(|| last_words::since(&log, said_before)).flatten();
        Event {
            region: self.region.clone(),
            name: self.name.clone(),
            what: end.to_string(),
            next,
            log,
            said,
        }
    }
}

impl End {
    fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exit(status) => status.code(),
            Self::NotStarted(_) | Self::Unobserved(_) => None,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "ended with exit code {code}"),
                (None, Some(signal)) => write!(f, "ended by signal {signal}"),
                (None, None) => f.write_str("ended without an exit code"),
            },
            Self::NotStarted(error) => write!(f, "could not be started ({error})"),
            Self::Unobserved(error) => write!(f, "could not be waited for ({error})"),
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

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            region,
            name,
            what,
            next,
            log,
            said,
        } = self;
        write!(f, "{name} of {region} {what}")?;
        match next {
            Next::Again(pause) => write!(
                f,
                "; it is started again after {}",
                humantime::format_duration(*pause)
            )?,
            Next::Held => f.write_str("; it is kept down")?,
            Next::Down => f.write_str(" and stays down")?,
            Next::GivenUp => write!(
                f,
                " for the {ATTEMPTS}th time before it was ever ready, and stays down"
            )?,
        }
        match said {
            Some(said) => write!(f, "; {} ends with: {said}", log.display()),
            None if matches!(next, Next::Down | Next::GivenUp) => {
                write!(f, "; its output is in {}", log.display())
            }
            None => Ok(()),
        }
    }
}
