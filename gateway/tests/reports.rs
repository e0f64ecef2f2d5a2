//! A region whose report can't be read is unknown, with the reason, and hides nothing of the
//! others: neither here, nor on a standby, nor from `isthmus status`.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use isthmus_log::testing::until;
use serde_json::{Value, json};

use common::{AP, Acceptor, EU, GatewayProcess, SOON, Says, US, World};

/// A report that a gateway of the previous or the next version may send.
fn good() -> Value {
    json!({ "told_by": "gateway-1", "leader": "gateway-1", "of_tomorrow": [1, { "a": null }], "epoch": { "life": "1-a", "revision": 7 } })
}

/// Bad reports, each with a description.
fn bad() -> Vec<(&'static str, Says)> {
    let report = |text: String| Says::Report(text.into_bytes().into());
    let members = |count: usize| format!("{{\"members\":[{}]}}", vec!["{}"; count].join(","));
    vec![
        (
            "wrong types",
            report("{\"leader\":7,\"links\":{\"peer\":[]}}".to_owned()),
        ),
        ("no object", report("[1,2,3]".to_owned())),
        ("no JSON", Says::Report(vec![0xff; 500].into())),
        ("nothing", report(String::new())),
        (
            "control characters",
            report("{\"leader\":\"\\u001b[2J\\u001b[1;1Hroot#\"}".to_owned()),
        ),
        (
            "raw control characters",
            report("{\"leader\":\"\u{1b}[2J\"}".to_owned()),
        ),
        (
            "a number beyond all",
            report("{\"members\":[{\"clock_offset_ms\":1e308}]}".to_owned()),
        ),
        (
            "a name without end",
            report(format!("{{\"told_by\":\"{}\"}}", "x".repeat(900_000))),
        ),
        ("members without end", report(members(200_000))),
        ("more members than may be", report(members(5_000))),
        ("deep nesting", report("{\"links\":".repeat(50_000))),
        (
            "deep nesting of what nobody knows",
            report("{\"of_tomorrow\":[".repeat(50_000)),
        ),
        (
            "no answer",
            Says::Refusal("this version does not answer \u{1f600}".to_owned()),
        ),
    ]
}

/// `isthmus` of the same build.
fn isthmus() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_isthmus-gateway")).with_file_name("isthmus");
    assert!(
        built.is_file(),
        "isthmus is not built: run `cargo build --workspace --bins` first"
    );
    built
}

/// The output of `isthmus status`, which must exit with 0.
async fn status(gateway: &GatewayProcess) -> String {
    let (admin, isthmus) = (gateway.admin(), isthmus());
    let run = move || {
        Command::new(isthmus)
            .args(["status", "--via", &admin])
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let (said, error) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{error}{said}");
    said
}

/// The line of a region in the first table.
fn line_of<'a>(said: &'a str, region: &str) -> &'a str {
    said.lines()
        .find(|line| line.trim_start().starts_with(region))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_with_an_unreadable_report_is_unknown_and_hides_none() {
    let world = World::of(&[EU, US, AP], Duration::from_millis(10)).await;
    let answers = Acceptor::start(&world, US, Says::Report(good().to_string().into())).await;
    let (gateway, other) = (world.gateway(EU, 1), world.gateway(AP, 1));
    gateway.leads().await;
    other.leads().await;
    let standby = world.gateway(EU, 2);
    gateway.connected(AP).await;
    for shows in [&gateway, &standby] {
        let all = shows
            .becomes("the report, and both other regions' leaders", |status| {
                let leads = |region: &str| status["regions"][region]["leader"] == "gateway-1";
                status["regions"][US]["epoch"]["revision"] == 7 && leads(EU) && leads(AP)
            })
            .await;
        assert_eq!(all["regions"][US]["unreadable"], Value::Null, "{all}");
    }
    let said = status(&gateway).await;
    assert!(line_of(&said, US).contains("gateway-1"), "{said}");

    for (what, says) in bad() {
        answers.say(says);
        for shows in [&gateway, &standby] {
            let all = shows
                .becomes(what, |status| status["regions"][US]["unreadable"].is_string())
                .await;
            let region = &all["regions"][US];
            assert_eq!(region["leader"], Value::Null, "{what}: {region}");
            let why = region["unreadable"].as_str().unwrap();
            assert!(
                why.len() <= 300 && !why.chars().any(char::is_control),
                "{what}: {why}"
            );
            assert_eq!(all["regions"][EU]["leader"], "gateway-1", "{what}: {all}");
            assert_eq!(all["regions"][AP]["leader"], "gateway-1", "{what}: {all}");
        }
        let said = status(&gateway).await;
        assert!(line_of(&said, US).contains("unknown"), "{what}: {said}");
        assert!(line_of(&said, AP).contains("gateway-1"), "{what}: {said}");
        assert!(!said.contains('\u{1b}'), "{what}: {said}");
        answers.say(Says::Report(good().to_string().into()));
        gateway
            .becomes("a good report", |status| {
                status["regions"][US]["epoch"]["revision"] == 7
            })
            .await;
    }
    let answer = until("the events", SOON, || async {
        let answer: Value = serde_json::from_str(&gateway.text("/v1/events?after=0").await?).ok()?;
        let refused = answer
            .as_array()?
            .iter()
            .filter(|event| event["kind"] == "report_refused");
        let refused: Vec<Value> = refused.cloned().collect();
        (!refused.is_empty()).then_some(refused)
    });
    let (answer, tries) = (answer.await.len(), bad().len());
    assert!(answer < tries, "{answer} events of {tries} bad reports");
    gateway
        .counts("isthmus_events_total{kind=\"report_refused\"}", tries as f64)
        .await;
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}
