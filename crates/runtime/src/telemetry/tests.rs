#![allow(clippy::unwrap_used)]

use std::time::Instant;

use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use super::*;
use crate::settings::{Endpoint, Otlp, OtlpProtocol};

const CLIENT: TraceContext = TraceContext {
    trace_id: 0xabc,
    span_id: 0xdef,
    flags: 1,
};
const BOUND: Duration = Duration::from_secs(20);

fn settings(ratio: f64, clients_may_sample: bool) -> TelemetrySettings {
    TelemetrySettings {
        ratio,
        clients_may_sample,
        ..TelemetrySettings::default()
    }
}

fn recorded_by(settings: &TelemetrySettings) -> (Tracer, InMemorySpanExporter) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .with_id_generator(ids::Ids::default())
        .build();
    let recording = Recording::new(provider, vec![KeyValue::new("isthmus.region", "eu-west")]);
    (Tracer::new(settings, Some(recording)), exporter)
}

fn recorded(ratio: f64) -> (Tracer, InMemorySpanExporter) {
    recorded_by(&settings(ratio, true))
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap()
}

#[test]
fn every_hop_of_a_write_lands_in_the_clients_trace() {
    let (tracer, exporter) = recorded(0.0);
    let mut put = tracer.root(Some(CLIENT), "put");
    put.set("isthmus.shard", "default/0");
    let carried = put.context().unwrap();
    drop(put);
    let apply = tracer.child_at(&carried, "apply", Side::Consumer, Wall::from_millis(1_000));
    let append = tracer.batch(
        [&carried, &TraceContext { flags: 0, ..CLIENT }],
        "append",
        Side::Producer,
    );
    apply.end_at(Wall::from_millis(2_000));
    drop(append);

    let spans = exporter.get_finished_spans().unwrap();
    let (put, apply, append) = (
        named(&spans, "put"),
        named(&spans, "apply"),
        named(&spans, "append"),
    );
    assert_eq!(put.span_context.trace_id(), TraceId::from(CLIENT.trace_id));
    assert_eq!(put.parent_span_id, SpanId::from(CLIENT.span_id));
    assert_eq!(apply.span_context.trace_id(), put.span_context.trace_id());
    assert_eq!(apply.parent_span_id, put.span_context.span_id());
    assert_eq!(
        apply.end_time.duration_since(apply.start_time).unwrap(),
        Duration::from_secs(1)
    );
    assert_eq!(append.links.len(), 1);
    assert_eq!(
        append.links.iter().next().unwrap().span_context.span_id(),
        put.span_context.span_id()
    );
    for span in &spans {
        assert!(
            span.attributes
                .contains(&KeyValue::new("isthmus.region", "eu-west")),
            "{}",
            span.name
        );
    }
}

#[test]
fn sampling_honours_the_client_and_new_roots_follow_the_ratio() {
    let unsampled = TraceContext { flags: 0, ..CLIENT };
    let (all, exporter) = recorded(1.0);
    assert_eq!(all.root(Some(unsampled), "put").context(), Some(unsampled));
    assert!(exporter.get_finished_spans().unwrap().is_empty());
    let root = all.root(None, "put");
    assert!(root.is_recorded() && root.context().is_some_and(|context| context.sampled()));

    let (none, exporter) = recorded(0.0);
    assert_eq!(none.root(None, "put").context(), None);
    assert!(!none.batch([&unsampled], "append", Side::Producer).is_recorded());
    assert!(exporter.get_finished_spans().unwrap().is_empty());

    let (some, _) = recorded(0.5);
    let drawn = (0..1000).filter(|_| some.root(None, "put").is_recorded()).count();
    assert!((350..650).contains(&drawn), "{drawn}");
}

#[test]
fn a_client_that_may_not_decide_gets_the_share_that_others_get() {
    let (none, exporter) = recorded_by(&settings(0.0, false));
    let carried = none.root(Some(CLIENT), "put").context().unwrap();
    assert_eq!(
        (carried.trace_id, carried.span_id),
        (CLIENT.trace_id, CLIENT.span_id)
    );
    assert!(!carried.sampled());
    assert!(exporter.get_finished_spans().unwrap().is_empty());
    let off = Tracer::new(&settings(0.0, false), None);
    assert!(
        !off.root(Some(CLIENT), "put").context().unwrap().sampled(),
        "other regions may send spans"
    );

    let (some, _) = recorded_by(&settings(0.5, false));
    let drawn = (0..1000).filter(|_| some.root(Some(CLIENT), "put").is_recorded());
    assert!((350..650).contains(&drawn.count()));
    let unsampled = TraceContext { flags: 0, ..CLIENT };
    let wanted = (0..100).filter(|_| some.root(Some(unsampled), "put").is_recorded());
    assert_eq!(wanted.count(), 0);
}

#[test]
fn processes_agree_on_the_trace_of_a_change_recorded_belatedly() {
    let (tracer, exporter) = recorded(0.0);
    let slow = tracer.belated(0x51, "slow change", Side::Consumer, Wall::from_millis(1_000));
    let stage = tracer.child_at(
        &slow.context().unwrap(),
        "wire",
        Side::Internal,
        Wall::from_millis(1_000),
    );
    stage.end_at(Wall::from_millis(4_000));
    slow.end_at(Wall::from_millis(4_500));
    let other = tracer.belated(0x51, "slow change", Side::Consumer, Wall::from_millis(1_000));
    drop(other);
    let spans = exporter.get_finished_spans().unwrap();
    assert!(
        spans
            .iter()
            .all(|span| span.span_context.trace_id() == TraceId::from(0x51))
    );
    let (slow, stage) = (named(&spans, "slow change"), named(&spans, "wire"));
    assert_eq!(slow.parent_span_id, SpanId::INVALID);
    assert_eq!(stage.parent_span_id, slow.span_context.span_id());
    assert_eq!(
        slow.end_time.duration_since(slow.start_time).unwrap(),
        Duration::from_millis(3_500)
    );
    drop(tracer.root(None, "put"));
    assert!(tracer.root(Some(CLIENT), "put").context().unwrap().trace_id == CLIENT.trace_id);
}

#[test]
fn without_a_receiver_contexts_travel_on_and_keys_are_hashed() {
    let off = Tracer::new(&settings(0.0, true), None);
    assert_eq!(off.root(Some(CLIENT), "put").context(), Some(CLIENT));
    assert_eq!(
        off.child(&CLIENT, "apply", Side::Internal).context(),
        Some(CLIENT)
    );
    assert_eq!(off.root(None, "put").context(), None);
    let shown = off.key("carts", "alice@example.org");
    assert!(shown.starts_with("carts/") && !shown.contains("alice"));
}

fn exporting(endpoint: String, protocol: OtlpProtocol) -> (Telemetry, Metrics) {
    let metrics = Metrics::new("test", "0");
    let otlp = Otlp {
        endpoint: Endpoint(endpoint),
        protocol,
    };
    let resource = vec![KeyValue::new("service.name", "isthmus-test")];
    let provider = export::provider(&otlp, resource.clone(), &metrics).unwrap();
    (
        Telemetry {
            tracer: Tracer::new(&settings(1.0, true), Some(Recording::new(provider, resource))),
            logs: Logs::off(),
        },
        metrics,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_a_receiver_over_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (telemetry, metrics) = exporting(
        format!("http://{}", listener.local_addr().unwrap()),
        OtlpProtocol::Http,
    );
    let mut received = JoinSet::new();
    received.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !String::from_utf8_lossy(&request).contains("default/0") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8_lossy(&request).into_owned()
    });
    telemetry
        .tracer()
        .root(Some(CLIENT), "put")
        .set("isthmus.shard", "default/0");
    let request = tokio::time::timeout(BOUND, received.join_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(request.starts_with("POST /v1/traces HTTP/1.1"), "{request}");
    assert!(request.contains("isthmus-test"), "{request}");
    telemetry.finish(BOUND).await;
    assert!(
        metrics.text().contains("isthmus_spans_exported_total 1"),
        "{}",
        metrics.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_a_receiver_over_grpc() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (telemetry, metrics) = exporting(
        format!("http://{}", listener.local_addr().unwrap()),
        OtlpProtocol::Grpc,
    );
    let mut received = JoinSet::new();
    received.spawn(async move {
        let mut connection = h2::server::handshake(listener.accept().await.unwrap().0)
            .await
            .unwrap();
        let (mut seen, mut answers) = (None, JoinSet::new());
        while let Some(request) = connection.accept().await {
            let (request, answer) = request.unwrap();
            seen.get_or_insert_with(|| request.uri().path().to_owned());
            answers.spawn(take(request.into_body(), answer));
        }
        answers.join_all().await;
        seen
    });
    telemetry
        .tracer()
        .root(Some(CLIENT), "put")
        .set("isthmus.shard", "default/0");
    telemetry.finish(BOUND).await;
    let path = tokio::time::timeout(BOUND, received.join_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        path.as_deref(),
        Some("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    );
    assert!(
        metrics.text().contains("isthmus_spans_exported_total 1"),
        "{}",
        metrics.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_without_room_are_counted_and_nobody_waits() {
    // It accepts connections but never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (telemetry, metrics) = exporting(endpoint, OtlpProtocol::Http);
    let (tracer, began) = (telemetry.tracer(), Instant::now());
    let made = 10_000;
    (0..made).for_each(|_| drop(tracer.root(Some(CLIENT), "put")));
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    let text = metrics.text();
    let dropped = text
        .lines()
        .find_map(|line| line.strip_prefix("isthmus_spans_dropped_total "));
    let dropped: u64 = dropped.unwrap().parse().unwrap();
    assert!((1..made).contains(&dropped), "{text}");
    telemetry.finish(Duration::from_millis(10)).await;
}

/// Reads one gRPC request and answers it with an empty message.
async fn take(mut body: h2::RecvStream, mut answer: h2::server::SendResponse<bytes::Bytes>) {
    let mut request = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        request.extend_from_slice(&chunk);
    }
    let request = String::from_utf8_lossy(&request);
    assert!(
        request.contains("isthmus-test") && request.contains("default/0"),
        "{request}"
    );
    let head = http::Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let mut stream = answer.send_response(head, false).unwrap();
    stream
        .send_data(bytes::Bytes::from_static(&[0; 5]), false)
        .unwrap();
    let status = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    stream.send_trailers(status).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_blocks_nothing_and_is_counted() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::Http] {
        let (telemetry, metrics) = exporting("http://127.0.0.1:1".to_owned(), protocol);
        let tracer = telemetry.tracer();
        let begun = Instant::now();
        for _ in 0..20_000 {
            drop(tracer.root(None, "put"));
        }
        assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
        telemetry.finish(BOUND).await;
        let text = metrics.text();
        let failed = text
            .lines()
            .find_map(|line| line.strip_prefix("isthmus_spans_failed_total "))
            .unwrap();
        assert!(failed.parse::<u64>().unwrap() > 0, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_a_receiver_that_was_away() {
    // The port is bound and refuses connections until somebody listens on it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let (telemetry, metrics) = exporting(format!("http://{address}"), OtlpProtocol::Grpc);
    let tracer = telemetry.tracer();
    let until = async |counted: &str| {
        let more = async {
            while metrics.text().contains(&format!("{counted} 0\n")) {
                tracer.root(Some(CLIENT), "put").set("isthmus.shard", "default/0");
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, more).await.unwrap();
    };
    until("isthmus_spans_failed_total").await;
    let listener = socket.listen(16).unwrap();
    let mut receiver = JoinSet::new();
    receiver.spawn(async move {
        let mut connection = h2::server::handshake(listener.accept().await.unwrap().0)
            .await
            .unwrap();
        let mut answers = JoinSet::new();
        while let Some(request) = connection.accept().await {
            let (request, answer) = request.unwrap();
            answers.spawn(take(request.into_body(), answer));
        }
        answers.join_all().await;
    });
    until("isthmus_spans_exported_total").await;
    telemetry.finish(BOUND).await;
}
