//! Spans on their way out: a bounded queue, batches, an OTLP receiver that may be away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, SpanExporter as OtlpExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use prometheus_client::metrics::counter::Counter;

use crate::metrics::Metrics;
use crate::settings::{Otlp, OtlpProtocol};

/// Spans that wait; more are dropped.
const QUEUE_SPANS: usize = 8192;
const BATCH_SPANS: usize = 512;
const BATCH_DELAY: Duration = Duration::from_millis(500);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// A provider that records every span it is asked for: which traces are recorded is decided before.
pub(super) fn provider(
    otlp: &Otlp,
    resource: Vec<KeyValue>,
    metrics: &Metrics,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = Counted::new(exporter(otlp)?, &otlp.endpoint.0, metrics);
    let limits = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS)
        .with_max_export_batch_size(BATCH_SPANS)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(limits)
        .build();
    Ok(SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
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

/// Counts what leaves and what does not, and says once when a receiver goes and comes back.
#[derive(Debug)]
struct Counted {
    inner: OtlpExporter,
    endpoint: String,
    exported: Counter,
    failed: Counter,
    failing: AtomicBool,
}

impl Counted {
    fn new(inner: OtlpExporter, endpoint: &str, metrics: &Metrics) -> Self {
        let (exported, failed) = (Counter::default(), Counter::default());
        metrics.register(|registry| {
            registry.register(
                "spans_exported",
                "Spans that the OTLP receiver took",
                exported.clone(),
            );
            registry.register(
                "spans_failed",
                "Spans that the OTLP receiver did not take",
                failed.clone(),
            );
        });
        Self {
            inner,
            endpoint: endpoint.to_owned(),
            exported,
            failed,
            failing: AtomicBool::new(false),
        }
    }
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        match self.inner.export(batch).await {
            Ok(()) => {
                self.exported.inc_by(spans);
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(endpoint = %self.endpoint, "the OTLP receiver takes spans again");
                }
            }
            Err(error) => {
                self.failed.inc_by(spans);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(endpoint = %self.endpoint, %error, "the OTLP receiver takes no spans; they are dropped");
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
