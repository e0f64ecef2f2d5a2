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

/// An OTLP receiver that keeps the bytes it is sent.
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

    /// Whether one of the exports holds all of `parts`.
    fn holds(&self, parts: &[&[u8]]) -> bool {
        let contains = |body: &Bytes, part: &[u8]| body.windows(part.len()).any(|window| window == part);
        let received = self.received.lock().unwrap();
        received
            .iter()
            .any(|body| parts.iter().all(|part| contains(body, part)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_gateways_add_spans_to_the_trace_of_a_sampled_change() {
    let world = World::two_regions(Duration::from_millis(10)).await;
    let collector = Receiver::start().await;
    for name in [EU, US] {
        let settings = world.folder_of(name).join("gateway.yaml");
        let otlp = format!(
            "telemetry: {{ otlp: {{ endpoint: \"{}\", protocol: http }} }}\n",
            collector.endpoint
        );
        let with_otlp = common::read(&settings) + &otlp;
        std::fs::write(&settings, with_otlp).unwrap();
    }
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    other.connected(EU).await;
    let context = |trace_id, flags| TraceContext {
        trace_id,
        span_id: 7,
        flags,
    };
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
