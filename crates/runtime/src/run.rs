//! The life of a process: arguments, settings, telemetry, assembly, signals, drain, exit code.

use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::events::Events;
use crate::health::{Health, Probe};
use crate::metrics::Metrics;
use crate::printable;
use crate::random;
use crate::reload::{Files, reload};
use crate::service;
use crate::settings::{Environment, Settings, SettingsError};
use crate::supervise::Supervisor;
use crate::telemetry::{Telemetry, Tracer};
use crate::version;
use crate::{open_files, private};

/// Exit code for arguments or settings with which a process can't start (`EX_USAGE` of sysexits).
const EXIT_SETTINGS: u8 = 64;
/// Exit code if something that the process needs from its machine or region is missing.
const EXIT_ENVIRONMENT: u8 = 1;
/// Maximum number of concurrent tasks of a process.
const TASKS: usize = 16_384;
/// Time limit for sending the last spans.
const FLUSH: Duration = Duration::from_secs(2);

/// The description of a binary.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The name of the binary, such as `isthmus-gateway`.
    pub name: &'static str,
    /// One sentence for `--help`.
    pub about: &'static str,
    /// An example command line, for `--help`.
    pub example: &'static str,
}

/// The parts of a process. Clones share them.
#[derive(Debug)]
pub struct Process<S> {
    /// Its settings, as read at the start.
    pub settings: Arc<S>,
    /// Its clocks.
    pub clock: Clock,
    /// Its tasks.
    pub supervisor: Supervisor,
    /// Its conditions.
    pub health: Health,
    /// Its events.
    pub events: Events,
    /// Its metrics.
    pub metrics: Metrics,
    /// Its traces.
    pub tracer: Tracer,
    /// The settings as last read.
    pub(crate) reloaded: Arc<watch::Sender<Arc<S>>>,
}

impl<S> Clone for Process<S> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            clock: self.clock.clone(),
            supervisor: self.supervisor.clone(),
            health: self.health.clone(),
            events: self.events.clone(),
            metrics: self.metrics.clone(),
            tracer: self.tracer.clone(),
            reloaded: Arc::clone(&self.reloaded),
        }
    }
}

impl<S> Process<S> {
    /// A process without any tasks.
    #[must_use]
    pub fn new(settings: S, clock: Clock, metrics: Metrics, tracer: Tracer) -> Self {
        let settings = Arc::new(settings);
        let events = Events::new(clock.clone());
        events.register(&metrics);
        Self {
            reloaded: Arc::new(watch::Sender::new(Arc::clone(&settings))),
            settings,
            clock,
            supervisor: Supervisor::new(TASKS),
            health: Health::new(),
            events,
            metrics,
            tracer,
        }
    }
}

/// Runs a process to its end. `assemble` starts its tasks and returns; the process lives until a
/// signal or until an essential task has ended, then drains. Exit codes: 0 after a signal, 64 for
/// arguments and settings, 1 for the environment.
pub fn run<S, F, T>(program: Program, assemble: F) -> ExitCode
where
    S: Settings,
    F: FnOnce(Process<S>) -> T,
    T: Future<Output = anyhow::Result<()>>,
{
    let arguments = match Arguments::parse(program, std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print().ok();
            return if error.use_stderr() {
                ExitCode::from(EXIT_SETTINGS)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let outcome = match S::load(&arguments.settings, &Environment::of_process()) {
        Ok(settings) if arguments.check => report_check(&arguments.settings, &settings),
        Ok(settings) => start(program, &arguments.settings, settings, assemble),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = if error.is::<SettingsError>() {
                EXIT_SETTINGS
            } else {
                EXIT_ENVIRONMENT
            };
            tell(&mut std::io::stderr(), &format!("{}: {error:#}", program.name));
            ExitCode::from(code)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    settings: PathBuf,
    check: bool,
}

impl Arguments {
    fn parse(program: Program, arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let settings = Arg::new("settings")
            .long("settings")
            .value_name("FILE")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("The settings file; ISTHMUS_* variables override its keys");
        let check = Arg::new("check")
            .long("check")
            .action(ArgAction::SetTrue)
            .help("Check the settings and exit: 0 if they are valid, 64 if they are not");
        let mut found = Command::new(program.name)
            .version(version())
            .about(program.about)
            .after_help(format!("Example:\n  {}", program.example))
            .arg(settings)
            .arg(check)
            .try_get_matches_from(arguments)?;
        let settings = found.remove_one("settings").unwrap_or_default();
        Ok(Self {
            settings,
            check: found.get_flag("check"),
        })
    }
}

fn report_check<S: Settings>(path: &Path, settings: &S) -> anyhow::Result<()> {
    let process = settings.process();
    let (set, region) = (&process.set, &process.region);
    let report = format!(
        "{}: valid (set {} generation {}, region {region})",
        path.display(),
        set.name,
        set.generation
    );
    tell(&mut std::io::stdout(), &report);
    Ok(())
}

/// Writes `text`, which may have several lines. A closed pipe is not an error.
fn tell(to: &mut impl Write, text: &str) {
    writeln!(to, "{}", printable::lines(text)).ok();
}

fn start<S, F, T>(program: Program, path: &Path, settings: S, assemble: F) -> anyhow::Result<()>
where
    S: Settings,
    F: FnOnce(Process<S>) -> T,
    T: Future<Output = anyhow::Result<()>>,
{
    private::by_default();
    open_files::raise();
    random::bits()?;
    let clock = Clock::from_environment(&settings.listeners())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(live(program, path, settings, clock, assemble));
    runtime.shutdown_timeout(FLUSH);
    outcome
}

async fn live<S, F, T>(
    program: Program,
    path: &Path,
    settings: S,
    clock: Clock,
    assemble: F,
) -> anyhow::Result<()>
where
    S: Settings,
    F: FnOnce(Process<S>) -> T,
    T: Future<Output = anyhow::Result<()>>,
{
    let signals = Signals::listen()?;
    let metrics = Metrics::new(program.name, version());
    let telemetry = Telemetry::start(program.name, settings.process(), &metrics)?;
    let process = Process::new(settings, clock, metrics, telemetry.tracer());
    let settings = process.settings.process();
    let (set, digest) = (&settings.set.name, &settings.set.digest);
    tracing::info!(version = version(), name = %settings.name, region = %settings.region, %set, %digest, "starting");
    let outcome = run_until_signal(path, &process, &telemetry, assemble(process.clone()), signals).await;
    telemetry.finish(FLUSH).await;
    outcome
}

async fn run_until_signal<S: Settings>(
    path: &Path,
    process: &Process<S>,
    telemetry: &Telemetry,
    assembly: impl Future<Output = anyhow::Result<()>>,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let running = process.health.condition("running", &[Probe::Read, Probe::Write]);
    let failed = async {
        if let Err(error) = assembly.await {
            return error;
        }
        running.met();
        service::ready();
        process.supervisor.failed().await.into()
    };
    let set = process.settings.process().set.document().path().to_owned();
    let files = Files::new(vec![path.to_owned(), set]).await;
    let read_again = || service::reloading(|| reload(path, process, telemetry));
    let outcome = tokio::select! {
        error = failed => Err(error),
        never = service::keep(&process.health) => match never {},
        signal = signals.stop_or(files, read_again) => {
            tracing::info!(signal, "stopping");
            Ok(())
        }
    };
    running.unmet("draining");
    service::stopping();
    let within = process.current().process().drain;
    tokio::select! {
        abandoned = process.supervisor.drain(within) => tracing::info!(abandoned = abandoned.len(), "stopped"),
        signal = signals.stop() => tracing::warn!(signal, "stopping without draining"),
    }
    outcome
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal to stop. Before that it calls `reload` at each SIGHUP and when one of
    /// `files` has changed.
    async fn stop_or(&mut self, mut files: Files, reload: impl Fn()) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                Some(()) = self.hangup.recv() => files.reload_changed().await,
                () = files.changed() => {}
            }
            reload();
        }
    }

    /// Waits for a signal to stop.
    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PROGRAM: Program = Program {
        name: "isthmus-test",
        about: "Does nothing.",
        example: "isthmus-test --settings test.yaml",
    };

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::parse(
            PROGRAM,
            std::iter::once("isthmus-test")
                .chain(arguments.iter().copied())
                .map(OsString::from),
        )
    }

    #[test]
    fn arguments_name_the_settings() {
        let expected = Arguments {
            settings: "a.yaml".into(),
            check: true,
        };
        assert_eq!(parse(&["--settings", "a.yaml", "--check"]).unwrap(), expected);
    }

    #[test]
    fn missing_and_unknown_arguments_are_errors_and_help_is_not() {
        for bad in [
            &[][..],
            &["--settings"],
            &["--settings", "a", "--nonsense"],
            &["a.yaml"],
        ] {
            assert!(parse(bad).unwrap_err().use_stderr(), "{bad:?}");
        }
        let help = parse(&["--help"]).unwrap_err();
        assert!(!help.use_stderr());
        assert!(
            help.to_string()
                .contains("Example:\n  isthmus-test --settings test.yaml")
        );
    }
}
