//! Export of spans: a bounded queue, batches, and an OTLP receiver that may be unreachable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, SpanExporter as OtlpExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter,
    SpanProcessor,
};
use prometheus_client::metrics::counter::Counter;

use super::ids::Ids;
use crate::metrics::Metrics;
use crate::settings::{Otlp, OtlpProtocol};

/// Maximum number of spans that are queued or in flight; more are dropped.
const QUEUE_SPANS: usize = 8192;
const BATCH_SPANS: usize = 512;
const BATCH_DELAY: Duration = Duration::from_millis(500);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// A provider that records every span: the decision which traces are recorded is made before.
pub(super) fn provider(
    otlp: &Otlp,
    resource: Vec<KeyValue>,
    metrics: &Metrics,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let outstanding = Arc::new(AtomicUsize::new(0));
    let exporter = Counted::new(
        exporter(otlp)?,
        &otlp.endpoint.0,
        metrics,
        Arc::clone(&outstanding),
    );
    let limits = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS)
        .with_max_export_batch_size(BATCH_SPANS)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(limits)
        .build();
    let processor = Bounded::new(processor, metrics, outstanding);
    Ok(SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_id_generator(Ids::default())
        .with_resource(Resource::builder_empty().with_attributes(resource).build())
        .with_span_processor(processor)
        .build())
}

fn exporter(otlp: &Otlp) -> Result<OtlpExporter, ExporterBuildError> {
    let endpoint = &otlp.endpoint.0;
    match otlp.protocol {
        OtlpProtocol::Grpc => OtlpExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .with_retry_policy(RetryPolicy::disabled())
            .build(),
        OtlpProtocol::Http => OtlpExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT_TIMEOUT)
            .with_retry_policy(RetryPolicy::disabled())
            .build(),
    }
}

/// Accepts spans while there is room and counts the others, which the inner processor would drop
/// without counting.
#[derive(Debug)]
struct Bounded {
    inner: BatchSpanProcessor,
    dropped: Counter,
    outstanding: Arc<AtomicUsize>,
}

impl Bounded {
    fn new(inner: BatchSpanProcessor, metrics: &Metrics, outstanding: Arc<AtomicUsize>) -> Self {
        let dropped = Counter::default();
        metrics.register(|registry| {
            let help = "Spans dropped because the queue was full while the OTLP receiver accepted none";
            registry.register("spans_dropped", help, dropped.clone());
        });
        Self {
            inner,
            dropped,
            outstanding,
        }
    }
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.outstanding.fetch_add(1, Ordering::Relaxed) < QUEUE_SPANS {
            self.inner.on_end(span);
        } else {
            self.outstanding.fetch_sub(1, Ordering::Relaxed);
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts exported and failed spans, and logs once when a receiver fails and when it recovers.
#[derive(Debug)]
struct Counted {
    inner: OtlpExporter,
    endpoint: String,
    exported: Counter,
    failed: Counter,
    failing: AtomicBool,
    outstanding: Arc<AtomicUsize>,
}

impl Counted {
    fn new(inner: OtlpExporter, endpoint: &str, metrics: &Metrics, outstanding: Arc<AtomicUsize>) -> Self {
        let (exported, failed) = (Counter::default(), Counter::default());
        metrics.register(|registry| {
            registry.register(
                "spans_exported",
                "Spans that the OTLP receiver accepted",
                exported.clone(),
            );
            registry.register(
                "spans_failed",
                "Spans that the OTLP receiver did not accept",
                failed.clone(),
            );
        });
        Self {
            inner,
            endpoint: endpoint.to_owned(),
            exported,
            failed,
            failing: AtomicBool::new(false),
            outstanding,
        }
    }
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (count, spans) = (batch.len(), batch.len() as u64);
        let outcome = self.inner.export(batch).await;
        self.outstanding.fetch_sub(count, Ordering::Relaxed);
        match outcome {
            Ok(()) => {
                self.exported.inc_by(spans);
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(endpoint = %self.endpoint, "the OTLP receiver accepts spans again");
                }
            }
            Err(error) => {
                self.failed.inc_by(spans);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(endpoint = %self.endpoint, %error, "the OTLP receiver accepts no spans; they are dropped");
                }
            }
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
