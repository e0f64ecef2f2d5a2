#![allow(clippy::unwrap_used)]

use isthmus_replication::names::GroupName;
use isthmus_replication::time::{Mono, Wall};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::*;
use crate::board::Told;
use crate::testing;

fn region(name: &str) -> RegionName {
    RegionName::parse(name).unwrap()
}

fn shard() -> Shard {
    Shard {
        group: GroupName::parse("default").unwrap(),
        partition: 1,
    }
}

fn sent(lag_ms: f64, proven: bool) -> Value {
    json!({ "links": [{ "peer": "us-east", "state": "dialing", "last_error": "refused", "lanes": [
        { "group": "default", "partition": 1, "lag_ms": lag_ms, "lag_proven": proven, "still_ms": 900 },
    ]}]})
}

fn received(proof_age_ms: f64) -> Value {
    json!({ "receiving": [{
        "origin": "eu-west", "group": "default", "partition": 1, "state": "stalled", "reason": "a clock",
        "delay_ms": 44.0, "stages_ms": { "wire": 40.0, "apply": 4.0 }, "uncertainty_ms": 1.0,
        "proof_age_ms": proof_age_ms,
    }]})
}

fn read(report: &Value) -> RegionReport {
    RegionReport::deserialize(report).unwrap()
}

fn heard(report: &Value, age_ms: u64) -> Word {
    let age = Some(Duration::from_millis(age_ms));
    Word {
        links: read(report),
        links_age: age,
        rest: read(report),
        rest_age: age,
    }
}

fn lag(origin: &Word, peer: &Word) -> Lag {
    between((&region("eu-west"), origin), (&region("us-east"), peer), &shard())
}

#[test]
fn the_origins_word_counts_while_it_is_heard() {
    let receiver = heard(&received(7_000.0), 100);
    let told = lag(&heard(&sent(40.0, true), 0), &receiver);
    assert_eq!((told.state, told.lag_ms, told.reason), ("live", Some(40.0), None));
    assert_eq!((told.delay_ms, told.stages_ms["wire"]), (Some(44.0), 40.0));
    let told = lag(&heard(&sent(40.0, false), 0), &receiver);
    assert_eq!((told.state, told.lag_ms), ("unknown", Some(40.0)));
    let told = lag(&heard(&sent(9_000.0, true), 0), &receiver);
    assert_eq!((told.state, told.lag_ms), ("stalled", Some(9_000.0)));
    assert_eq!(told.reason.unwrap(), "the link is dialing: refused");
}

#[test]
fn what_an_origin_told_is_no_less_than_what_the_receiver_proves() {
    let told = lag(&heard(&sent(40.0, true), 900), &heard(&received(1_900.0), 0));
    assert_eq!((told.state, told.lag_ms), ("live", Some(900.0)));
    let told = lag(&heard(&sent(2_000.0, true), 900), &heard(&received(1_900.0), 0));
    assert_eq!(told.lag_ms, Some(2_000.0));
}

#[test]
fn of_an_origin_that_is_silent_the_receiver_tells() {
    let told = lag(
        &heard(&sent(40.0, true), 20_000),
        &heard(&received(21_000.0), 500),
    );
    assert_eq!((told.state, told.lag_ms), ("stalled", Some(20_500.0)));
    assert_eq!(told.reason.unwrap(), "a clock");
    let told = lag(&Word::default(), &heard(&received(21_000.0), 0));
    assert_eq!(told.lag_ms, Some(20_000.0));
}

#[test]
fn what_nobody_tells_any_more_grows_older_and_is_unknown() {
    let told = lag(
        &heard(&sent(40.0, true), 20_000),
        &heard(&received(500.0), 25_000),
    );
    assert_eq!((told.state, told.lag_ms), ("unknown", Some(24_500.0)));
    assert_eq!(told.proof_age_ms, Some(25_500.0));
    let told = lag(&Word::default(), &Word::default());
    assert_eq!((told.state, told.lag_ms), ("unknown", None));
    assert!(told.reason.unwrap().contains("neither region"));
}

#[test]
fn a_told_lag_grows_within_its_second_only_where_nothing_moved() {
    let mut report = sent(40.0, true);
    let at = |report: &Value, age| lag(&heard(report, age), &Word::default()).lag_ms;
    assert_eq!(
        (at(&report, 0), at(&report, 999), at(&report, 1_500)),
        (Some(40.0), Some(40.0), Some(540.0))
    );
    report["links"][0]["lanes"][0]["still_ms"] = json!(2_500.0);
    assert_eq!((at(&report, 0), at(&report, 999)), (Some(40.0), Some(1_039.0)));
}

#[test]
fn a_peer_that_needs_a_sync_is_stalled_however_small_its_lag() {
    let mut report = sent(5.0, true);
    report["links"][0]["lanes"][0]["needs_sync"] = json!(true);
    let told = lag(&heard(&report, 0), &Word::default());
    assert_eq!((told.state, told.needs_sync), ("stalled", true));
}

#[test]
fn the_shortest_runway_that_an_agent_tells_counts() {
    let agent = |seconds: f64| json!({ "shards": [{ "group": "default", "partition": 1, "runways_s": { "us-east": seconds } }] });
    let report = json!({ "agents": [agent(90.0), agent(30.0)] });
    assert_eq!(lag(&heard(&report, 0), &Word::default()).runway_s, Some(30.0));
}

#[test]
fn every_pair_and_shard_has_a_row_also_of_regions_of_which_nothing_is_known() {
    let process = testing::process();
    let mut state = State::default();
    let now = Now {
        mono: Mono::default().after(Duration::from_secs(100)),
        wall: Wall::from_millis(1),
    };
    for (name, report) in [("us-east", received(100.0)), ("eu-west", sent(70.0, true))] {
        let told = Told {
            report: read(&report),
            heard: now.mono,
        };
        state.regions.insert(region(name), told);
    }
    let rows = of_all(&process.settings.process, &state, now);
    assert_eq!(rows.len(), 3 * 2 * 2);
    let row = |origin: &str, peer: &str| {
        let mut found = rows.iter().filter(|row| row.partition == 1);
        found.find(|row| row.origin == region(origin) && row.peer == region(peer))
    };
    let as_the_leader_told = row("eu-west", "us-east").unwrap();
    assert_eq!(as_the_leader_told.lag_ms, Some(70.0), "this gateway is a standby");
    assert_eq!(row("ap-south", "us-east").unwrap().lag_ms, None);
    let own = of_own(&process.settings.process, &state, now);
    assert_eq!(own.len(), 4);
    assert!(own.iter().all(|(_, proof)| proof.is_none()));
}

#[test]
fn nothing_is_proved_while_changes_are_missing() {
    let report = json!({ "receiving": [{
        "origin": "eu-west", "group": "default", "partition": 1, "state": "stalled", "reason": MISSING,
        "proof_age_ms": null, "needs_sync": true,
    }]});
    let told = lag(&Word::default(), &heard(&report, 0));
    assert_eq!(
        (told.state, told.proof_age_ms, told.needs_sync),
        ("stalled", None, true)
    );
    assert_eq!(told.reason.unwrap(), MISSING);
    let told = lag(&heard(&sent(40.0, true), 0), &heard(&report, 0));
    assert_eq!((told.state, told.proof_age_ms), ("stalled", None));
}

#[test]
fn what_a_region_told_long_ago_of_backlog_and_runway_is_not_taken_for_what_is() {
    let report = json!({
        "links": [{ "peer": "us-east", "state": "connected", "lanes": [{ "group": "default", "partition": 1, "lag_ms": 4.0, "backlog": 7 }] }],
        "agents": [{ "shards": [{ "group": "default", "partition": 1, "runways_s": { "us-east": 30.0 } }] }],
    });
    let told = lag(&heard(&report, 1_000), &Word::default());
    assert_eq!((told.backlog, told.runway_s), (Some(7), Some(29.0)));
    let told = lag(&heard(&report, 40_000), &Word::default());
    assert_eq!((told.backlog, told.runway_s), (None, Some(0.0)));
}

#[test]
fn a_receiver_that_is_heard_and_can_prove_nothing_says_why() {
    let report = json!({ "receiving": [{
        "origin": "eu-west", "group": "default", "partition": 1, "state": "unknown", "reason": "no link from there ends at this gateway",
    }]});
    let told = lag(&Word::default(), &heard(&report, 0));
    assert_eq!(told.state, "unknown");
    assert_eq!(told.reason.unwrap(), "no link from there ends at this gateway");
    let told = lag(&Word::default(), &heard(&report, 8_000));
    assert_eq!(told.reason.unwrap(), "neither region has told of itself for 8 s");
}

#[test]
fn the_worst_shard_of_a_pair_comes_first() {
    let process = testing::process();
    let mut state = State::default();
    let lane = |partition: u16, lag_ms: f64| json!({ "group": "default", "partition": partition, "lag_ms": lag_ms, "lag_proven": true, "backlog": 7 });
    let report = json!({ "links": [{ "peer": "us-east", "state": "connected", "lanes": [lane(0, 10.0), lane(1, 20.0)] }] });
    let now = Now::default();
    let told = Told {
        report: read(&report),
        heard: now.mono,
    };
    state.regions.insert(region("eu-west"), told);
    let first = |state: &State| {
        let rows = of_all(&process.settings.process, state, now).into_iter();
        let mut pair = rows.filter(|row| row.origin == region("eu-west") && row.peer == region("us-east"));
        let row = pair.next().unwrap();
        assert_eq!((pair.count(), row.backlog), (1, Some(7)));
        row.partition
    };
    assert_eq!(first(&state), 1, "the greater lag");
    let report = &mut state.regions.get_mut(&region("eu-west")).unwrap().report;
    report.links[0].lanes[0].needs_sync = true;
    assert_eq!(first(&state), 0, "what needs a sync");
}

#[test]
fn a_region_reads_its_own_report_however_little_it_knows() {
    let process = testing::process();
    let mut state = State::default();
    state.leadership.leading = true;
    let link = state.links.entry(region("us-east")).or_default();
    link.lanes.insert(shard(), crate::board::Lane::default());
    let from = (region("us-east"), shard());
    state.receiving.insert(from, crate::board::Receiving::default());
    let rows = of_all(&process.settings.process, &state, Now::default());
    let own = rows
        .iter()
        .filter(|row| row.partition == 1 && row.origin == region("eu-west"));
    let to_us = own
        .filter(|row| row.peer == region("us-east"))
        .collect::<Vec<_>>();
    assert_eq!(to_us[0].lag_ms, Some(0.0), "{rows:?}");
}

#[test]
fn what_the_leader_before_told_is_found() {
    let (peer, found) = (region("us-east"), Some(Duration::from_millis(70)));
    assert_eq!(told(&read(&sent(70.0, true)), &peer, &shard()), found);
    for other in [json!({}), sent(-1.0, true)] {
        assert_eq!(told(&read(&other), &peer, &shard()), None);
    }
}

#[test]
fn a_region_that_tells_what_cant_be_read_is_named_where_nobody_else_knows() {
    let bad = Word {
        rest: RegionReport::of_unreadable(&"nonsense"),
        rest_age: Some(Duration::ZERO),
        ..Word::default()
    };
    let found = lag(&heard(&sent(40.0, true), 0), &bad);
    assert_eq!(
        (found.state, found.lag_ms),
        ("live", Some(40.0)),
        "the origin knows"
    );
    let found = lag(&Word::default(), &bad);
    let reason = found.reason.unwrap();
    assert_eq!(found.state, "unknown");
    assert!(
        reason.contains("us-east") && reason.contains("nonsense"),
        "{reason}"
    );
}
