//! The published JSON. The texts of gateways, agents, regions and the page were written by
//! processes before these types existed; the other texts have the format of that time.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use isthmus_replication::delay::Stage;
use isthmus_replication::receiving::lag::Freshness;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::live::LagSample;
use crate::trace::Traces;

const GATEWAY: &str = include_str!("tests/gateway.json");
const AGENT: &str = include_str!("tests/agent.json");
const AGENT_WITH_PEERS: &str = include_str!("tests/agent_peers.json");
const STARTING_AGENT: &str = include_str!("tests/agent_starting.json");
const LIVE: &str = include_str!("tests/live.json");
const REGION: &str = include_str!("tests/region.json");
const TRACES: &str = include_str!("tests/traces.json");
const DOCTOR: &str = include_str!("tests/doctor.json");

/// Reads a published text and serialises it again.
fn again<T: Serialize + DeserializeOwned>(text: &str) -> T {
    let published: Value = serde_json::from_str(text).unwrap();
    let read: T = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), published);
    read
}

#[test]
fn the_status_of_a_gateway_is_published_as_it_was() {
    let status: GatewayStatus = again(GATEWAY);
    assert_eq!(status.process, ProcessKind::Gateway);
    let link = status.links.iter().find(|link| link.peer == "us-east").unwrap();
    assert_eq!(link.state, LinkState::Paused);
    assert_eq!(link.rtt, Some(Duration::from_micros(80_500)));
    assert_eq!(link.clock_offset, Some(Offset::from_micros(-1_250)));
    assert_eq!(link.lane("default", 1).unwrap().state, LaneState::LifeSuspected);
    let row = status.lag.iter().find(|row| row.stages != Stages::default());
    let row = row.unwrap();
    assert_eq!(row.stages.of(Stage::Wire), Some(Duration::from_millis(40)));
    let unreadable = &status.regions["ap-south"];
    assert_eq!(unreadable.report.unreadable.as_deref(), Some("nonsense"));
    assert_eq!(unreadable.age, Some(Duration::from_millis(250)));
}

#[test]
fn the_status_of_an_agent_is_published_as_it_was() {
    let status: AgentStatus = again(AGENT);
    assert_eq!(status.process, ProcessKind::Agent);
    assert!(status.connected.is_some());
    let shard = status.shards.iter().find(|shard| !shard.applied.is_empty());
    let shard = shard.unwrap();
    assert_eq!(shard.phase, ShardPhase::Serving);
    assert_eq!(shard.lag[0].state, Freshness::Unknown);
    assert_eq!(shard.lag[0].delay, Some(Duration::from_micros(2_655)));
    assert_eq!(shard.needs_sync[0].origin, "us-east");
    let with_peers: AgentStatus = again(AGENT_WITH_PEERS);
    let peer = &with_peers.shards[1].peers["us-east"];
    assert_eq!(
        (peer.age, peer.sequence),
        (Duration::from_micros(22_761), Some(5))
    );
    let starting: AgentStatus = again(STARTING_AGENT);
    assert_eq!((starting.connected, starting.shards), (None, Vec::new()));
}

#[test]
fn the_samples_of_the_page_are_published_as_they_were() {
    let samples: Vec<LagSample> = again(LIVE);
    assert_eq!(samples[0].pairs.len(), 6);
}

#[test]
fn a_regions_report_is_published_as_it_was() {
    let report: RegionReport = again(REGION);
    assert_eq!(report.reporter, "gateway-1");
    let runways = &report.agents[0].shards[0].runways;
    assert_eq!(runways["us-east"], Duration::from_millis(86_400_500));
}

#[test]
fn traced_changes_are_published_as_they_were() {
    let traces: Traces = again(TRACES);
    assert_eq!(traces.traces[0].delay, Some(Duration::from_micros(44_500)));
}

#[test]
fn what_a_doctor_finds_is_published_as_it_was() {
    let report: DoctorReport = again(DOCTOR);
    assert_eq!(report.findings[0].verdict, Verdict::Warn);
}

#[test]
fn an_empty_status_is_read_as_one_that_knows_nothing() {
    let empty = json!({});
    let gateway: GatewayStatus = serde_json::from_value(empty.clone()).unwrap();
    assert_eq!(gateway, GatewayStatus::default());
    let agent: AgentStatus = serde_json::from_value(empty).unwrap();
    assert_eq!(agent, AgentStatus::default());
}

#[test]
fn an_unreadable_region_hides_no_other_one_in_a_status() {
    let long = "x".repeat(5_000);
    let published = json!({
        "name": "gateway-1", "region": "eu-west",
        "regions": {
            "ap-south": {"leader": 7, "links": {}},
            "eu-west": {"leader": "gateway-1"},
            "me-east": {"epoch": long},
            "sa-east": null,
            "us-east": {"unreadable": "nonsense"},
        },
    });
    let status: GatewayStatus = serde_json::from_value(published).unwrap();
    let regions = status.into_regions();
    let unreadable = regions
        .iter()
        .filter_map(|(region, known)| Some((region.as_str(), known.report.unreadable.as_ref()?)));
    let unreadable: Vec<(&str, &String)> = unreadable.collect();
    let names: Vec<&str> = unreadable.iter().map(|(region, _)| *region).collect();
    assert_eq!(names, ["ap-south", "me-east", "sa-east", "us-east"]);
    assert_eq!(regions["eu-west"].report.leader.as_deref(), Some("gateway-1"));
    assert!(unreadable.iter().all(|(_, why)| why.len() <= 256), "{regions:?}");
}

/// Every name in a published text is in the schema of its type, and vice versa.
fn described<T: JsonSchema>(text: &str) {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.with(|settings| settings.inline_subschemas = true);
    let schema = schema.into_generator().into_root_schema_for::<T>();
    let published: Value = serde_json::from_str(text).unwrap();
    compare(&published, schema.as_value(), "");
}

fn compare(published: &Value, schema: &Value, at: &str) {
    match published {
        Value::Object(fields) => {
            let Some(known) = schema["properties"].as_object() else {
                // A map: any name, one schema.
                for value in fields.values() {
                    compare(value, &schema["additionalProperties"], at);
                }
                return;
            };
            for required in schema["required"].as_array().into_iter().flatten() {
                let name = required.as_str().unwrap();
                assert!(fields.contains_key(name), "{at}.{name} is not published");
            }
            for (name, value) in fields {
                let field = known.get(name);
                let field = field.unwrap_or_else(|| panic!("{at}.{name} is not described"));
                compare(value, field, &format!("{at}.{name}"));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| compare(item, &schema["items"], at)),
        Value::Null => {
            let nullable = schema.to_string().contains("\"null\"");
            assert!(nullable, "{at} is null and its schema does not say so: {schema}");
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let kind = match published {
                Value::Bool(_) => "boolean",
                Value::String(_) => "string",
                _ => "",
            };
            let text = schema.to_string();
            let numeric = text.contains("number") || text.contains("integer");
            let fits = if kind.is_empty() {
                numeric
            } else {
                text.contains(kind)
            };
            assert!(fits, "{at}: {published} is not of {schema}");
        }
    }
}

#[test]
fn the_schemas_describe_what_is_published() {
    described::<GatewayStatus>(GATEWAY);
    described::<AgentStatus>(AGENT);
    described::<AgentStatus>(AGENT_WITH_PEERS);
    described::<AgentStatus>(STARTING_AGENT);
    described::<Vec<LagSample>>(LIVE);
    described::<RegionReport>(REGION);
    described::<Traces>(TRACES);
    described::<DoctorReport>(DOCTOR);
}
