//! The administrative routes of every process: health, readiness, metrics, status and events.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use isthmus_replication::coordinates::Sequence;
use isthmus_runtime::Process;
use isthmus_runtime::health::{Health, Probe};
use isthmus_runtime::metrics::{CONTENT_TYPE, Metrics};
use isthmus_runtime::settings::Duration;
use serde::Deserialize;
use serde_json::Value;

use crate::code::ErrorCode;
use crate::history::{History, PAGE};
use crate::problem::{Problem, with_problems};

/// What the administrative routes show.
#[derive(Clone)]
pub struct Admin {
    health: Health,
    metrics: Metrics,
    history: History,
    status: Arc<dyn Fn() -> Value + Send + Sync>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// The routes of `process` with the history of its region. `status` is what `/v1/status` answers with; it is called for each request and must not
    /// block.
    pub fn new<S>(
        process: &Process<S>,
        history: History,
        status: impl Fn() -> Value + Send + Sync + 'static,
    ) -> Self {
        Self {
            health: process.health.clone(),
            metrics: process.metrics.clone(),
            history,
            status: Arc::new(status),
        }
    }
}

/// `/healthz`, `/readyz/read`, `/readyz/write`, `/metrics`, `/v1/status`, and `/v1/events`: those of this run of the process
/// with `?after=SEQUENCE`, those of the region with `?since=1h&from=SEQUENCE&limit=100`.
pub fn admin_router(admin: Admin) -> Router {
    let routes = Router::new()
        .route(
            "/healthz",
            get(async |State(admin): State<Admin>| probe(&admin, Probe::Live)),
        )
        .route(
            "/readyz/read",
            get(async |State(admin): State<Admin>| probe(&admin, Probe::Read)),
        )
        .route(
            "/readyz/write",
            get(async |State(admin): State<Admin>| probe(&admin, Probe::Write)),
        )
        .route("/metrics", get(metrics))
        .route(
            "/v1/status",
            get(async |State(admin): State<Admin>| Json((admin.status)())),
        )
        .route("/v1/events", get(events))
        .with_state(admin);
    with_problems(routes)
}

fn probe(admin: &Admin, probe: Probe) -> Response {
    let report = admin.health.report(probe);
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], admin.metrics.text())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    after: Option<u64>,
    since: Option<String>,
    from: Option<u64>,
    limit: Option<usize>,
}

/// What is asked of `/v1/events`.
enum Asked {
    /// The events of this run after a sequence.
    OfProcess(u64),
    /// The events of the region: the newest for so long, from a sequence of its journal on, at most so many.
    OfRegion(std::time::Duration, Option<Sequence>, usize),
}

impl Which {
    fn read(self) -> Result<Asked, String> {
        let Some(since) = self.since else {
            if self.from.is_some() || self.limit.is_some() {
                return Err("from and limit go with since=TIME, such as since=1h".to_owned());
            }
            return Ok(Asked::OfProcess(self.after.unwrap_or(0)));
        };
        if self.after.is_some() {
            return Err("after=SEQUENCE is of this process, since=TIME of its region: give one".to_owned());
        }
        let since = Duration::parse(&since).map_err(|invalid| format!("since: {invalid}"))?;
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=PAGE).contains(&limit) {
            return Err(format!("limit is 1 to {PAGE}"));
        }
        Ok(Asked::OfRegion(since.0, self.from.map(Sequence), limit))
    }
}

async fn events(
    State(admin): State<Admin>,
    query: Result<Query<Which>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let asked = match query {
        Ok(Query(which)) => which.read(),
        Err(rejection) => Err(format!(
            "{rejection}; the parameters are after, or since with from and limit"
        )),
    };
    match asked {
        Ok(Asked::OfProcess(after)) => Json(admin.history.of_process(after)).into_response(),
        Ok(Asked::OfRegion(since, from, limit)) => {
            Json(admin.history.of_region(since, from, limit).await).into_response()
        }
        Err(detail) => Problem::new(ErrorCode::InvalidRequest, detail).into_response(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use isthmus_runtime::clock::Clock;
    use isthmus_runtime::events::Severity;
    use isthmus_runtime::telemetry::Tracer;
    use serde_json::json;
    use tower::ServiceExt;

    use super::*;
    use crate::history::Teller;

    fn process() -> Process<()> {
        Process::new((), Clock::system(), Metrics::new("test", "0"), Tracer::off())
    }

    fn history(process: &Process<()>) -> History {
        let teller = Teller {
            region: "eu-west".to_owned(),
            role: "agent",
            process: "agent-1".to_owned(),
        };
        History::new(process, teller).unwrap()
    }

    async fn ask(router: &Router, method: &str, path: &str) -> (StatusCode, String, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let kind = response.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn status_of(router: &Router, path: &str) -> u16 {
        ask(router, "GET", path).await.0.as_u16()
    }

    #[tokio::test]
    async fn readiness_follows_the_conditions_and_says_why() {
        let process = process();
        let router = admin_router(Admin::new(&process, history(&process), || json!({})));
        let log = process.health.condition("log", &[Probe::Write]);
        log.unmet("the log does not answer");
        assert_eq!(status_of(&router, "/healthz").await, 200);
        assert_eq!(status_of(&router, "/readyz/read").await, 200);
        let (status, _, body) = ask(&router, "GET", "/readyz/write").await;
        assert_eq!(status, 503);
        assert!(body.contains("the log does not answer"), "{body}");
        log.met();
        assert_eq!(status_of(&router, "/readyz/write").await, 200);
    }

    #[tokio::test]
    async fn metrics_status_and_events_are_shown() {
        let process = process();
        let router = admin_router(Admin::new(
            &process,
            history(&process),
            || json!({ "process": "gateway" }),
        ));
        process.events.record(Severity::Notice, "first", "one", json!({}));
        process
            .events
            .record(Severity::Notice, "second", "two", json!({}));
        let (status, kind, body) = ask(&router, "GET", "/metrics").await;
        assert_eq!((status.as_u16(), kind.as_str()), (200, CONTENT_TYPE));
        assert!(body.ends_with("# EOF\n"), "{body}");
        assert_eq!(
            ask(&router, "GET", "/v1/status").await.2,
            r#"{"process":"gateway"}"#
        );
        let (_, _, body) = ask(&router, "GET", "/v1/events?after=1").await;
        assert!(body.contains("second") && !body.contains("first"), "{body}");
    }

    #[tokio::test]
    async fn what_is_not_understood_is_a_problem() {
        let process = process();
        let router = admin_router(Admin::new(&process, history(&process), || json!({})));
        for (method, path, status, code) in [
            ("GET", "/nowhere", 404, "unknown_path"),
            ("POST", "/v1/status", 405, "method_not_allowed"),
            ("GET", "/v1/events?after=x", 400, "invalid_request"),
            ("GET", "/v1/events?afer=1", 400, "invalid_request"),
            ("GET", "/v1/events?since=1", 400, "invalid_request"),
            ("GET", "/v1/events?since=1h&limit=0", 400, "invalid_request"),
            ("GET", "/v1/events?since=1h&after=1", 400, "invalid_request"),
            ("GET", "/v1/events?limit=1", 400, "invalid_request"),
        ] {
            let (got, kind, body) = ask(&router, method, path).await;
            assert_eq!(
                (got.as_u16(), kind.as_str()),
                (status, "application/problem+json"),
                "{path}"
            );
            assert!(body.contains(code), "{path}: {body}");
        }
    }
}
