//! Logs and traces. The only module that uses OpenTelemetry.
//!
//! One trace follows one write (design.md section 11). The door creates a [`Span`] with
//! [`Tracer::root`]; its [`Span::context`] is stored in the change; every later hop creates a child
//! of that context, so that all spans are part of one trace. A hop that handles many changes at
//! once creates one [`Tracer::batch`] span that links to them. A trace that is not recorded costs
//! nothing here: no span is created for it.

mod export;
mod ids;
mod logs;
pub mod traceparent;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isthmus_replication::time::Wall;
use isthmus_replication::trace::TraceContext;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span as SdkSpan};

use crate::metrics::Metrics;
use crate::random;
use crate::settings::{ProcessSettings, TelemetrySettings};
use logs::Logs;

/// Telemetry that prevents a process from starting.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The exporter can't be built.
    #[error("the OTLP exporter can't be built: {0}; correct telemetry.otlp")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The log filter is invalid, although the settings are checked for it.
    #[error("telemetry.log is not a log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
}

/// The telemetry of a process.
#[derive(Debug)]
pub struct Telemetry {
    tracer: Tracer,
    logs: Logs,
}

/// Creates spans. Clones are the same tracer.
#[derive(Debug, Clone, Default)]
pub struct Tracer {
    recording: Option<Arc<Recording>>,
    ratio: f64,
    clients_may_sample: bool,
    show_keys: bool,
}

#[derive(Debug)]
struct Recording {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Attributes of every span, since receivers drop resource attributes.
    common: Vec<KeyValue>,
}

/// One hop of a trace. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span {
    recorded: Option<SdkSpan>,
    context: Option<TraceContext>,
}

/// The role of a span in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Answers a request from outside.
    Server,
    /// Hands work to another process.
    Producer,
    /// Takes work from another process.
    Consumer,
    /// Internal to the process.
    Internal,
}

impl Telemetry {
    /// Starts logs and, if the settings name a receiver, traces. Call it within tokio's runtime,
    /// once per process.
    ///
    /// # Errors
    /// [`TelemetryError`].
    pub fn start(
        service: &'static str,
        process: &ProcessSettings,
        metrics: &Metrics,
    ) -> Result<Self, TelemetryError> {
        let settings = &process.telemetry;
        let logs = Logs::start(settings)?;
        let Some(otlp) = &settings.otlp else {
            return Ok(Self {
                tracer: Tracer::new(settings, None),
                logs,
            });
        };
        let common = vec![
            KeyValue::new("service.name", service),
            KeyValue::new("service.instance.id", process.name.to_string()),
            KeyValue::new("isthmus.set", process.set.name.to_string()),
            KeyValue::new("isthmus.region", process.region.to_string()),
        ];
        let provider = export::provider(otlp, common.clone(), metrics)?;
        Ok(Self {
            tracer: Tracer::new(settings, Some(Recording::new(provider, common))),
            logs,
        })
    }

    /// The tracer of this process.
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Changes the log filter; the settings have checked it.
    pub(crate) fn filter_logs(&self, filter: &str) {
        self.logs.filter(filter);
    }

    /// Sends the remaining spans, as far as possible `within` that time.
    pub async fn finish(self, within: Duration) {
        let Some(recording) = self.tracer.recording else {
            return;
        };
        let flush = tokio::task::spawn_blocking(move || recording.provider.shutdown_with_timeout(within));
        match tokio::time::timeout(within, flush).await {
            Ok(Ok(Ok(()))) => {}
            outcome => tracing::warn!(?outcome, "the last spans were not sent"),
        }
    }
}

impl Tracer {
    /// Records nothing and does not let clients record; incoming contexts are still passed on.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    fn new(settings: &TelemetrySettings, recording: Option<Recording>) -> Self {
        Self {
            recording: recording.map(Arc::new),
            ratio: settings.ratio,
            clients_may_sample: settings.clients_may_sample,
            show_keys: settings.show_keys,
        }
    }

    /// The first span of a write here: a child of the client's context, or a new root. The
    /// configured share of new roots is recorded, and the same share of client traces that ask for
    /// recording (all of them if clients may decide). A client trace that does not ask for
    /// recording is not recorded.
    #[must_use]
    pub fn root(&self, client: Option<TraceContext>, name: &'static str) -> Span {
        match (client, &self.recording) {
            (Some(client), _) => self.child(&self.admitted(client), name, Side::Server),
            (None, Some(recording)) if self.draws() => {
                recording.span(&Context::new(), name, Side::Server, None)
            }
            (None, _) => Span::default(),
        }
    }

    /// The client's context, with the sampling flag removed if its trace is not recorded.
    fn admitted(&self, client: TraceContext) -> TraceContext {
        if !client.sampled() || self.clients_may_sample || self.draws() {
            return client;
        }
        TraceContext {
            flags: client.flags & !TraceContext::SAMPLED,
            ..client
        }
    }

    /// Whether to record a trace. Without randomness none is recorded.
    fn draws(&self) -> bool {
        let share = self.ratio * u64::MAX as f64;
        self.ratio > 0.0 && random::bits().is_ok_and(|bits| bits as f64 <= share)
    }

    /// Whether spans are exported.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.recording.is_some()
    }

    /// A span of a trace that was not recorded at its start. Every process that observes the same
    /// fact uses the same trace identifier; the span has no parent.
    #[must_use]
    pub fn belated(&self, trace_id: u128, name: &'static str, side: Side, began: Wall) -> Span {
        let Some(recording) = &self.recording else {
            return Span::default();
        };
        ids::agreed(TraceId::from(trace_id), || {
            recording.span(&Context::new(), name, side, Some(began))
        })
    }

    /// A hop in the trace of `parent` that starts now.
    #[must_use]
    pub fn child(&self, parent: &TraceContext, name: &'static str, side: Side) -> Span {
        self.child_since(parent, name, side, None)
    }

    /// A hop in the trace of `parent` that started at `began`.
    #[must_use]
    pub fn child_at(&self, parent: &TraceContext, name: &'static str, side: Side, began: Wall) -> Span {
        self.child_since(parent, name, side, Some(began))
    }

    fn child_since(
        &self,
        parent: &TraceContext,
        name: &'static str,
        side: Side,
        began: Option<Wall>,
    ) -> Span {
        match &self.recording {
            Some(recording) if parent.sampled() => {
                let context = Context::new().with_remote_span_context(span_context(parent));
                recording.span(&context, name, side, began)
            }
            _ => Span {
                recorded: None,
                context: Some(*parent),
            },
        }
    }

    /// A hop that handles many changes at once: a trace of its own with a link to each recorded one
    /// of `contexts`. If none of them is recorded, it is not recorded either.
    #[must_use]
    pub fn batch<'a>(
        &self,
        contexts: impl IntoIterator<Item = &'a TraceContext>,
        name: &'static str,
        side: Side,
    ) -> Span {
        let Some(recording) = &self.recording else {
            return Span::default();
        };
        let mut links = contexts
            .into_iter()
            .filter(|context| context.sampled())
            .peekable();
        if links.peek().is_none() {
            return Span::default();
        }
        let mut span = recording.span(&Context::new(), name, side, None);
        links.for_each(|context| span.link(context));
        span
    }

    /// How spans show `key`: unchanged if the settings allow it, else as a hash.
    #[must_use]
    pub fn key(&self, bucket: &str, key: &str) -> String {
        if self.show_keys {
            return format!("{bucket}/{key}");
        }
        format!("{bucket}/{:016x}", xxhash_rust::xxh3::xxh3_64(key.as_bytes()))
    }
}

impl Recording {
    fn new(provider: SdkTracerProvider, common: Vec<KeyValue>) -> Self {
        Self {
            tracer: provider.tracer("isthmus"),
            provider,
            common,
        }
    }

    fn span(&self, parent: &Context, name: &'static str, side: Side, began: Option<Wall>) -> Span {
        let mut builder = SpanBuilder::from_name(name)
            .with_kind(side.into())
            .with_attributes(self.common.clone());
        if let Some(began) = began {
            builder = builder.with_start_time(system_time(began));
        }
        let recorded = builder.start_with_context(&self.tracer, parent);
        let context = trace_context(recorded.span_context());
        Span {
            recorded: Some(recorded),
            context,
        }
    }
}

impl Span {
    /// The context for the change: that of this span, or the client's if the span is not recorded
    /// here.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        self.context
    }

    /// Whether the span will be exported. If not, expensive attributes need not be computed.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Sets an attribute: a string, a number or a boolean.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.recorded {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Links to another span.
    pub fn link(&mut self, context: &TraceContext) {
        if let Some(span) = &mut self.recorded {
            span.add_link(span_context(context), Vec::new());
        }
    }

    /// Marks the hop as failed.
    pub fn fail(&mut self, reason: impl Into<std::borrow::Cow<'static, str>>) {
        if let Some(span) = &mut self.recorded {
            span.set_status(Status::error(reason));
        }
    }

    /// Ends the span at `ended`.
    pub fn end_at(mut self, ended: Wall) {
        if let Some(span) = &mut self.recorded {
            span.end_with_timestamp(system_time(ended));
        }
    }
}

impl From<Side> for SpanKind {
    fn from(side: Side) -> Self {
        match side {
            Side::Server => Self::Server,
            Side::Producer => Self::Producer,
            Side::Consumer => Self::Consumer,
            Side::Internal => Self::Internal,
        }
    }
}

fn system_time(wall: Wall) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(wall.micros())
}

fn span_context(context: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from(context.trace_id),
        SpanId::from(context.span_id),
        TraceFlags::new(context.flags),
        true,
        TraceState::default(),
    )
}

fn trace_context(context: &SpanContext) -> Option<TraceContext> {
    context.is_valid().then(|| TraceContext {
        trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(context.span_id().to_bytes()),
        flags: context.trace_flags().to_u8(),
    })
}

#[cfg(test)]
mod tests;
