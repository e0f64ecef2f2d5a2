//! One trace follows one write: both gateways add their spans to the trace that the change carries.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use common::{Contents, EU, SOON, US, World, region};
use isthmus_log::testing::until;
use isthmus_replication::trace::TraceContext;
use tokio::task::JoinSet;

/// An OTLP receiver that keeps the bytes that it receives.
struct Receiver {
    endpoint: String,
    received: Arc<Mutex<Vec<Bytes>>>,
    _server: JoinSet<std::io::Result<()>>,
}

impl Receiver {
    async fn start() -> Self {
        let received: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let kept = Arc::clone(&received);
        let keep = move |body: Bytes| async move { kept.lock().unwrap().push(body) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server
            .spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", post(keep))).await });
        Self {
            endpoint,
            received,
            _server: server,
        }
    }

    /// Makes the gateways of both regions that start from now on send their spans here.
    fn watches(&self, world: &World) {
        for name in [EU, US] {
            let settings = world.folder_of(name).join("gateway.yaml");
            let otlp = format!(
                "telemetry: {{ otlp: {{ endpoint: \"{}\", protocol: http }} }}\n",
                self.endpoint
            );
            std::fs::write(&settings, common::read(&settings) + &otlp).unwrap();
        }
    }

    /// Whether one of the exports contains all of `parts`.
    fn holds(&self, parts: &[&[u8]]) -> bool {
        let contains = |body: &Bytes, part: &[u8]| body.windows(part.len()).any(|window| window == part);
        let received = self.received.lock().unwrap();
        received
            .iter()
            .any(|body| parts.iter().all(|part| contains(body, part)))
    }
}

fn context(trace_id: u128, flags: u8) -> TraceContext {
    TraceContext {
        trace_id,
        span_id: 7,
        flags,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_gateways_add_spans_to_the_trace_of_a_sampled_change() {
    let world = World::two_regions(Duration::from_millis(10)).await;
    let collector = Receiver::start().await;
    collector.watches(&world);
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    other.connected(EU).await;
    let (sampled, unsampled) = (0x5eed_0000_feed_0001_u128 << 64 | 42, 0xbad_u128 << 96 | 9);
    eu.put_traced("followed", context(sampled, 1)).await;
    eu.put_traced("unfollowed", context(unsampled, 0)).await;
    Contents::with_keys(&us.ports, &region(EU), 2).await;
    until("spans of both gateways", SOON, || async {
        let trace = sampled.to_be_bytes();
        let forwarded = collector.holds(&[&trace, b"forward", EU.as_bytes()]);
        let received = collector.holds(&[&trace, b"receive", US.as_bytes()]);
        (forwarded && received).then_some(())
    })
    .await;
    assert!(
        !collector.holds(&[&unsampled.to_be_bytes()]),
        "a trace that nobody samples was sent"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflated_changes_trace_ends_at_the_sender_and_says_so() {
    let world = World::two_regions(Duration::from_millis(10)).await;
    let collector = Receiver::start().await;
    collector.watches(&world);
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    other.connected(EU).await;
    assert_eq!(one.post("/v1/links/us-east/pause").await, 200);
    one.becomes("a paused lane", |status| {
        common::link(status, US)["lanes"][0]["state"] == "paused"
    })
    .await;
    let (replaced, newest) = (
        0x5eed_0000_feed_0002_u128 << 64 | 43,
        0x5eed_0000_feed_0003_u128 << 64 | 44,
    );
    eu.put_traced("hot", context(replaced, 1)).await;
    eu.put_traced("hot", context(newest, 1)).await;
    let last = eu.put_large("large", 300_000).await;
    one.becomes("a paused lane that has read everything and waited", |status| {
        let lane = &common::link(status, US)["lanes"][0];
        lane["read"].as_u64() >= Some(last.0) && lane["lag_ms"].as_f64() > Some(1000.0)
    })
    .await;
    assert_eq!(one.post("/v1/links/us-east/resume").await, 200);
    let arrived = Contents::with_keys(&us.ports, &region(EU), 2).await;
    assert_eq!(arrived.keys, ["hot", "large"]);
    one.counts("isthmus_changes_conflated_total{peer=\"us-east\"}", 1.0)
        .await;
    until("the spans of both changes", SOON, || async {
        let left_out = collector.holds(&[&replaced.to_be_bytes(), b"forward", b"isthmus.conflated"]);
        let received = collector.holds(&[&newest.to_be_bytes(), b"receive", US.as_bytes()]);
        (left_out && received).then_some(())
    })
    .await;
    assert!(
        !collector.holds(&[&replaced.to_be_bytes(), b"receive"]),
        "a change that was left out was received"
    );
}
