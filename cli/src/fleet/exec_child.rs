//! `isthmus exec-child`: becomes another program, which the kernel kills when its parent ends, even
//! if the parent is killed.
//!
//! It asks the kernel for SIGKILL at the parent's death, checks that the parent has not ended
//! before that, and executes the program in its own place. The request survives the execution.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use clap::Args;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Name of the hidden subcommand.
pub const NAME: &str = "exec-child";

/// Arguments of `exec-child`.
#[derive(Args, Debug)]
pub struct ExecChild {
    /// The process that must be alive
    #[arg(long)]
    parent: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Why the program was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The kernel refused the parent-death signal.
    #[error("the parent-death signal cannot be set")]
    DeathSignal(#[source] rustix::io::Errno),
    /// The parent has ended already.
    #[error("the parent {0} has ended")]
    Orphan(u32),
    /// No program was named.
    #[error("no program was named")]
    NoProgram,
    /// The program cannot be executed.
    #[error("{program:?} cannot be executed")]
    Exec {
        /// The program.
        program: OsString,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl ExecChild {
    /// Becomes the program. Returns only if that fails.
    pub fn run(self) -> ExecError {
        if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
            return ExecError::DeathSignal(error);
        }
        let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
        if parent != self.parent {
            return ExecError::Orphan(self.parent);
        }
        let Some((program, arguments)) = self.command.split_first() else {
            return ExecError::NoProgram;
        };
        let source = Command::new(program).args(arguments).exec();
        ExecError::Exec {
            program: program.clone(),
            source,
        }
    }
}

/// This program itself, even if its file has been replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The command that runs `program` through `isthmus exec-child`, as a child of this process.
pub fn wrap(program: &Path) -> Command {
    let mut command = Command::new(THIS_PROGRAM);
    command
        .arg(NAME)
        .arg("--parent")
        .arg(std::process::id().to_string())
        .arg("--")
        .arg(program);
    command
}
