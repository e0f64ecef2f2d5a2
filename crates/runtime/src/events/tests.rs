use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use super::*;

fn events() -> Events {
    Events::new(Clock::system())
}

fn kinds(events: &Events, kind: &str) -> usize {
    events.after(0).iter().filter(|event| event.kind == kind).count()
}

fn act(events: &Events, n: usize) {
    events.record(
        Severity::Notice,
        "operator_act",
        format!("act {n}"),
        json!({ "n": n }),
    );
}

fn stranger(n: u32) -> Source {
    Source::address(IpAddr::V4(Ipv4Addr::from_bits(n)))
}

fn refuse(events: &Events, source: &Source) {
    events.record_from(
        source,
        Severity::Warning,
        "access_refused",
        "refused",
        json!({ "reason": "handshake" }),
    );
}

#[test]
fn the_newest_events_are_kept_in_order() {
    let (events, most) = (events(), Class::Process.kept());
    for n in 0..most + 2 {
        events.record(
            Severity::Notice,
            "settings_changed",
            format!("event {n}"),
            json!({ "n": n }),
        );
    }
    let kept = events.after(0);
    assert_eq!(kept.len(), most);
    assert_eq!(kept.first().map(|event| event.sequence), Some(3));
    assert_eq!(events.after(most as u64 + 1).len(), 1);
    assert_eq!(events.after(most as u64 + 1)[0].fields["n"], json!(most + 1));
}

#[test]
fn a_flood_of_one_class_pushes_out_no_other_and_is_counted() {
    let (events, metrics) = (events(), Metrics::new("test", "0"));
    events.register(&metrics);
    for n in 0..100 {
        act(&events, n);
    }
    for n in 0..20_000 {
        refuse(&events, &stranger(n));
        let noise = stranger(n).because("not_tls");
        events.record_from(&noise, Severity::Warning, "link_refused", "refused", Value::Null);
    }
    assert_eq!(kinds(&events, "operator_act"), 100);
    let recorded = throttle::KEYS + 1;
    assert_eq!(kinds(&events, "access_refused"), recorded);
    assert_eq!(kinds(&events, "link_refused"), recorded);
    let text = metrics.text();
    for line in [
        "isthmus_events_total{kind=\"access_refused\"} 20000".to_owned(),
        format!(
            "isthmus_events_untold_total{{kind=\"access_refused\"}} {}",
            20_000 - recorded
        ),
        "isthmus_events_total{kind=\"operator_act\"} 100".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn hours_of_flood_from_one_source_push_out_nothing_of_others() {
    let events = events();
    for n in 0..40 {
        refuse(&events, &stranger(n));
    }
    let flood = stranger(1_000_000);
    for _ in 0..2 * Class::Refusals.kept() {
        for _ in 0..10 {
            refuse(&events, &flood);
        }
        tokio::time::advance(throttle::WINDOW).await;
    }
    let kept = events.after(0);
    assert_eq!(kept.len(), Class::Refusals.kept());
    let first: Vec<u64> = kept.iter().take(40).map(|event| event.sequence).collect();
    assert_eq!(first, (1..=40).collect::<Vec<_>>());
    assert_eq!(
        kept.last().map(|event| &event.fields["untold_before"]),
        Some(&json!(9))
    );
    let message = kept.last().map(|event| event.message.as_str());
    assert_eq!(
        message,
        Some("refused (and 9 more of these were suppressed before)")
    );
}

#[tokio::test(start_paused = true)]
async fn each_kept_event_has_its_own_place_in_the_journal() {
    let events = events();
    for n in 0..3_000 {
        refuse(&events, &stranger(n % 50));
        tokio::time::advance(throttle::WINDOW).await;
    }
    let kept = events.after(0);
    let places = kept.iter().filter_map(|event| event.slot);
    let places: std::collections::BTreeSet<usize> = places.map(|slot| slot.place).collect();
    assert!(places.into_iter().eq(0..Class::Refusals.kept()));
    act(&events, 1);
    assert!(events.after(3_000).iter().all(|event| event.slot.is_none()));
}

#[test]
fn what_others_said_is_cut() {
    let events = events();
    let long = "é".repeat(5_000);
    events.record(
        Severity::Notice,
        "told_by_peer",
        long.clone(),
        json!({ "kind": long }),
    );
    let recorded = &events.after(0)[0];
    assert!(recorded.message.len() <= MESSAGE_BYTES && recorded.message.ends_with("é…"));
    let kind = recorded.fields["kind"].as_str().unwrap_or_default();
    assert!(kind.len() <= FIELD_BYTES && kind.ends_with("é…"));
}

#[test]
fn lines_of_one_source_are_logged_so_often_and_no_more() {
    let events = events();
    let logged = (0..1_000).filter(|_| events.may_log("a link ended", &stranger(1)).is_some());
    assert_eq!(logged.count(), LINES as usize);
    assert_eq!(events.may_log("a link ended", &stranger(2)), Some(0));
}
