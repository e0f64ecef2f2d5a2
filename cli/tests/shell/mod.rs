//! Runs `isthmus` as a shell does.
#![allow(dead_code, clippy::unwrap_used)]

use std::process::{Command, Output};

pub(crate) fn isthmus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isthmus"))
        .args(arguments)
        .output()
        .unwrap()
}

/// The standard error of a command.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The standard output of a command.
pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
