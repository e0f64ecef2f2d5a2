//! `isthmus completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::failure::Failure;
use crate::output;

/// Print the completions of a shell, for it to read at its start
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  isthmus completions bash > /etc/bash_completion.d/isthmus\n  isthmus completions fish > ~/.config/fish/completions/isthmus.fish"
)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Into memory first: writing to a closed output would panic here.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "isthmus", &mut script);
        output::script(&script)
    }
}
