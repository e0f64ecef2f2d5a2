//! Following one write: a recorded probe, and the traced changes that this agent applied.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use isthmus_door::openapi::Document;
use isthmus_door::{ErrorCode, Problem};
use isthmus_replication::cell::ContentType;
use isthmus_replication::change::Op;
use isthmus_replication::trace::TraceContext;
use isthmus_report::Stages;
use isthmus_report::trace::{TracedChange, Traces};
use isthmus_runtime::random;
use serde_json::{Value, json};

use super::Assembled;
use crate::door::{self, Rejection};
use crate::operation::{Consistency, DEFAULT_TIMEOUT, Operation, Outcome, Write};
use crate::region::Region;
use crate::traced::Traced;

const PROBE: &str = "/v1/probe/";
/// The most changes of one answer.
const PAGE: usize = 100;
/// The value of a probe expires after this.
const PROBE_TTL: std::time::Duration = std::time::Duration::from_secs(60);

/// Adds the GET routes to the OpenAPI document of the listener.
pub(super) fn describe(document: Document) -> Document {
    document
        .get::<Traces>("/v1/traces", "The newest traced changes that this agent applied")
        .get::<Traces>(
            "/v1/traces/{trace}",
            "The changes of one trace that this agent applied",
        )
}

/// The routes that follow writes.
pub(super) fn router(assembled: &Assembled) -> Router {
    Router::new()
        .route("/v1/probe/{*rest}", post(probe))
        .route("/v1/traces", get(newest))
        .route("/v1/traces/{trace}", get(one))
        .with_state(Arc::clone(assembled))
}

/// `POST /v1/probe/{bucket}/{key}`: writes a value that lives for a minute, and records its trace.
/// The key must hold no value.
async fn probe(State(assembled): State<Assembled>, request: Request) -> Response {
    let rest = request.uri().path().strip_prefix(PROBE).unwrap_or_default();
    match write(&assembled, rest).await {
        Ok(json) => Json(json).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn write(assembled: &Assembled, rest: &str) -> Result<Value, Rejection> {
    let (bucket, key) = door::key_of_path(rest)?;
    let region = running(assembled)?;
    let refused = |refusal| Box::new(door::problem(&refusal));
    let held = region.core.held(&bucket, &key).map_err(refused)?;
    if held.is_some_and(|(held, wall)| held.cell.live_value(wall).is_some()) {
        let detail = "the key holds a value, which a probe would replace; name one that holds none";
        return Err(Box::new(Problem::new(ErrorCode::InvalidKey, detail)));
    }
    let shard = region.core.policy().shard(&bucket, &key).map_err(refused)?;
    let holding = region.core.policy().regions(&shard).into_iter();
    let regions: Vec<String> = holding.map(|region| region.to_string()).collect();
    let drawn = || random::bits().map(|bits| bits.max(1));
    let unavailable =
        |error: random::NoRandomness| Box::new(Problem::new(ErrorCode::NotReady, error.to_string()));
    let trace = TraceContext {
        trace_id: u128::from(drawn().map_err(unavailable)?) << 64 | u128::from(drawn().map_err(unavailable)?),
        span_id: drawn().map_err(unavailable)?,
        flags: TraceContext::SAMPLED,
    };
    let probe = Operation::Write(Write {
        bucket,
        key,
        op: Op::Put {
            value: Bytes::from_static(b"a probe of isthmus trace"),
            content_type: ContentType::default(),
        },
        ttl: Some(PROBE_TTL),
        consistency: Consistency::Region,
        timeout: DEFAULT_TIMEOUT,
        session: None,
        trace: Some(trace),
        followed: true,
    });
    match region.core.execute(probe).await {
        Ok(Outcome::Written(written)) => Ok(json!({
            "trace_id": hex(trace.trace_id),
            "version": written.version.to_string(),
            "region": region.core.policy().region().as_str(),
            "regions": regions,
        })),
        Ok(_) => Err(Box::new(Problem::new(
            ErrorCode::NotReady,
            "a write was not answered as a write",
        ))),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// `GET /v1/traces`: the newest traced changes that this agent applied. The trace of a slow change
/// began when the change was found to be slow.
async fn newest(State(assembled): State<Assembled>) -> Response {
    tell(&assembled, |_| true)
}

/// `GET /v1/traces/{trace_id}`: the changes of one trace that this agent applied.
async fn one(State(assembled): State<Assembled>, Path(trace): Path<String>) -> Response {
    let Ok(trace_id) = u128::from_str_radix(&trace, 16) else {
        let detail = "the ID of a trace has 32 hex digits";
        return Problem::new(ErrorCode::InvalidRequest, detail).into_response();
    };
    tell(&assembled, |traced| traced.trace_id == trace_id)
}

fn tell(assembled: &Assembled, matches: impl Fn(&Traced) -> bool) -> Response {
    match running(assembled) {
        Ok(region) => {
            let found = region.core.context().traced.newest(PAGE, matches);
            let traces = found.iter().map(of_traced).collect();
            Json(Traces { traces }).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

fn running(assembled: &Assembled) -> Result<&Region, Rejection> {
    let starting = || Box::new(Problem::new(ErrorCode::NotReady, "the agent is starting"));
    assembled.get().ok_or_else(starting)
}

fn of_traced(traced: &Traced) -> TracedChange {
    TracedChange {
        trace_id: hex(traced.trace_id),
        slow: traced.slow,
        origin: traced.origin.to_string(),
        group: traced.shard.group.to_string(),
        partition: traced.shard.partition,
        sequence: traced.sequence.0,
        version: traced.version.to_string(),
        key: traced.key.clone(),
        applied_at: door::timestamp(traced.applied_at),
        delay: Some(traced.delay.total()),
        stages: Stages::from(&traced.delay),
        uncertainty: traced.delay.uncertainty,
    }
}

fn hex(trace_id: u128) -> String {
    format!("{trace_id:032x}")
}
