//! Running `isthmus` as a shell does.
#![allow(dead_code, clippy::unwrap_used)]

use std::process::{Command, Output};

pub fn isthmus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isthmus"))
        .args(arguments)
        .output()
        .unwrap()
}

/// What a command wrote to standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What it wrote to standard output.
pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
