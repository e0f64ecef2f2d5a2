use std::net::{IpAddr, Ipv4Addr};

use isthmus_log::memory::{MemoryRegion, Servers};
use isthmus_log::{LocalClock, RegionNames};
use isthmus_replication::names::{RegionName, SetName};
use isthmus_runtime::events::{Class, Severity, Source};
use isthmus_runtime::metrics::Metrics;
use isthmus_runtime::supervise::TaskKind;
use isthmus_runtime::telemetry::Tracer;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn process() -> Process<()> {
    Process::new((), Clock::system(), Metrics::new("test", "0"), Tracer::off())
}

fn history(process: &Process<()>, name: &str) -> History {
    let teller = Teller {
        region: "eu-west".to_owned(),
        role: Role::Agent,
        process: name.to_owned(),
    };
    History::new(process, teller).unwrap()
}

async fn region() -> MemoryRegion {
    let clock = Clock::system();
    let clock: LocalClock = Arc::new(move || clock.now());
    let names = RegionNames {
        set: SetName::parse("shop").unwrap(),
        region: RegionName::parse("eu-west").unwrap(),
    };
    let region = MemoryRegion::new(names, clock);
    let journal = region.ports().journal;
    journal.ensure(&JournalName::Events, true, 1).await.unwrap();
    region
}

fn carry(process: &Process<()>, name: &str, region: &MemoryRegion) -> History {
    let (history, journal) = (history(process, name), region.ports().journal);
    let carried = history.clone();
    process
        .supervisor
        .spawn(TaskKind::Work, "events", |stop| carried.carry(journal, stop))
        .unwrap();
    history
}

/// The messages of the region's events, once there are `count` of them.
async fn recorded(history: &History, count: usize) -> Vec<String> {
    let all = async {
        loop {
            let recorded = history.of_region(HOUR, None, PAGE).await;
            let events = recorded["events"].as_array().unwrap();
            if recorded["source"] == "region" && events.len() >= count {
                let message = |event: &Value| event["message"].as_str().unwrap().to_owned();
                return events.iter().map(message).collect();
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(HOUR, all).await.unwrap()
}

fn record(process: &Process<()>, numbers: std::ops::Range<usize>) {
    for n in numbers {
        process
            .events
            .record(Severity::Notice, "settings_changed", n.to_string(), json!({}));
    }
}

#[tokio::test(start_paused = true)]
async fn events_wait_for_the_journal_and_any_without_room_are_counted() {
    let (process, region) = (process(), region().await);
    let history = carry(&process, "agent-1", &region);
    record(&process, 0..3);
    assert_eq!(recorded(&history, 3).await, ["0", "1", "2"]);
    region.set_servers(Servers::Away);
    record(&process, 3..Class::Process.kept() + 13);
    let own = history.of_region(HOUR, None, PAGE).await;
    assert_eq!(
        (&own["source"], own["events"].as_array().unwrap().len()),
        (&json!("process"), PAGE)
    );
    assert!(
        own["reason"].as_str().unwrap().contains("did not answer"),
        "{}",
        own["reason"]
    );
    region.set_servers(Servers::Answer);
    let expected: Vec<String> = (0..3).chain(13..PAGE + 10).map(|n| n.to_string()).collect();
    assert_eq!(recorded(&history, PAGE).await, expected);
    assert!(process.metrics.text().contains("isthmus_events_lost_total 10\n"));
}

fn refuse(process: &Process<()>, from: u32) {
    let source = Source::address(IpAddr::V4(Ipv4Addr::from_bits(from)));
    let fields = json!({ "reason": "handshake", "from": from });
    let events = &process.events;
    events.record_from(&source, Severity::Warning, "access_refused", "refused", fields);
}

/// The number of events of a kind in the journal for which `which` is true.
fn kept(region: &MemoryRegion, kind: &str, which: impl Fn(&Value) -> bool) -> usize {
    let entries = region.journal_entries(&JournalName::Events);
    let events = entries.iter().filter_map(shown);
    events
        .filter(|event| event["kind"] == kind && which(event))
        .count()
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_refusals_pushes_nothing_else_out_of_the_journal() {
    let (process, region) = (process(), region().await);
    let history = carry(&process, "agent-1", &region);
    let (acts, others, flood) = (50, 30, 1_000);
    for n in 0..acts {
        let fields = json!({ "n": n });
        process
            .events
            .record(Severity::Notice, "operator_act", "an act", fields);
    }
    (0..others).for_each(|from| refuse(&process, from));
    for _ in 0..2 * Class::Refusals.kept() {
        (0..20).for_each(|_| refuse(&process, flood));
        sleep(Duration::from_secs(60)).await;
    }
    let of_others = |event: &Value| event["fields"]["from"] != flood;
    assert_eq!(kept(&region, "access_refused", |_| true), Class::Refusals.kept());
    assert_eq!(kept(&region, "access_refused", of_others), others as usize);
    for minute in 0..20 {
        (0..1_000).for_each(|n| refuse(&process, 10_000 + 1_000 * minute + n));
        sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(kept(&region, "access_refused", |_| true), Class::Refusals.kept());
    assert_eq!(kept(&region, "operator_act", |_| true), acts);
    let listed = history.of_region(HOUR, None, PAGE).await;
    assert_eq!(listed["source"], "region");
    let metrics = process.metrics.text();
    assert!(metrics.contains("isthmus_events_lost_total 0\n"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn each_run_of_a_process_has_places_of_its_own_in_the_journal() {
    let region = region().await;
    for run in 1..=3 {
        let process = process();
        let history = carry(&process, "agent-1", &region);
        refuse(&process, 1);
        recorded(&history, run).await;
    }
    assert_eq!(kept(&region, "access_refused", |_| true), 3);
}

#[tokio::test(start_paused = true)]
async fn a_shared_event_is_kept_once_and_pages_follow_each_other() {
    let region = region().await;
    let processes = [process(), process(), process()];
    for (n, process) in processes.iter().enumerate() {
        let history = carry(process, &format!("agent-{n}"), &region);
        let fact = "agent-agent-9-feed-1".to_owned();
        let (source, text) = (Source::default(), "agent-9 is up");
        process
            .events
            .record_shared(&source, Severity::Notice, "node_up", fact, text, json!({}));
        record(process, 0..2);
        assert_eq!(recorded(&history, 3 + 2 * n).await.len(), 3 + 2 * n);
    }
    let history = history(&processes[0], "agent-0");
    history.journal.set(region.ports().journal).unwrap();
    let (mut from, mut read) = (None, Vec::new());
    loop {
        let page = history.of_region(HOUR, from, 3).await;
        read.extend(page["events"].as_array().unwrap().iter().cloned());
        match page["next"].as_u64() {
            Some(next) => from = Some(Sequence(next)),
            None => break,
        }
    }
    let ups = read.iter().filter(|event| event["kind"] == "node_up");
    assert_eq!((read.len(), ups.count()), (7, 1));
}
#[tokio::test(start_paused = true)]
async fn followers_get_process_events_while_the_journal_is_silent() {
    let (process, region) = (process(), region().await);
    let history = carry(&process, "agent-1", &region);
    record(&process, 0..2);
    assert_eq!(recorded(&history, 2).await, ["0", "1"]);
    let mut follower = history.follow(HOUR);
    let mut news = async || {
        let news = timeout(HOUR, follower.next()).await.unwrap();
        let messages = news["events"].as_array().unwrap().iter();
        let messages: Vec<_> = messages
            .map(|event| event["message"].as_str().unwrap().to_owned())
            .collect();
        (news["source"].as_str().unwrap().to_owned(), messages)
    };
    assert_eq!(
        news().await,
        ("region".to_owned(), vec!["0".to_owned(), "1".to_owned()])
    );
    region.set_servers(Servers::Away);
    record(&process, 2..3);
    let own = ["0", "1", "2"].map(str::to_owned).to_vec();
    assert_eq!(news().await, ("process".to_owned(), own));
    region.set_servers(Servers::Answer);
    assert_eq!(recorded(&history, 3).await.len(), 3);
    assert_eq!(news().await, ("region".to_owned(), vec!["2".to_owned()]));
    record(&process, 3..4);
    assert_eq!(news().await, ("region".to_owned(), vec!["3".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_recreated_journal_gets_kept_events_and_followers_continue() {
    let (process, region) = (process(), region().await);
    let history = carry(&process, "agent-1", &region);
    let mut follower = history.follow(HOUR);
    record(&process, 0..9);
    assert_eq!(recorded(&history, 9).await.len(), 9);
    assert_eq!(follower.next().await["events"].as_array().unwrap().len(), 9);

    let journal = region.ports().journal;
    region.delete_journal(&JournalName::Events);
    record(&process, 9..10);
    let missing = history.of_region(HOUR, None, PAGE).await;
    assert_eq!(missing["source"], "process", "{missing}");
    journal.ensure(&JournalName::Events, true, 1).await.unwrap();
    history.carry_again();
    record(&process, 10..11);
    let all: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    assert_eq!(recorded(&history, 11).await, all);
    assert!(process.metrics.text().contains("isthmus_events_lost_total 0\n"));

    record(&process, 11..12);
    let newest = async {
        loop {
            let news = follower.next().await;
            let events = news["events"].as_array().unwrap().clone();
            if news["source"] == "region" && events.iter().any(|event| event["message"] == "11") {
                return;
            }
        }
    };
    timeout(HOUR, newest).await.unwrap();
}
