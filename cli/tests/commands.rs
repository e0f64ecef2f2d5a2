//! The programs as a shell sees them: exit codes, files, messages.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::CommandFactory;

mod shell;

use shell::{isthmus, said};

fn check(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isthmus-check"))
        .args(arguments)
        .output()
        .unwrap()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// 1.3.6.1.5.5.7.3.1 as DER.
const SERVER_AUTHENTICATION: [u8; 10] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// 1.3.6.1.5.5.7.3.2 as DER.
const CLIENT_AUTHENTICATION: [u8; 10] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

fn der(file: &Path) -> Vec<u8> {
    let pem = std::fs::read_to_string(file).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).unwrap()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn init_writes_single_identity_certificates_and_private_keys() {
    let folder = tempfile::tempdir().unwrap();
    let shop = path(folder.path(), "shop");
    let output = isthmus(&["init", &shop, "--regions", "eu-west,us-east", "--set", "shop"]);
    assert!(output.status.success(), "{}", said(&output));
    let region = folder.path().join("shop/us-east");
    for key in ["ca.key", "gateway.key"] {
        let mode = region.join(key).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    let certificate = der(&region.join("gateway.crt"));
    let identity = "spiffe://isthmus.local/isthmus/shop/region/us-east/gateway";
    let length = identity.len() as u8;
    let only_name = [&[0x30, length + 2, 0x86, length], identity.as_bytes()].concat();
    assert!(
        holds(&certificate, &only_name),
        "the list of names is not this one URI alone"
    );
    for purpose in [SERVER_AUTHENTICATION, CLIENT_AUTHENTICATION] {
        assert!(holds(&certificate, &purpose), "{purpose:x?}");
    }
    let trusted = std::fs::read(folder.path().join("shop/trust/us-east.pem")).unwrap();
    assert_eq!(trusted, std::fs::read(region.join("ca.crt")).unwrap());
    assert!(isthmus(&["config", "check", &shop]).status.success());
}

#[test]
fn init_refuses_what_it_would_spoil_or_cannot_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("precious"), "").unwrap();
    let full = folder.path().display().to_string();
    let fresh = path(folder.path(), "fresh");
    let cases = [
        (vec!["init", &full, "--regions", "a"], "not empty"),
        (vec!["init", &fresh, "--regions", "a,a"], "named twice"),
        (vec!["init", &fresh, "--regions", "EU"], "is not a name"),
        (
            vec!["init", &fresh, "--regions", "a", "--trust-domain", "a/b"],
            "trust domain",
        ),
        (vec!["init", &fresh], "--regions"),
        (vec!["up", &fresh], "isthmus init"),
    ];
    for (arguments, expected) in cases {
        let output = isthmus(&arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", said(&output));
        assert!(
            said(&output).contains(expected),
            "{arguments:?}: {}",
            said(&output)
        );
    }
    assert!(!Path::new(&fresh).exists());
}

/// Every visible command, with the words that lead to it.
fn commands(of: &clap::Command, words: &[String]) -> Vec<(Vec<String>, clap::Command)> {
    let visible = of.get_subcommands().filter(|command| !command.is_hide_set());
    visible
        .flat_map(|command| {
            let words = [words, &[command.get_name().to_owned()]].concat();
            let below = commands(command, &words);
            std::iter::once((words, command.clone())).chain(below)
        })
        .collect()
}

/// Whether an example in the help calls the command; `lab` takes a folder before its subcommand.
fn has_example(help: &str, words: &[String]) -> bool {
    let (_, examples) = help.split_once("Example").unwrap_or_default();
    examples.lines().any(|line| {
        let mut given = line.split_whitespace();
        given.next() == Some("isthmus") && words.iter().all(|word| given.any(|one| one == word))
    })
}

#[test]
fn every_commands_help_has_an_example_and_explains_arguments() {
    let tree = commands(&isthmus_cli::Cli::command(), &[]);
    let named = |words: &str| tree.iter().any(|(found, _)| found.join(" ") == words);
    assert!(named("kv delete") && named("lab clock") && named("config check"));
    for (words, command) in &tree {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        if words.len() > 1 && words[0] == "lab" {
            arguments.insert(1, "shop");
        }
        arguments.push("--help");
        let output = isthmus(&arguments);
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && has_example(&help, words),
            "{arguments:?}: {help}"
        );
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{words:?}: {}", argument.get_id());
        }
    }
}

#[test]
fn a_tombstone_takes_no_time_to_live() {
    let output = isthmus(&["kv", "delete", "b/k", "--ttl", "30s"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(said(&output).contains("--ttl"), "{}", said(&output));
    let help = isthmus(&["kv", "delete", "--help"]);
    assert!(!String::from_utf8_lossy(&help.stdout).contains("--ttl"));
    let help = isthmus(&["kv", "put", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("--ttl"));
}

#[test]
fn config_check_tells_its_findings_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let shop = path(folder.path(), "shop");
    assert!(isthmus(&["init", &shop, "--regions", "a,b"]).status.success());
    let check = |expected| {
        let output = isthmus(&["config", "check", &shop, "--json"]);
        assert_eq!(output.status.code(), Some(expected), "{}", said(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    assert_eq!(check(0), serde_json::json!([]));
    let settings = path(folder.path(), "shop/b/gateway.yaml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{text}drian: 10s\n")).unwrap();
    std::fs::remove_file(folder.path().join("shop/a/gateway.key")).unwrap();
    let found = check(64);
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
    assert!(
        found[0]["message"].as_str().unwrap().contains("gateway.key"),
        "{found}"
    );
    assert_eq!(
        (&found[1]["file"], found[1]["line"].as_u64()),
        (&settings.into(), Some(8))
    );
    for finding in found.as_array().unwrap() {
        assert!(!finding["mend"].as_str().unwrap().is_empty(), "{found}");
    }
}

#[test]
fn a_taken_port_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let shop = path(folder.path(), "shop");
    assert!(isthmus(&["init", &shop, "--regions", "a"]).status.success());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = isthmus(&["up", &shop, "--port-base", &port.to_string()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains(&format!("port {port}")),
        "{}",
        said(&output)
    );
    assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
}

#[test]
fn nothing_runs_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    for arguments in [
        &["lab", &here, "heal"][..],
        &["status", "--dir", &here],
        &["kv", "get", "a/b", "--dir", &here],
    ] {
        let output = isthmus(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            said(&output).contains("isthmus up"),
            "{arguments:?}: {}",
            said(&output)
        );
    }
}

#[test]
fn a_bad_row_is_named_before_anything_is_asked_of_a_region() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "rows.csv");
    std::fs::write(&file, "id,name\n1,\"two\nlines\"\n2\n").unwrap();
    let output = isthmus(&["load", &file, "--via", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("line 4: the row has 1 field and the header 2"),
        "{}",
        said(&output)
    );
}

#[test]
fn the_checker_fails_a_good_history_once_a_write_is_removed() {
    let version = |stamp| format!("{stamp:016x}-eu-west-00000000000000aa");
    let lines = [
        r#"{"type":"invoke","write":1,"region":"eu-west","key":"a","value":"a1","at_ms":0}"#.to_owned(),
        format!(
            r#"{{"type":"ok","write":1,"version":"{}","at_ms":1}}"#,
            version(1)
        ),
        r#"{"type":"invoke","write":2,"region":"eu-west","key":"a","value":"a2","at_ms":2}"#.to_owned(),
        format!(
            r#"{{"type":"ok","write":2,"version":"{}","at_ms":3}}"#,
            version(2)
        ),
        r#"{"type":"agents","agents":["eu-west/agent-1"]}"#.to_owned(),
        format!(
            r#"{{"type":"read","agent":"eu-west/agent-1","key":"a","version":"{}","value":"a2"}}"#,
            version(2)
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "history.ndjson");
    std::fs::write(&file, lines.join("\n")).unwrap();
    assert_eq!(check(&[&file]).status.code(), Some(0));
    let without_the_second_write = [&lines[..2], &lines[4..]].concat();
    std::fs::write(&file, without_the_second_write.join("\n")).unwrap();
    let output = check(&[&file, "--json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("invented"));
    let output = check(&[&file]);
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("\n1 violation\n"));
    std::fs::write(&file, "not a history\n").unwrap();
    let output = check(&[&file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("line 1"), "{}", said(&output));
}
