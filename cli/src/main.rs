//! `isthmus`: the operator's command line.

use std::process::ExitCode;

use clap::Parser;
use isthmus_cli::failure::Code;
use isthmus_cli::output::{failed, usage};
use isthmus_cli::{Cli, run};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if usage(&error) => return ExitCode::SUCCESS,
        Err(_) => return Code::Settings.into(),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_output() => ExitCode::SUCCESS,
        Err(failure) => {
            failed("isthmus", &failure);
            failure.code.into()
        }
    }
}
