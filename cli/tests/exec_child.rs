//! A child under `isthmus exec-child` ends with its parent, even if the parent is killed.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use isthmus_cli::folder::run_file::alive;

const ISTHMUS: &str = env!("CARGO_BIN_EXE_isthmus");

#[test]
fn the_program_takes_the_place_of_the_wrapper() {
    let parent = std::process::id().to_string();
    let output = Command::new(ISTHMUS)
        .args([
            "exec-child",
            "--parent",
            &parent,
            "--",
            "sh",
            "-c",
            "echo $PPID; exit 7",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), parent);
}

#[test]
fn an_orphan_is_not_started() {
    let output = Command::new(ISTHMUS)
        .args(["exec-child", "--parent", "1", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has ended"));
}

#[test]
fn a_killed_parent_takes_its_child_along() {
    let script = format!("{ISTHMUS} exec-child --parent $$ -- sleep 600 & echo $!; wait");
    let mut parent = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let child: u32 = line.trim().parse().unwrap();
    wait_until("the wrapper has become sleep", || {
        command_of(child).starts_with("sleep")
    });
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("the child has ended", || {
        !alive(child) || state_of(child) == Some('Z')
    });
}

fn command_of(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn state_of(pid: u32) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit(')').next()?.trim().chars().next()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "within 20 s: {what}");
        sleep(Duration::from_millis(10));
    }
}
