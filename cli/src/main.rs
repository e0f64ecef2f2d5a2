//! `isthmus`: the operator's command line.

use std::process::ExitCode;

use clap::Parser;
use isthmus_cli::failure::Code;
use isthmus_cli::{Cli, run};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for_help = !error.use_stderr();
            if error.print().is_err() || !asked_for_help {
                return Code::Settings.into();
            }
            return ExitCode::SUCCESS;
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_output() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("isthmus: {failure}");
            failure.code.into()
        }
    }
}
