//! How commands handle the answers of agents and gateways.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use isthmus_cli::folder::run_file::{AgentRun, NatsRun, RegionRun, RunFile, WanRun};
use serde_json::{Value, json};

mod fake;
mod shell;
mod terminal;

use fake::{Door, problem, value_bytes, written};
use shell::{isthmus, printed, said};

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn ndjson(rows: usize) -> String {
    (0..rows).map(|row| format!("{{\"id\":{row}}}\n")).collect()
}

/// A door that accepts values of at most 256 KiB, and counts the accepted ones.
fn counting_door() -> (Door, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let door = Door::of_batches(move |operation| {
        if value_bytes(operation) > 256 * 1024 {
            return problem(413, "value_too_large");
        }
        count.fetch_add(1, Ordering::SeqCst);
        written()
    });
    (door, taken)
}

#[test]
fn a_refused_row_is_named_by_line_with_the_count_written_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let (door, _) = counting_door();
    let large = format!("{{\"id\":\"large\",\"text\":\"{}\"}}\n", "x".repeat(300_000));
    let rows = file(folder.path(), "rows.ndjson", &format!("{}{large}", ndjson(2000)));
    let output = isthmus(&["load", &rows, "--via", &door.url]);
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "line 2001",
        "key large",
        "413 value_too_large",
        "2000 of 2001 keys were written and acknowledged",
    ] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
}

#[test]
fn a_refused_row_stops_the_load_and_accepted_rows_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (door, taken) = counting_door();
    let large = format!("{{\"id\":\"large\",\"text\":\"{}\"}}\n", "x".repeat(300_000));
    let rows = file(
        folder.path(),
        "rows.ndjson",
        &format!("{large}{}", ndjson(20_000)),
    );
    let output = isthmus(&["load", &rows, "--via", &door.url]);
    let taken = taken.load(Ordering::SeqCst);
    assert!(
        said(&output).contains("line 1: key large")
            && said(&output).contains(&format!("{taken} of 20001 keys were written and acknowledged")),
        "{taken}: {}",
        said(&output)
    );
    assert!(taken < 20_000, "everything else was sent all the same");
}

#[test]
fn arguments_that_only_the_door_refuses_exit_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let rows = file(folder.path(), "rows.csv", "id,name\n1,a\n");
    for (status, code, exit) in [
        (400, "invalid_ttl", 64),
        (404, "unknown_bucket", 64),
        (503, "not_ready", 1),
    ] {
        let single = Door::always(status, &problem(status, code));
        let batches = Door::of_batches(move |_| problem(status, code));
        for (door, arguments) in [
            (&single, &["kv", "put", "b/k", "v", "--ttl", "soon"][..]),
            (&single, &["kv", "get", "b/k"]),
            (&single, &["kv", "delete", "b/k"]),
            (&single, &["kv", "list", "b"]),
            (&batches, &["load", &rows]),
            (&batches, &["compare", &rows, "--wait", "0s"]),
        ] {
            let output = isthmus(&[arguments, &["--via", &door.url]].concat());
            assert_eq!(
                output.status.code(),
                Some(exit),
                "{arguments:?}, {code}: {}",
                said(&output)
            );
            assert!(said(&output).contains(code), "{arguments:?}: {}", said(&output));
            if arguments[0] == "load" {
                let written = "(0 of 1 key was written and acknowledged)";
                assert!(said(&output).contains(written), "{}", said(&output));
            }
        }
    }
}

#[test]
fn a_key_column_that_does_not_exist_is_a_wrong_argument() {
    let folder = tempfile::tempdir().unwrap();
    for rows in [
        file(folder.path(), "rows.csv", "id,name\n1,a\n"),
        file(folder.path(), "rows.ndjson", "{\"id\":1,\"name\":\"a\"}\n"),
    ] {
        for command in ["load", "compare"] {
            let output = isthmus(&[command, &rows, "--key", "nosuch", "--via", "http://127.0.0.1:1"]);
            assert_eq!(
                output.status.code(),
                Some(64),
                "{command} {rows}: {}",
                said(&output)
            );
            assert!(said(&output).contains("id, name"), "{}", said(&output));
        }
    }
}

#[test]
fn one_row_is_reported_in_the_singular() {
    let folder = tempfile::tempdir().unwrap();
    let rows = file(folder.path(), "rows.csv", "id,name\n1,a\n1,b\n");
    let door = Door::of_batches(|_| written());
    let output = isthmus(&["load", &rows, "--via", &door.url]);
    assert!(
        printed(&output).contains("2 rows, 1 key written")
            && printed(&output).contains("1 row was replaced by a later row with the same key"),
        "{}",
        printed(&output)
    );
    let absent = Door::of_batches(|_| problem(404, "not_found"));
    let output = isthmus(&["compare", &rows, "--via", &absent.url, "--wait", "0s"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("1 of 1 key differs"), "{}", said(&output));
}

#[test]
fn status_takes_a_gateway_and_refuses_everything_else() {
    let gateway = Door::always(
        200,
        &json!({"process": "gateway", "name": "gateway-1", "region": "a"}),
    );
    let agent = Door::always(
        200,
        &json!({"process": "agent", "name": "agent-1", "region": "a"}),
    );
    let door = Door::always(404, &problem(404, "unknown_path"));
    let page = Door::open(|_| (200, "<html>".to_owned()));
    let output = isthmus(&["status", "--via", &gateway.url]);
    assert!(output.status.success(), "{}", said(&output));
    for (other, is) in [
        (&agent, "is the admin address of agent-1 in a"),
        (&door, "does not answer as a gateway"),
        (&page, "does not answer as a gateway"),
    ] {
        for json in [&[][..], &["--json"]] {
            let output = isthmus(&[&["status", "--via", &other.url], json].concat());
            assert_eq!(output.status.code(), Some(64), "{}", said(&output));
            assert_eq!(printed(&output), "");
            assert_eq!(
                said(&output),
                format!(
                    "isthmus: {} {is}; give the admin address of a gateway, as `isthmus up` prints it\n",
                    other.url
                )
            );
        }
    }
}

/// Makes `folder` one that this process runs, with the doors of each region's agents.
fn running(folder: &Path, regions: &[(&str, &[&str])]) {
    let agent = |(index, door): (usize, &&str)| AgentRun {
        name: format!("agent-{}", index + 1),
        http: (*door).to_owned(),
        admin: (*door).to_owned(),
        pid: if door.is_empty() { 0 } else { std::process::id() },
        clock_file: "clock".into(),
    };
    let region = |doors: &[&str]| RegionRun {
        nats: NatsRun {
            url: String::new(),
            monitor: String::new(),
            pid: 0,
        },
        agents: doors.iter().enumerate().map(agent).collect(),
        gateways: Vec::new(),
    };
    let run = RunFile {
        pid: std::process::id(),
        started: String::new(),
        ready: true,
        order: regions.iter().map(|(name, _)| (*name).to_owned()).collect(),
        regions: regions
            .iter()
            .map(|(name, doors)| ((*name).to_owned(), region(doors)))
            .collect(),
        wan: WanRun {
            control: None,
            rtt_ms: 0,
        },
        links: Vec::new(),
    };
    run.store(folder).unwrap();
}

fn why(folder: &Path) -> (Option<i32>, Value, String) {
    let dir = folder.display().to_string();
    let output = isthmus(&["why", "b/k", "--dir", &dir, "--json"]);
    let json = serde_json::from_str(&printed(&output)).unwrap();
    (output.status.code(), json, said(&output))
}

const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn why_asks_the_next_agent_when_the_first_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(|_| (200, "two apples".to_owned()));
    running(folder.path(), &[("a", &[NOBODY, &door.url]), ("b", &[&door.url])]);
    let (code, json, said) = why(folder.path());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(json["regions"]["a"]["agent"], "agent-2");
    assert_eq!(json["regions"]["a"]["value"], "two apples");
    assert_eq!(json["regions"]["b"]["agent"], "agent-1");
}

#[test]
fn why_prints_what_it_has_and_exits_1_if_a_region_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(|_| (200, "two apples".to_owned()));
    for silent in [&[NOBODY, NOBODY][..], &["", ""]] {
        running(folder.path(), &[("a", silent), ("b", &[&door.url])]);
        let (code, json, said) = why(folder.path());
        assert_eq!(code, Some(1), "{json}");
        assert!(json["regions"]["a"]["error"].is_string(), "{json}");
        assert_eq!(json["regions"]["b"]["value"], "two apples");
        assert!(said.contains("no agent of a reports"), "{said}");
    }
}

#[test]
fn why_takes_a_bucket_that_no_region_knows_for_a_wrong_argument() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(|_| (200, "two apples".to_owned()));
    let without = Door::always(404, &problem(404, "unknown_bucket"));
    running(folder.path(), &[("a", &[&without.url]), ("b", &[&door.url])]);
    assert_eq!(why(folder.path()).0, Some(0), "b carries the bucket");
    running(folder.path(), &[("a", &[&without.url]), ("b", &[&without.url])]);
    assert_eq!(why(folder.path()).0, Some(64));
}
