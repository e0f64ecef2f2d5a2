//! One key at a time: PUT, GET and DELETE, and the listing of a bucket.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use isthmus_door::{ErrorCode, HeldBytes, Problem};
use isthmus_replication::cell::ContentType;
use isthmus_replication::change::Op;
use isthmus_replication::names::{BucketName, Key};
use isthmus_replication::session_token::SessionToken;
use isthmus_replication::trace::TraceContext;
use isthmus_runtime::telemetry::traceparent;

use super::answer::{ListedBody, SESSION, WrittenBody, answer, problem};
use super::query::{InvalidParameter, Parameter, Query};
use super::rights::Asker;
use super::target::{InvalidTarget, Target};
use super::{Rejection, reject, value};
use crate::operation::{Core, Get, List, Operation, Write};

const PREFIX: &str = "/v1/kv/";

/// Sets a key.
///
/// The body is the value; its media type is kept. Acknowledged means durable in this region's log
/// and readable here.
#[utoipa::path(put, path = "/v1/kv/{bucket}/{key}",
    params(
        ("bucket" = String, Path, description = "The bucket: [a-z0-9-]{1,32}"),
        ("key" = String, Path, description = "The key: 1 to 1024 bytes of UTF-8, percent-encoded; may hold `/`"),
        ("ttl" = Option<String>, Query, description = "How long the value lives, such as 30s"),
        ("consistency" = Option<String>, Query, description = "`region` (default), `majority` or `all`"),
        ("timeout" = Option<String>, Query, description = "How long to wait, at most 60s; 5s by default"),
        ("Isthmus-Session" = Option<String>, Header, description = "A session to continue: the write comes after everything that it has seen, or is refused with 409 `stale`"),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context"),
    ),
    request_body(content = Vec<u8>, content_type = "*/*"),
    responses(
        (status = 200, body = WrittenBody, headers(("ETag" = String), ("Isthmus-Version" = String), ("Isthmus-Session" = String))),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn put(
    State(core): State<Arc<Core>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Response {
    let mut holding = HeldBytes::of(request.extensions()).holding();
    let written = async {
        let (bucket, key) = key_of(&request)?;
        asker.writes(&bucket)?;
        let query = query(
            &request,
            &[Parameter::Ttl, Parameter::Consistency, Parameter::Timeout],
        )?;
        let content_type = content_type(request.headers())?;
        let (session, trace) = (session(request.headers())?, trace(request.headers()));
        let limit = core
            .policy()
            .max_value(&bucket)
            .map_err(|refusal| Box::new(problem(&refusal)))?;
        let value = value::read(request.into_body(), limit, &mut holding).await?;
        let op = Op::Put { value, content_type };
        Ok(write((bucket, key), op, &query, session, trace))
    };
    run(&core, written.await).await
}

/// Deletes a key, whether or not it holds a value.
#[utoipa::path(delete, path = "/v1/kv/{bucket}/{key}",
    params(
        ("bucket" = String, Path, description = "The bucket"),
        ("key" = String, Path, description = "The key, percent-encoded"),
        ("consistency" = Option<String>, Query, description = "`region` (default), `majority` or `all`"),
        ("timeout" = Option<String>, Query, description = "How long to wait, at most 60s; 5s by default"),
        ("Isthmus-Session" = Option<String>, Header, description = "A session to continue: the write comes after everything that it has seen, or is refused with 409 `stale`"),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context"),
    ),
    responses(
        (status = 200, body = WrittenBody, headers(("ETag" = String), ("Isthmus-Version" = String), ("Isthmus-Session" = String))),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn delete(
    State(core): State<Arc<Core>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Response {
    let deleted = (|| {
        let (bucket, key) = key_of(&request)?;
        asker.writes(&bucket)?;
        let query = query(&request, &[Parameter::Consistency, Parameter::Timeout])?;
        let (session, trace) = (session(request.headers())?, trace(request.headers()));
        Ok(write((bucket, key), Op::Delete, &query, session, trace))
    })();
    run(&core, deleted).await
}

/// `GET /v1/kv/{bucket}/{key}` and `GET /v1/kv/{bucket}`.
pub(super) async fn read(state: State<Arc<Core>>, asker: Extension<Asker>, request: Request) -> Response {
    match target(&request) {
        Ok(Target { key: Some(_), .. }) => get(state, asker, request).await,
        Ok(Target { key: None, .. }) => list(state, asker, request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Reads a key.
///
/// With a session it waits until this region has applied what the session has seen, or answers 409
/// `stale`. The 404 of a deleted or expired key carries `Isthmus-Version`.
#[utoipa::path(get, path = "/v1/kv/{bucket}/{key}",
    params(
        ("bucket" = String, Path, description = "The bucket"),
        ("key" = String, Path, description = "The key, percent-encoded"),
        ("timeout" = Option<String>, Query, description = "How long to wait for the session, at most 60s; 5s by default"),
        ("Isthmus-Session" = Option<String>, Header, description = "What the caller has seen"),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "*/*", headers(
            ("ETag" = String), ("Isthmus-Version" = String), ("Isthmus-Origin" = String), ("Isthmus-Session" = String))),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn get(
    State(core): State<Arc<Core>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Response {
    let operation = (|| {
        let (bucket, key) = key_of(&request)?;
        asker.reads(&bucket)?;
        Ok(Operation::Get(Get {
            bucket,
            key,
            session: session(request.headers())?,
            timeout: query(&request, &[Parameter::Timeout])?.timeout,
        }))
    })();
    run(&core, operation).await
}

/// Lists the live keys of a bucket in order, a page at a time.
#[utoipa::path(get, path = "/v1/kv/{bucket}",
    params(
        ("bucket" = String, Path, description = "The bucket"),
        ("prefix" = Option<String>, Query, description = "Only keys that begin with this"),
        ("after" = Option<String>, Query, description = "Only keys after this one"),
        ("limit" = Option<u32>, Query, description = "The maximum number of keys, 1 to 1000"),
        ("timeout" = Option<String>, Query, description = "How long to wait for the session"),
        ("Isthmus-Session" = Option<String>, Header, description = "What the caller has seen"),
    ),
    responses(
        (status = 200, body = ListedBody, headers(("Isthmus-Session" = String))),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(
    State(core): State<Arc<Core>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Response {
    let operation = (|| {
        let bucket = target(&request)?.bucket;
        asker.reads(&bucket)?;
        let query = query(
            &request,
            &[
                Parameter::Prefix,
                Parameter::After,
                Parameter::Limit,
                Parameter::Timeout,
            ],
        )?;
        Ok(Operation::List(List {
            bucket,
            prefix: query.prefix,
            after: query.after,
            limit: query.limit,
            session: session(request.headers())?,
            timeout: query.timeout,
        }))
    })();
    run(&core, operation).await
}

async fn run(core: &Arc<Core>, operation: Result<Operation, Rejection>) -> Response {
    match operation {
        Ok(operation) => answer(core.execute(operation).await),
        Err(problem) => problem.into_response(),
    }
}

fn write(
    (bucket, key): (BucketName, Key),
    op: Op,
    query: &Query,
    session: Option<SessionToken>,
    trace: Option<TraceContext>,
) -> Operation {
    Operation::Write(Write {
        bucket,
        key,
        op,
        ttl: query.ttl,
        consistency: query.consistency,
        timeout: query.timeout,
        session,
        trace,
        followed: false,
    })
}

fn target(request: &Request) -> Result<Target, Rejection> {
    let path = request.uri().path();
    parse_target(path.strip_prefix(PREFIX).unwrap_or(path))
}

fn parse_target(rest: &str) -> Result<Target, Rejection> {
    Target::parse(rest).map_err(|error| reject(target_code(&error), error.to_string()))
}

fn target_code(error: &InvalidTarget) -> ErrorCode {
    match error {
        InvalidTarget::Bucket => ErrorCode::InvalidBucket,
        InvalidTarget::Undecodable(_) | InvalidTarget::Key(_) => ErrorCode::InvalidKey,
    }
}

fn key_of(request: &Request) -> Result<(BucketName, Key), Rejection> {
    let path = request.uri().path();
    key_of_path(path.strip_prefix(PREFIX).unwrap_or(path))
}

/// The bucket and the key that the rest of a path names, percent-decoded.
///
/// # Errors
/// A [`Problem`] that describes what is wrong with it.
pub fn key_of_path(rest: &str) -> Result<(BucketName, Key), Rejection> {
    match parse_target(rest)? {
        Target {
            bucket,
            key: Some(key),
        } => Ok((bucket, key)),
        Target { key: None, .. } => Err(reject(
            ErrorCode::InvalidKey,
            "the path names no key; use {bucket}/{key}",
        )),
    }
}

fn query(request: &Request, known: &[Parameter]) -> Result<Query, Rejection> {
    Query::parse(request.uri().query(), known).map_err(invalid_parameter)
}

/// A parameter that can't be used, as a problem.
pub(super) fn invalid_parameter(error: InvalidParameter) -> Rejection {
    let code = match error.name.as_str() {
        "ttl" => ErrorCode::InvalidTtl,
        "timeout" => ErrorCode::InvalidTimeout,
        "consistency" => ErrorCode::InvalidConsistency,
        _ => ErrorCode::InvalidRequest,
    };
    reject(code, error.to_string())
}

fn content_type(headers: &HeaderMap) -> Result<ContentType, Rejection> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(ContentType::default());
    };
    let content_type = given.to_str().ok().and_then(ContentType::new);
    content_type.ok_or_else(|| {
        let detail = "Content-Type has at most 255 printable characters";
        reject(ErrorCode::InvalidRequest, detail)
    })
}

/// What the caller has seen, from `Isthmus-Session`.
pub(super) fn session(headers: &HeaderMap) -> Result<Option<SessionToken>, Rejection> {
    let Some(given) = headers.get(SESSION) else {
        return Ok(None);
    };
    let token = given.to_str().ok().and_then(|text| text.parse().ok());
    token.map(Some).ok_or_else(|| {
        let detail =
            "Isthmus-Session is not a session token; send back the one of a response, or leave it out";
        reject(ErrorCode::InvalidSession, detail)
    })
}

/// The trace of the caller, from `traceparent`.
pub(super) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    let header = headers.get(traceparent::HEADER)?;
    traceparent::parse(header.to_str().ok()?)
}
