//! One trace follows one write, from the client's request until every agent of every region has
//! applied it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use isthmus_e2e::{Agent, Running, until};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;
use reqwest::Method;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const PARENT: u64 = 0x00f0_67aa_0ba9_02b7;
const SOON: Duration = Duration::from_secs(30);

/// The parts of a span that this test compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    name: String,
    region: String,
    process: String,
    id: u64,
    parent: u64,
}

/// An OTLP receiver.
struct Receiver {
    endpoint: String,
    spans: Arc<Mutex<BTreeMap<u128, BTreeSet<Span>>>>,
    _server: JoinSet<std::io::Result<()>>,
}

impl Receiver {
    async fn start() -> anyhow::Result<Self> {
        let spans: Arc<Mutex<BTreeMap<u128, BTreeSet<Span>>>> = Arc::default();
        let kept = Arc::clone(&spans);
        let take = move |body: Bytes| async move {
            let export = ExportTraceServiceRequest::decode(body).unwrap_or_default();
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            for (trace, span) in spans_of(export) {
                kept.entry(trace).or_default().insert(span);
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let mut server = JoinSet::new();
        server
            .spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", post(take))).await });
        Ok(Self {
            endpoint,
            spans,
            _server: server,
        })
    }

    /// Settings that send spans to this receiver: only those of sampled client requests, if clients
    /// may sample.
    fn settings(&self, clients_may_sample: bool) -> String {
        format!(
            "telemetry: {{ otlp: {{ endpoint: \"{}\", protocol: http }}, ratio: 0, clients_may_sample: {clients_may_sample} }}\n",
            self.endpoint
        )
    }

    fn of(&self, trace: u128) -> BTreeSet<Span> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.get(&trace).cloned().unwrap_or_default()
    }
}

fn spans_of(export: ExportTraceServiceRequest) -> Vec<(u128, Span)> {
    let mut spans = Vec::new();
    for resource in export.resource_spans {
        let attributes = resource
            .resource
            .map(|resource| resource.attributes)
            .unwrap_or_default();
        let (region, process) = (
            text(&attributes, "isthmus.region"),
            text(&attributes, "service.instance.id"),
        );
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let trace = span.trace_id.try_into().map(u128::from_be_bytes).unwrap_or(0);
            spans.push((
                trace,
                Span {
                    name: span.name,
                    region: region.clone(),
                    process: process.clone(),
                    id: number(span.span_id),
                    parent: number(span.parent_span_id),
                },
            ));
        }
    }
    spans
}

fn number(id: Vec<u8>) -> u64 {
    id.try_into().map(u64::from_be_bytes).unwrap_or(0)
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

/// How often each step was seen, by name and region.
fn steps(spans: &BTreeSet<Span>) -> BTreeMap<(String, String), usize> {
    let mut steps = BTreeMap::new();
    for span in spans {
        *steps.entry((span.name.clone(), span.region.clone())).or_default() += 1;
    }
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_a_request_to_every_agent_everywhere() -> anyhow::Result<()> {
    let receiver = Receiver::start().await?;
    let otlp = receiver.settings(true);
    let regions = ["eu-west", "us-east", "ap-south"];
    let running = Running::start_with(&regions, &["--rtt", "20ms"], &otlp).await?;
    let traced = running
        .agent("eu-west")
        .request(Method::PUT, "/v1/kv/shop/followed")
        .header("traceparent", format!("00-{TRACE:032x}-{PARENT:016x}-01"))
        .body("x");
    Agent::send(traced).await?.ok()?;
    running
        .agent("eu-west")
        .put("shop", "unfollowed", "", "x")
        .await?
        .ok()?;

    let mut expected: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut step =
        |name: &str, region: &str, times| expected.insert((name.to_owned(), region.to_owned()), times);
    step("put", "eu-west", 1);
    step("append", "eu-west", 1);
    step("forward", "eu-west", 2);
    for region in regions {
        step("apply", region, 2);
    }
    step("receive", "us-east", 1);
    step("receive", "ap-south", 1);
    let spans = until("every step of the write is in its trace", SOON, || async {
        let spans = receiver.of(TRACE);
        ensure!(steps(&spans) == expected, "the trace has {spans:#?}");
        Ok(spans)
    })
    .await?;

    let put = spans
        .iter()
        .find(|span| span.name == "put")
        .context("a span of the request")?;
    ensure!(
        put.parent == PARENT,
        "the request's span is not the client's child: {put:?}"
    );
    for span in spans.iter().filter(|span| span.id != put.id) {
        ensure!(span.parent == put.id, "{span:?} is not a child of {put:?}");
    }
    let appliers: BTreeSet<_> = spans
        .iter()
        .filter(|span| span.name == "apply")
        .map(|span| (&span.region, &span.process))
        .collect();
    ensure!(appliers.len() == 6, "six agents apply: {appliers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_31_a_trace_goes_on_through_a_change_of_leader() -> anyhow::Result<()> {
    let receiver = Receiver::start().await?;
    let otlp = receiver.settings(true);
    let regions = ["eu-west", "us-east"];
    let running = Running::start_with(&regions, &["--rtt", "20ms"], &otlp).await?;
    let written = |key: &'static str, trace: u128| {
        let traced = running
            .agent("eu-west")
            .request(Method::PUT, &format!("/v1/kv/shop/{key}"));
        let traced = traced.header("traceparent", format!("00-{trace:032x}-{PARENT:016x}-01"));
        Agent::send(traced.body("x"))
    };
    let before = running.leader("eu-west").await?;
    before.pause().await?;
    written("waiting", TRACE).await?.ok()?;
    let (put, spans) = until("the write has come through the other leader", SOON, || async {
        let spans = receiver.of(TRACE);
        let applied = spans
            .iter()
            .filter(|span| span.name == "apply" && span.region == "us-east");
        ensure!(applied.count() == 2, "the trace has {spans:#?}");
        let mut forwarded = spans.iter().filter(|span| span.name == "forward");
        let other = forwarded.find(|span| span.process != before.name);
        ensure!(other.is_some(), "{} led, the trace has {spans:#?}", before.name);
        let put = spans.iter().find(|span| span.name == "put").cloned();
        let put = put.with_context(|| format!("no request in {spans:#?}"))?;
        Ok((put, spans))
    })
    .await?;
    before.signal(Signal::CONT)?;
    ensure!(
        spans
            .iter()
            .all(|span| span.id == put.id || span.parent == put.id),
        "one trace, one root: {spans:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_slow_is_traced_after_the_fact_in_one_trace() -> anyhow::Result<()> {
    let receiver = Receiver::start().await?;
    let otlp = receiver.settings(false);
    let running = Running::start_with(&["eu-west", "us-east"], &[], &otlp).await?;
    running
        .agent("eu-west")
        .put("shop", "quick", "", "x")
        .await?
        .ok()?;
    running.identical(SOON).await?;
    running.lab(&["cut", "eu-west", "us-east"])?;
    let slow = running
        .agent("eu-west")
        .put("shop", "slow", "", "x")
        .await?
        .ok()?;
    let since = std::time::Instant::now();
    until("longer than the lag objective", SOON, || async {
        ensure!(since.elapsed() > Duration::from_secs(3), "{:?}", since.elapsed());
        Ok(())
    })
    .await?;
    running.lab(&["heal"])?;
    running.identical(SOON).await?;

    let version = slow.version.context("a version")?;
    let traces = until("agents tell of the slow change", SOON, || async {
        let mut slow = Vec::new();
        for agent in running.agents("us-east") {
            let traces = agent.admin("/v1/traces").await?.ok()?.json()?;
            let traces = traces["traces"].as_array().context("traces")?.clone();
            slow.extend(traces.into_iter().filter(|traced| traced["version"] == version));
        }
        ensure!(slow.len() == 2, "both agents of us-east: {slow:?}");
        Ok(slow)
    })
    .await?;
    ensure!(traces.iter().all(|traced| traced["slow"] == true), "{traces:?}");
    ensure!(
        traces
            .iter()
            .all(|traced| traced["delay_ms"].as_f64() > Some(3000.0)),
        "{traces:?}"
    );
    let trace = traces[0]["trace_id"].as_str().context("a trace")?;
    let trace = u128::from_str_radix(trace, 16)?;
    until("its trace is at the receiver", SOON, || async {
        let spans = receiver.of(trace);
        let counts = steps(&spans);
        let of = |name: &str| counts.get(&(name.to_owned(), "us-east".to_owned())).copied();
        for name in ["slow change", "commit", "queue", "wire", "append", "apply"] {
            ensure!(of(name) == Some(2), "{name} in {counts:?}");
        }
        Ok(())
    })
    .await
}
