//! `isthmus up` and `isthmus demo` with a NATS server that does not start.
#![allow(clippy::unwrap_used, missing_docs)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod shell;

use shell::said;

fn program(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A NATS server that reports its version if asked for it; otherwise it prints why it ends, and
/// ends.
fn broken_server(folder: &Path, exit_code: u8) -> PathBuf {
    let server = folder.join("nats-server");
    let script = format!(
        "if [ \"$1\" = --version ]; then echo 'nats-server: v2.12.0'; exit; fi\n\
         echo starting\necho \"$(pwd) holds another version's data\"\necho '  fix: move it away'\nexit {exit_code}"
    );
    program(&server, &script);
    server
}

/// Runs a command with that server, and with stand-ins for agents and gateways.
fn isthmus(folder: &Path, exit_code: u8, arguments: &[&str]) -> Output {
    for name in ["isthmus-region-agent", "isthmus-gateway"] {
        program(&folder.join(name), "exit 1");
    }
    let path = std::env::var("PATH").unwrap();
    Command::new(env!("CARGO_BIN_EXE_isthmus"))
        .args(arguments)
        .env("ISTHMUS_NATS_SERVER", broken_server(folder, exit_code))
        .env("PATH", format!("{}:{path}", folder.display()))
        .output()
        .unwrap()
}

fn starts(region: &Path) -> usize {
    let log = std::fs::read_to_string(region.join("nats.log")).unwrap();
    log.matches("starting").count()
}

#[test]
fn up_gives_up_a_process_that_never_comes_up_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join("shop");
    let dir = shop.display().to_string();
    assert!(
        isthmus(folder.path(), 1, &["init", &dir, "--regions", "a"])
            .status
            .success()
    );
    let output = isthmus(folder.path(), 1, &["up", &dir, "--port-base", "auto"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let said = said(&output);
    for pause in ["500ms", "1s", "2s", "4s"] {
        let again = format!("nats of a ended with exit code 1; it is started again after {pause}; ");
        assert_eq!(said.matches(&again).count(), 1, "{again}: {said}");
    }
    let reason = "another version's data\n  fix: move it away";
    let end = &said[said.find("isthmus: nats of a").unwrap()..];
    assert!(end.contains("for the 5th time") && end.contains(reason), "{said}");
    assert_eq!(
        (said.matches(reason).count(), starts(&shop.join("a"))),
        (5, 5),
        "{said}"
    );
    assert!(!shop.join("run.json").exists());
}

#[test]
fn demo_gives_up_a_process_that_never_comes_up_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join("shop");
    let output = isthmus(folder.path(), 1, &["demo", "--dir", &shop.display().to_string()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let end = "for the 5th time before it was ever ready, and stays down";
    assert!(said(&output).contains(end), "{}", said(&output));
    assert!(said(&output).contains("fix: move it away"), "{}", said(&output));
}

#[test]
fn a_process_whose_settings_are_wrong_is_not_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join("shop");
    let dir = shop.display().to_string();
    isthmus(folder.path(), 64, &["init", &dir, "--regions", "a"]);
    let output = isthmus(folder.path(), 64, &["up", &dir, "--port-base", "auto"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("nats of a ended with exit code 64 and stays down"));
    let reason = "another version's data\n  fix: move it away";
    assert!(said(&output).contains(reason), "{}", said(&output));
    assert_eq!(starts(&shop.join("a")), 1);
}
