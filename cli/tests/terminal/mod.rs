//! Text from other sources is shown, and a terminal never acts on it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::fake::{Door, problem};
use crate::shell::{isthmus, printed, said};
use crate::{file, running};

/// Clears the screen, sets colours, reverses and hides text, ends the line in every way, and forges
/// a line.
const EVIL: &str = "a\x1b[2J\u{9b}31m\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\u{85}\x7f\x08\0\r\nforged";

/// Checks that a terminal would show each character and act on none, and that no line is forged.
#[track_caller]
fn is_harmless(text: &str) {
    for line in text.split('\n') {
        assert!(!line.trim_start().starts_with("forged"), "{text:?}");
        let bad = line.chars().find(|c| {
            c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        });
        assert_eq!(bad, None, "{text:?}");
    }
}

#[track_caller]
fn shows_harmlessly(output: &Output) {
    let text = printed(output) + &said(output);
    is_harmless(&text);
    assert!(text.contains("\\u{1b}[2J"), "it does not show it: {text:?}");
}

/// The status of a hostile gateway: names are names, other texts are arbitrary.
fn gateway() -> Value {
    let report = json!({
        "leader": "g", "epoch": { "life": "1-a", "revision": 1 },
        "members": [{ "role": "oracle", "name": "g" }],
        "agents": [{ "name": "g" }],
        "links": [{ "peer": "b", "state": "dreaming", "last_error": EVIL }],
    });
    json!({
        "process": "gateway", "name": "g", "region": "a",
        "lag": [{ "origin": "a", "peer": "b", "group": "default", "state": "lost", "reason": EVIL, "delay_ms": 1.0 }],
        "regions": { "a": report, "b": { "unreadable": EVIL }, "c": { "leader": EVIL } },
    })
}

fn set_aside() -> Value {
    json!({
        "id": EVIL, "at": EVIL, "origin": EVIL, "reason": EVIL, "bucket": EVIL, "key": EVIL, "content": EVIL, "bytes": 1,
        "value": EVIL, "dropped": EVIL, "restored": { "version": EVIL },
    })
}

#[test]
fn what_others_say_is_escaped_and_json_is_exact() {
    let event = json!({ "at_ms": 1, "region": EVIL, "process": EVIL, "severity": EVIL, "kind": EVIL, "message": EVIL });
    let finding = json!({ "check": EVIL, "of": EVIL, "verdict": "fail", "found": EVIL, "mend": EVIL });
    let written = json!({ "version": EVIL, "session": EVIL, "regions": [EVIL], "superseded": false });
    let evil_finding = |finding: &Value| {
        let mut evil_finding = finding.clone();
        evil_finding["region"] = EVIL.into();
        evil_finding["process"] = EVIL.into();
        json!([evil_finding])
    };
    let list = json!({ "key": EVIL, "version": EVIL });
    let cases = [
        (vec!["kv", "list", "b"], json!({ "keys": [list] }), list.clone()),
        (vec!["kv", "put", "b/k", "v"], written.clone(), written.clone()),
        (vec!["events"], json!({ "events": [event] }), json!([event])),
        (
            vec!["aside", "list"],
            json!({ "entries": [set_aside()] }),
            json!([set_aside()]),
        ),
        (vec!["aside", "show", "id"], set_aside(), set_aside()),
        (vec!["aside", "restore", "id"], set_aside(), set_aside()),
        (vec!["aside", "drop", "id"], set_aside(), set_aside()),
        (
            vec!["doctor"],
            json!({ "region": EVIL, "process": EVIL, "findings": [finding] }),
            evil_finding(&finding),
        ),
    ];
    for (arguments, answer, exactly) in cases {
        let door = Door::always(200, &answer);
        let arguments = [&arguments[..], &["--via", &door.url]].concat();
        shows_harmlessly(&isthmus(&arguments));
        let output = isthmus(&[&arguments[..], &["--json"]].concat());
        is_harmless(&(printed(&output) + &said(&output)));
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(read, exactly, "{arguments:?}");
    }
}

#[test]
fn a_status_is_escaped_and_exact_and_has_names_only() {
    let door = Door::always(200, &gateway());
    let output = isthmus(&["status", "--via", &door.url]);
    assert!(output.status.success(), "{}", said(&output));
    shows_harmlessly(&output);
    let output = isthmus(&["status", "--via", &door.url, "--json"]);
    is_harmless(&(printed(&output) + &said(&output)));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read["lag"][0]["reason"], EVIL);
    assert_eq!(read["regions"]["a"]["links"][0]["last_error"], EVIL);
    assert_eq!(read["regions"]["b"]["unreadable"], EVIL);
    for field in ["name", "region", "leader", "set_digest"] {
        let mut gateway = gateway();
        gateway[field] = EVIL.into();
        let door = Door::always(200, &gateway);
        let output = isthmus(&["status", "--via", &door.url]);
        assert_eq!(output.status.code(), Some(64), "{}", said(&output));
        is_harmless(&(printed(&output) + &said(&output)));
    }
}

#[test]
fn an_error_repeats_what_a_server_said_in_one_line() {
    let code = format!("invalid_{EVIL}");
    let detail = json!({ "code": code, "detail": EVIL, "retryable": false }).to_string();
    let agent = json!({ "process": "agent", "name": EVIL, "region": EVIL }).to_string();
    for body in [detail, EVIL.to_owned()] {
        let said_body = body.clone();
        let door = Door::open(move |_| (400, said_body.clone()));
        for arguments in [
            &["status"][..],
            &["kv", "get", "b/k"],
            &["kv", "list", "b"],
            &["events"],
            &["aside", "list"],
            &["aside", "show", "id"],
            &["doctor"],
        ] {
            let output = isthmus(&[arguments, &["--via", &door.url]].concat());
            assert!(!output.status.success(), "{arguments:?}");
            shows_harmlessly(&output);
        }
    }
    let door = Door::open(move |_| (200, agent.clone()));
    let output = isthmus(&["status", "--via", &door.url]);
    is_harmless(&(printed(&output) + &said(&output)));
    // A list of events that one process alone reports, and the reason.
    let door = Door::always(200, &json!({ "events": [], "reason": EVIL }));
    shows_harmlessly(&isthmus(&["events", "--via", &door.url]));
}

#[test]
fn what_files_and_folders_hold_is_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let rows = file(
        folder.path(),
        "rows.ndjson",
        &format!("{}\n", json!({ "id": EVIL })),
    );
    let door = Door::of_batches(|_| {
        let mut answer = problem(400, "invalid_key");
        answer["detail"] = EVIL.into();
        answer
    });
    shows_harmlessly(&isthmus(&["load", &rows, "--via", &door.url]));
    let absent = Door::of_batches(|_| problem(404, "not_found"));
    shows_harmlessly(&isthmus(&[
        "compare",
        &rows,
        "--wait",
        "0s",
        "--via",
        &absent.url,
    ]));
    let columns = file(
        folder.path(),
        "rows.csv",
        &format!("id,\"{}\"\n1,a\n", EVIL.replace('\0', "")),
    );
    shows_harmlessly(&isthmus(&[
        "load", &columns, "--key", "nosuch", "--via", &door.url,
    ]));
    let settings = file(
        folder.path(),
        "gateway.yaml",
        "set: set.yaml\n\"a\\e[2J\\nforged\": 1\n",
    );
    shows_harmlessly(&isthmus(&["config", "check", &settings]));
    let raw = file(folder.path(), "set.yaml", "set: a\u{1b}[2J\n");
    is_harmless(&said(&isthmus(&["config", "check", &raw])));
    let history = file(
        folder.path(),
        "history.ndjson",
        "{\"type\":\"a\x1b[2J\\nforged\"}\n",
    );
    let output = Command::new(env!("CARGO_BIN_EXE_isthmus-check"))
        .arg(history)
        .output()
        .unwrap();
    is_harmless(&said(&output));
}

#[test]
fn what_runs_in_a_folder_is_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display().to_string();
    let probe = json!({
        "trace_id": "t", "version": EVIL, "region": EVIL, "regions": ["a"],
        "traces": [{ "delay_ms": 1.0, "stages_ms": { "commit": 1.0 } }],
    });
    let door = Door::always(200, &probe);
    running(folder.path(), &[("a", &[&door.url])]);
    shows_harmlessly(&isthmus(&["trace", "b/k", "--dir", &dir]));
    let door = Door::open(|_| (200, EVIL.to_owned()));
    running(folder.path(), &[(EVIL, &[&door.url])]);
    shows_harmlessly(&isthmus(&["why", "b/k", "--dir", &dir]));
    shows_harmlessly(&isthmus(&[
        "kv", "get", "b/k", "--dir", &dir, "--region", "nosuch",
    ]));
    shows_harmlessly(&isthmus(&["lab", &dir, "kill", "agent-1@nosuch"]));
    // Line breaks in arguments are kept: the arguments are the user's own.
    let output = isthmus(&["kv", "get", "b/k", "a\x1b[2J\u{9b}\u{202e}b\r"]);
    assert_eq!(output.status.code(), Some(64));
    is_harmless(&said(&output));
}

/// The output of a command on its terminal.
fn on_a_terminal(arguments: &[&str]) -> String {
    let leader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&leader).unwrap();
    unlockpt(&leader).unwrap();
    let name = ptsname(&leader, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(Path::new(&name))
        .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_isthmus"))
        .args(arguments)
        .stdout(terminal)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    let mut shown = Vec::new();
    // When the last handle of the other end is closed, reading ends with an error.
    File::from(leader).read_to_end(&mut shown).ok();
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_value_keeps_its_bytes_and_a_terminal_gets_them_escaped() {
    let door = Door::open(|_| (200, EVIL.to_owned()));
    let arguments = ["kv", "get", "b/k", "--via", &door.url];
    assert_eq!(printed(&isthmus(&arguments)), format!("{EVIL}\n"));
    let shown = on_a_terminal(&arguments);
    assert!(
        shown.starts_with("a\\u{1b}[2J\\u{9b}31m\\u{202e}") && shown.ends_with("\\r\nforged\n"),
        "{shown:?}"
    );
}
