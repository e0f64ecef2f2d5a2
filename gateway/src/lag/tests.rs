#![allow(clippy::unwrap_used)]

use isthmus_replication::delay::Stage;
use isthmus_replication::names::GroupName;
use isthmus_replication::time::{Mono, Wall};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::*;
use crate::tables::{HeardReport, State, Tables, with_known};
use crate::testing;
use crate::view::StatusView;

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

/// A region's report and its age; none if it never reported.
type Reported = Option<(RegionReport, Duration)>;

fn reported(report: &Value, age_ms: u64) -> Reported {
    Some((read(report), Duration::from_millis(age_ms)))
}

fn view_of(reported: &Reported) -> RegionView<'_> {
    let aged = reported.as_ref().map(|(report, age)| Aged { report, age: *age });
    RegionView {
        links: aged,
        rest: aged,
    }
}

fn lag(origin: &Reported, peer: &Reported) -> LagRow {
    let (origin, peer) = (view_of(origin), view_of(peer));
    between((&region("eu-west"), origin), (&region("us-east"), peer), &shard())
}

fn millis(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

#[test]
fn the_origins_word_counts_while_it_is_heard() {
    let receiver = reported(&received(7_000.0), 100);
    let row = lag(&reported(&sent(40.0, true), 0), &receiver);
    assert_eq!(
        (row.state, row.lag, row.reason),
        (Freshness::Live.into(), millis(40), None)
    );
    assert_eq!((row.delay, row.stages.of(Stage::Wire)), (millis(44), millis(40)));
    let row = lag(&reported(&sent(40.0, false), 0), &receiver);
    assert_eq!((row.state, row.lag), (Freshness::Unknown.into(), millis(40)));
    let row = lag(&reported(&sent(9_000.0, true), 0), &receiver);
    assert_eq!((row.state, row.lag), (Freshness::Stalled.into(), millis(9_000)));
    assert_eq!(row.reason.unwrap(), "the link is dialing: refused");
}

#[test]
fn a_lag_is_no_less_than_what_the_receiver_proves() {
    let row = lag(
        &reported(&sent(40.0, true), 900),
        &reported(&received(1_900.0), 0),
    );
    assert_eq!((row.state, row.lag), (Freshness::Live.into(), millis(900)));
    let row = lag(
        &reported(&sent(2_000.0, true), 900),
        &reported(&received(1_900.0), 0),
    );
    assert_eq!(row.lag, millis(2_000));
}

#[test]
fn of_an_origin_that_is_silent_the_receiver_tells() {
    let row = lag(
        &reported(&sent(40.0, true), 20_000),
        &reported(&received(21_000.0), 500),
    );
    assert_eq!((row.state, row.lag), (Freshness::Stalled.into(), millis(20_500)));
    assert_eq!(row.reason.unwrap(), "a clock");
    let row = lag(&None, &reported(&received(21_000.0), 0));
    assert_eq!(row.lag, millis(20_000));
}

#[test]
fn what_nobody_tells_any_more_grows_older_and_is_unknown() {
    let row = lag(
        &reported(&sent(40.0, true), 20_000),
        &reported(&received(500.0), 25_000),
    );
    assert_eq!((row.state, row.lag), (Freshness::Unknown.into(), millis(24_500)));
    assert_eq!(row.proof_age, millis(25_500));
    let row = lag(&None, &None);
    assert_eq!((row.state, row.lag), (Freshness::Unknown.into(), None));
    assert!(row.reason.unwrap().contains("neither region"));
}

#[test]
fn a_reported_lag_grows_within_its_second_only_if_nothing_moved() {
    let mut report = sent(40.0, true);
    let at = |report: &Value, age| lag(&reported(report, age), &None).lag;
    assert_eq!(
        (at(&report, 0), at(&report, 999), at(&report, 1_500)),
        (millis(40), millis(40), millis(540))
    );
    report["links"][0]["lanes"][0]["still_ms"] = json!(2_500.0);
    assert_eq!((at(&report, 0), at(&report, 999)), (millis(40), millis(1_039)));
}

#[test]
fn a_peer_that_needs_a_sync_is_stalled_however_small_its_lag() {
    let mut report = sent(5.0, true);
    report["links"][0]["lanes"][0]["needs_sync"] = json!(true);
    let row = lag(&reported(&report, 0), &None);
    assert_eq!((row.state, row.needs_sync), (Freshness::Stalled.into(), true));
}

#[test]
fn the_shortest_runway_that_an_agent_tells_counts() {
    let agent = |seconds: f64| json!({ "shards": [{ "group": "default", "partition": 1, "runways_s": { "us-east": seconds } }] });
    let report = json!({ "agents": [agent(90.0), agent(30.0)] });
    assert_eq!(lag(&reported(&report, 0), &None).runway, millis(30_000));
}

#[test]
fn every_pair_and_shard_has_a_row_even_of_unknown_regions() {
    let process = testing::process();
    let tables = Tables::default();
    let now = Now {
        mono: Mono::default().after(Duration::from_secs(100)),
        wall: Wall::from_millis(1),
    };
    for (name, report) in [("us-east", received(100.0)), ("eu-west", sent(70.0, true))] {
        let heard = HeardReport {
            report: read(&report),
            heard: now.mono,
        };
        tables.lock().reports.insert(region(name), heard);
    }
    let (view, settings) = (StatusView::default(), &process.settings.process);
    let rows = with_known(&view, &tables, |known| of_all(settings, known, now));
    assert_eq!(rows.len(), 3 * 2 * 2);
    let row = |origin: &str, peer: &str| {
        let mut found = rows.iter().filter(|row| row.partition == 1);
        found.find(|row| row.origin == origin && row.peer == peer)
    };
    let as_the_leader_reported = row("eu-west", "us-east").unwrap();
    assert_eq!(
        as_the_leader_reported.lag,
        millis(70),
        "this gateway is a standby"
    );
    assert_eq!(row("ap-south", "us-east").unwrap().lag, None);
    let own = with_known(&view, &tables, |known| of_own(settings, known, now));
    assert_eq!(own.len(), 4);
    assert!(own.iter().all(|(_, proof)| proof.is_none()));
}

#[test]
fn nothing_is_proved_while_changes_are_missing() {
    let report = json!({ "receiving": [{
        "origin": "eu-west", "group": "default", "partition": 1, "state": "stalled", "reason": MISSING,
        "proof_age_ms": null, "needs_sync": true,
    }]});
    let row = lag(&None, &reported(&report, 0));
    assert_eq!(
        (row.state, row.proof_age, row.needs_sync),
        (Freshness::Stalled.into(), None, true)
    );
    assert_eq!(row.reason.unwrap(), MISSING);
    let row = lag(&reported(&sent(40.0, true), 0), &reported(&report, 0));
    assert_eq!((row.state, row.proof_age), (Freshness::Stalled.into(), None));
}

#[test]
fn a_backlog_and_a_runway_of_long_ago_are_not_shown_as_new() {
    let report = json!({
        "links": [{ "peer": "us-east", "state": "connected", "lanes": [{ "group": "default", "partition": 1, "lag_ms": 4.0, "backlog": 7 }] }],
        "agents": [{ "shards": [{ "group": "default", "partition": 1, "runways_s": { "us-east": 30.0 } }] }],
    });
    let row = lag(&reported(&report, 1_000), &None);
    assert_eq!((row.backlog, row.runway), (Some(7), millis(29_000)));
    let row = lag(&reported(&report, 40_000), &None);
    assert_eq!((row.backlog, row.runway), (None, millis(0)));
}

#[test]
fn a_receiver_that_is_heard_and_can_prove_nothing_says_why() {
    let report = json!({ "receiving": [{
        "origin": "eu-west", "group": "default", "partition": 1, "state": "unknown", "reason": "this gateway has no link from there",
    }]});
    let row = lag(&None, &reported(&report, 0));
    assert_eq!(row.state, Freshness::Unknown);
    assert_eq!(row.reason.unwrap(), "this gateway has no link from there");
    let row = lag(&None, &reported(&report, 8_000));
    assert_eq!(row.reason.unwrap(), "neither region has reported for 8 s");
}

#[test]
fn the_worst_shard_of_a_pair_comes_first() {
    let process = testing::process();
    let tables = Tables::default();
    let lane = |partition: u16, lag_ms: f64| json!({ "group": "default", "partition": partition, "lag_ms": lag_ms, "lag_proven": true, "backlog": 7 });
    let report = json!({ "links": [{ "peer": "us-east", "state": "connected", "lanes": [lane(0, 10.0), lane(1, 20.0)] }] });
    let now = Now::default();
    let heard = HeardReport {
        report: read(&report),
        heard: now.mono,
    };
    tables.lock().reports.insert(region("eu-west"), heard);
    let (view, settings) = (StatusView::default(), &process.settings.process);
    let first = || {
        let rows = with_known(&view, &tables, |known| of_all(settings, known, now));
        let mut pair = rows
            .into_iter()
            .filter(|row| row.origin == "eu-west" && row.peer == "us-east");
        let row = pair.next().unwrap();
        assert_eq!((pair.count(), row.backlog), (1, Some(7)));
        row.partition
    };
    assert_eq!(first(), 1, "the greater lag");
    let needs_sync = |tables: &mut State| {
        let heard = tables.reports.get_mut(&region("eu-west")).unwrap();
        heard.report.links[0].lanes[0].needs_sync = true;
    };
    needs_sync(&mut tables.lock());
    assert_eq!(first(), 0, "what needs a sync");
}

#[test]
fn a_region_reads_its_own_report_however_little_it_knows() {
    let process = testing::process();
    let (view, tables) = (StatusView::default(), Tables::default());
    view.lock().leadership.leading = true;
    view.lane(&region("us-east"), &shard(), |_| {});
    view.receiving(&region("us-east"), &shard(), |_| {});
    let settings = &process.settings.process;
    let rows = with_known(&view, &tables, |known| of_all(settings, known, Now::default()));
    let own = rows
        .iter()
        .filter(|row| row.partition == 1 && row.origin == "eu-west");
    let to_us = own.filter(|row| row.peer == "us-east").collect::<Vec<_>>();
    assert_eq!(to_us[0].lag, millis(0), "{rows:?}");
}

#[test]
fn the_report_of_the_leader_before_is_found() {
    let peer = region("us-east");
    assert_eq!(of_lane(&read(&sent(70.0, true)), &peer, &shard()), millis(70));
    for other in [json!({}), sent(-1.0, true)] {
        assert_eq!(of_lane(&read(&other), &peer, &shard()), None);
    }
}

#[test]
fn an_unreadable_region_is_named_where_nobody_else_knows() {
    let bad = Some((RegionReport::of_unreadable(&"nonsense"), Duration::ZERO));
    let found = lag(&reported(&sent(40.0, true), 0), &bad);
    assert_eq!(
        (found.state, found.lag),
        (Freshness::Live.into(), millis(40)),
        "the origin knows"
    );
    let found = lag(&None, &bad);
    let reason = found.reason.unwrap();
    assert_eq!(found.state, Freshness::Unknown);
    assert!(
        reason.contains("us-east") && reason.contains("nonsense"),
        "{reason}"
    );
}
