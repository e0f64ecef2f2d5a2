#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

fn read(report: &Value) -> Result<RegionReport, UnreadableReport> {
    RegionReport::read(report.to_string().as_bytes())
}

/// A report in which every field has content.
fn full() -> RegionReport {
    serde_json::from_str(include_str!("../tests/region.json")).unwrap()
}

#[test]
fn what_one_gateway_writes_is_what_another_one_reads() {
    let report = full();
    assert!(!report.links.is_empty() && !report.receiving.is_empty());
    assert_eq!(read(&json!(report)).unwrap(), report);
}

#[test]
fn regions_whose_versions_are_one_apart_understand_each_other() {
    let newer = json!({
        "told_by": "gateway-1", "of_tomorrow": { "deep": [[[{}]]] },
        "members": [{ "name": "agent-1", "role": "oracle", "of_tomorrow": 7 }],
        "links": [{ "peer": "us-east", "state": "dreaming", "lanes": [{ "group": "default", "of_tomorrow": null }] }],
        "receiving": [{ "origin": "us-east", "state": "doubtful", "stages_ms": { "wire": 40.0, "teleport": 0.5 } }],
    });
    let report = read(&newer).unwrap();
    assert_eq!(
        (report.reporter.as_str(), report.members[0].role.label()),
        ("gateway-1", "oracle")
    );
    assert_eq!(
        (report.links[0].state.label(), report.links[0].lanes.len()),
        ("dreaming", 1)
    );
    assert_eq!(report.links[0].lanes[0].lag, None);
    assert_eq!(report.receiving[0].state.known(), None);
    let again = json!(report);
    assert_eq!(again["receiving"][0]["state"], "doubtful");
    assert_eq!(
        again["receiving"][0]["stages_ms"],
        newer["receiving"][0]["stages_ms"]
    );
    assert_eq!(read(&json!({})).unwrap(), RegionReport::default());
}

#[test]
fn text_for_people_loses_what_acts_on_a_terminal() {
    let report =
        json!({ "links": [{ "last_error": format!("\u{1b}[2Jgone\n\u{9b}{}", "x".repeat(5_000)) }] });
    let link = read(&report).unwrap().links.remove(0);
    let error = link.last_error.unwrap();
    assert!(error.starts_with(" [2Jgone  xx"), "{error}");
    assert!(error.len() <= 1024 && !error.chars().any(char::is_control));
}

#[test]
fn a_negative_duration_is_not_known() {
    let lane = json!({ "group": "default", "lag_ms": -1.0, "still_ms": -1.0 });
    let report = read(&json!({ "links": [{ "lanes": [lane] }] })).unwrap();
    let lane = &report.links[0].lanes[0];
    assert_eq!((lane.lag, lane.still), (None, Duration::ZERO));
}

#[test]
fn what_is_no_report_is_refused_with_a_reason_to_show() {
    let deep = |open: &str| open.repeat(5_000).into_bytes();
    let many = |count: usize, one: &str| vec![one; count].join(",");
    let bodies = [
        b"".to_vec(),
        b"\xff\xfe".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{\"links\":7}".to_vec(),
        b"{\"links\":{}}".to_vec(),
        b"{\"leader\":{}}".to_vec(),
        b"{\"leader\":\"\\u001b[2J\"}".to_vec(),
        b"{\"members\":[{\"role\":\"a b\"}]}".to_vec(),
        b"{\"members\":[{\"clock_offset_ms\":1e300}]}".to_vec(),
        b"{\"links\":[{\"rtt_ms\":1e300}]}".to_vec(),
        b"{\"agents\":[{\"shards\":[{\"runways_s\":{\"us-east\":1e15}}]}]}".to_vec(),
        b"{\"generation\":-1}".to_vec(),
        format!("{{\"members\":\"{}\"}}", "a\\u001b".repeat(10_000)).into_bytes(),
        format!("{{\"links\":[{{\"state\":\"{}\"}}]}}", "a".repeat(129)).into_bytes(),
        format!("{{\"links\":[{}]}}", many(65, "{}")).into_bytes(),
        format!("{{\"members\":[{}]}}", many(STRUCTURES, "{}")).into_bytes(),
        format!(
            "{{\"receiving\":[{{\"stages_ms\":{{{}}}}}]}}",
            (0..17)
                .map(|n| format!("\"s{n}\":1"))
                .collect::<Vec<_>>()
                .join(",")
        )
        .into_bytes(),
        deep("["),
        deep("{\"links\":"),
        deep("{\"of_tomorrow\":"),
        vec![b' '; REPORT_BYTES + 1],
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let unreadable = RegionReport::read(&body).expect_err(&shown);
        let report = RegionReport::of_unreadable(&unreadable);
        let why = report.unreadable.unwrap();
        assert!(
            why.len() <= REASON_BYTES && !why.chars().any(char::is_control),
            "{why}"
        );
        assert!(why.contains("report"), "{why}");
    }
}

#[test]
fn a_report_that_cant_be_read_hides_no_other_region() {
    let body =
        json!({ "eu-west": full(), "us-east": { "links": 7 }, "ap-south": { "told_by": "gateway-2" } });
    let all = read_all(body.to_string().as_bytes()).unwrap();
    let good: Vec<&str> = all
        .iter()
        .filter(|(_, report)| report.is_ok())
        .map(|(region, _)| region.as_str())
        .collect();
    assert_eq!((all.len(), good), (3, vec!["ap-south", "eu-west"]));
    assert!(read_all(b"[]").is_err());
}

#[test]
fn reports_that_are_too_long_together_leave_room() {
    let long = |links: usize| {
        let link = LinkStatus {
            last_error: Some("x".repeat(1_000)),
            ..LinkStatus::default()
        };
        RegionReport {
            links: vec![link; links],
            ..RegionReport::default()
        }
    };
    let lanes = |count: usize| {
        let mut report = long(1);
        report.links[0].lanes = vec![
            LaneStatus {
                reason: Some("y".repeat(900)),
                ..LaneStatus::default()
            };
            count
        ];
        report
    };
    let (own, small, huge) = (full(), long(20), lanes(700));
    let others = [("ap-south", &huge), ("sa-east", &huge), ("us-east", &small)];
    let body = write_all(("eu-west", &own), others.into_iter());
    assert!(body.len() <= REPORT_BYTES, "{} bytes", body.len());
    let all = read_all(&body).unwrap();
    let found = |region: &str| all[region].as_ref().unwrap();
    assert_eq!((found("eu-west"), found("us-east")), (&own, &small));
    assert_eq!(found("ap-south"), &huge);
    assert!(found("sa-east").unreadable.as_ref().unwrap().contains("bytes"));
}
