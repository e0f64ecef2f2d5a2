//! The administrative routes of every process: health, readiness, metrics, status and events.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::limits::MARK_INTERVAL;
use isthmus_runtime::Process;
use isthmus_runtime::health::{ConditionReport, Health, Probe, Report};
use isthmus_runtime::metrics::{CONTENT_TYPE, Metrics};
use isthmus_runtime::settings::{Duration, InvalidQuantity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::code::ErrorCode;
use crate::history::{History, PAGE};
use crate::openapi::{self, Document};
use crate::problem::{Problem, with_problems};

/// The content of the administrative routes.
#[derive(Clone)]
pub struct Admin {
    health: Health,
    metrics: Metrics,
    history: History,
    status: Arc<dyn Fn() -> Response + Send + Sync>,
    document: Document,
    currency: Arc<dyn Fn() -> Vec<Currency> + Send + Sync>,
    journal_turns: Arc<Semaphore>,
}

/// Maximum number of concurrent requests for a page of the region's journal; the others wait.
const JOURNAL_PAGES: usize = 4;

/// How current this process's data of another region is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Currency {
    /// The region.
    pub origin: String,
    /// All changes of the region that are older than this are here; `None` while this is not known.
    pub proof_age: Option<std::time::Duration>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// The routes of `process` with the history of its region. `status` returns the content of
    /// `/v1/status`, `currency` the input of `/readyz/read?max_lag=`. Both are called for each
    /// request and must not block.
    pub fn new<S, T: Serialize + JsonSchema + 'static>(
        process: &Process<S>,
        history: History,
        status: impl Fn() -> T + Send + Sync + 'static,
        currency: impl Fn() -> Vec<Currency> + Send + Sync + 'static,
    ) -> Self {
        let document = Document::new::<T>(history.teller().role.as_str());
        Self {
            document,
            health: process.health.clone(),
            metrics: process.metrics.clone(),
            history,
            status: Arc::new(move || Json(status()).into_response()),
            currency: Arc::new(currency),
            journal_turns: Arc::new(Semaphore::new(JOURNAL_PAGES)),
        }
    }

    /// Adds routes to the OpenAPI document that only this kind of process serves.
    #[must_use]
    pub fn described(self, add: impl FnOnce(Document) -> Document) -> Self {
        Self {
            document: add(self.document),
            ..self
        }
    }
}

/// `/healthz`, `/readyz/read` (with `?max_lag=2s`: also whether the data of other regions is that
/// current), `/readyz/write`, `/metrics`, `/v1/status`, `/openapi.json`, and `/v1/events`: with
/// `?after=SEQUENCE` the events of this run of the process, with
/// `?since=1h&from=SEQUENCE&limit=100` those of the region.
pub fn admin_router(admin: Admin) -> Router {
    let document = admin.document.clone().into_value();
    let routes = Router::new()
        .route(
            "/healthz",
            get(async |State(admin): State<Admin>| probe(&admin, Probe::Live)),
        )
        .route("/readyz/read", get(may_be_read))
        .route(
            "/readyz/write",
            get(async |State(admin): State<Admin>| probe(&admin, Probe::Write)),
        )
        .route("/metrics", get(metrics))
        .route(
            "/v1/status",
            get(async |State(admin): State<Admin>| (admin.status)()),
        )
        .route(openapi::PATH, get(async move || Json(document)))
        .route("/v1/events", get(events))
        .with_state(admin);
    with_problems(routes)
}

fn probe(admin: &Admin, probe: Probe) -> Response {
    answer(admin.health.report(probe))
}

/// Why a query is refused.
#[derive(Debug, thiserror::Error)]
enum InvalidQuery {
    #[error("{0}; the parameter is max_lag")]
    OfProbe(QueryRejection),
    #[error("max_lag: {0}")]
    MaxLag(InvalidQuantity),
    #[error("max_lag must be more than 1s, such as max_lag=2s: a region proves once a second what it has")]
    MaxLagTooSmall,
    #[error("{0}; the parameters are after, or since with from and limit")]
    OfEvents(QueryRejection),
    #[error("from and limit require since=TIME, such as since=1h")]
    WithoutSince,
    #[error("after=SEQUENCE is for this process, since=TIME for its region: give only one")]
    AfterAndSince,
    #[error("since: {0}")]
    Since(InvalidQuantity),
    #[error("limit must be 1 to {PAGE}")]
    Limit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    max_lag: Option<String>,
}

impl Bound {
    fn read(self) -> Result<Option<std::time::Duration>, InvalidQuery> {
        let Some(text) = self.max_lag else { return Ok(None) };
        let bound = Duration::parse(&text).map_err(InvalidQuery::MaxLag)?;
        if bound.0 <= MARK_INTERVAL {
            return Err(InvalidQuery::MaxLagTooSmall);
        }
        Ok(Some(bound.0))
    }
}

/// Whether the process can serve reads and, with a bound, whether its data of all other regions is
/// at most that old.
async fn may_be_read(State(admin): State<Admin>, query: Result<Query<Bound>, QueryRejection>) -> Response {
    let bound = match query {
        Ok(Query(bound)) => bound.read(),
        Err(rejection) => Err(InvalidQuery::OfProbe(rejection)),
    };
    match bound {
        Ok(None) => probe(&admin, Probe::Read),
        Ok(Some(bound)) => {
            let report = admin.health.report(Probe::Read);
            answer(report.and(within(&(admin.currency)(), bound)))
        }
        Err(invalid) => Problem::new(ErrorCode::InvalidRequest, invalid.to_string()).into_response(),
    }
}

fn within(all: &[Currency], bound: std::time::Duration) -> ConditionReport {
    let unknown = all.iter().find(|one| one.proof_age.is_none());
    let oldest = all.iter().max_by_key(|one| one.proof_age);
    let reason = match (unknown, oldest) {
        (Some(unknown), _) => Some(format!("no data of {} is known to be here", unknown.origin)),
        (
            None,
            Some(Currency {
                origin,
                proof_age: Some(age),
            }),
        ) if *age > bound => Some(format!(
            "the data of {origin} here may be {:.1} s old",
            age.as_secs_f64()
        )),
        _ => None,
    };
    ConditionReport {
        name: "max_lag".to_owned(),
        met: reason.is_none(),
        reason,
    }
}

fn answer(report: Report) -> Response {
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

/// A request to `/v1/events`.
enum Asked {
    /// The events of this run after a sequence.
    OfProcess(u64),
    /// The events of the region: not older than a duration, from a sequence of its journal on, at
    /// most a number of them.
    OfRegion(std::time::Duration, Option<Sequence>, usize),
}

impl Which {
    fn read(self) -> Result<Asked, InvalidQuery> {
        let Some(since) = self.since else {
            if self.from.is_some() || self.limit.is_some() {
                return Err(InvalidQuery::WithoutSince);
            }
            return Ok(Asked::OfProcess(self.after.unwrap_or(0)));
        };
        if self.after.is_some() {
            return Err(InvalidQuery::AfterAndSince);
        }
        let since = Duration::parse(&since).map_err(InvalidQuery::Since)?;
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=PAGE).contains(&limit) {
            return Err(InvalidQuery::Limit);
        }
        Ok(Asked::OfRegion(since.0, self.from.map(Sequence), limit))
    }
}

async fn events(State(admin): State<Admin>, query: Result<Query<Which>, QueryRejection>) -> Response {
    let asked = match query {
        Ok(Query(which)) => which.read(),
        Err(rejection) => Err(InvalidQuery::OfEvents(rejection)),
    };
    match asked {
        Ok(Asked::OfProcess(after)) => Json(admin.history.of_process(after)).into_response(),
        Ok(Asked::OfRegion(since, from, limit)) => {
            let _turn = admin.journal_turns.acquire().await;
            Json(admin.history.of_region(since, from, limit).await).into_response()
        }
        Err(invalid) => Problem::new(ErrorCode::InvalidRequest, invalid.to_string()).into_response(),
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
            role: isthmus_log::Role::Agent,
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
        let router = admin_router(Admin::new(&process, history(&process), || json!({}), Vec::new));
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
    async fn a_bound_of_lag_is_held_against_the_oldest_of_all_regions() {
        let process = process();
        let ages = Arc::new(std::sync::Mutex::new(vec![Some(500), Some(1_900)]));
        let shared = Arc::clone(&ages);
        let currency = move || {
            let regions = ["us-east", "ap-south"]
                .into_iter()
                .zip(shared.lock().unwrap().clone());
            let one = |(origin, age): (&str, Option<u64>)| Currency {
                origin: origin.to_owned(),
                proof_age: age.map(std::time::Duration::from_millis),
            };
            regions.map(one).collect()
        };
        let router = admin_router(Admin::new(&process, history(&process), || json!({}), currency));
        assert_eq!(status_of(&router, "/readyz/read?max_lag=2s").await, 200);
        let (status, _, body) = ask(&router, "GET", "/readyz/read?max_lag=1500ms").await;
        assert_eq!(status, 503);
        assert!(
            body.contains("the data of ap-south here may be 1.9 s old"),
            "{body}"
        );
        assert_eq!(status_of(&router, "/readyz/read").await, 200);
        ages.lock().unwrap()[0] = None;
        let (status, _, body) = ask(&router, "GET", "/readyz/read?max_lag=1h").await;
        assert_eq!(status, 503);
        assert!(body.contains("no data of us-east"), "{body}");
        for bad in ["max_lag=1s", "max_lag=2", "lag=2s"] {
            let (status, _, body) = ask(&router, "GET", &format!("/readyz/read?{bad}")).await;
            assert_eq!(status, 400, "{bad}");
            assert!(body.contains("max_lag"), "{body}");
        }
    }

    #[tokio::test]
    async fn metrics_status_and_events_are_shown() {
        let process = process();
        let router = admin_router(Admin::new(
            &process,
            history(&process),
            || json!({ "process": "gateway" }),
            Vec::new,
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
        let (_, kind, body) = ask(&router, "GET", "/openapi.json").await;
        assert_eq!(kind, "application/json");
        let document: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        assert!(document["paths"]["/v1/status"]["get"].is_object(), "{body}");
        let (_, _, body) = ask(&router, "GET", "/v1/events?after=1").await;
        assert!(body.contains("second") && !body.contains("first"), "{body}");
    }

    #[tokio::test]
    async fn what_is_not_understood_is_a_problem() {
        let process = process();
        let router = admin_router(Admin::new(&process, history(&process), || json!({}), Vec::new));
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
