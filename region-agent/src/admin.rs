//! The admin listener: the routes common to all processes, what this agent has of one key, traces
//! of writes, and what is set aside.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isthmus_door::{Admin, Currency, ErrorCode, History, Problem, admin_router, with_problems};
use isthmus_runtime::Process;
use isthmus_runtime::settings::AgentSettings;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::door;
use crate::lag;
use crate::region::Region;
use crate::status;

mod aside;
mod entry_json;
mod traces;

/// The region, once it is assembled. The listener answers before that.
pub type Assembled = Arc<OnceCell<Region>>;

const WHY: &str = "/v1/why/";

/// The routes for operators.
pub fn router(process: &Process<AgentSettings>, assembled: &Assembled, history: History) -> Router {
    let shown = Arc::clone(assembled);
    let settings = process.settings.process.clone();
    let status = move || match shown.get() {
        Some(region) => status::of_agent(region),
        None => status::of_starting(&settings),
    };
    let current = Arc::clone(assembled);
    let currency = move || {
        let all = current.get().map(lag::of_all).unwrap_or_default().into_iter();
        let one = |lag: lag::Lag| Currency {
            origin: lag.origin.to_string(),
            proof_age: lag.proof_age.map(|age| age + lag.uncertainty()),
        };
        all.map(one).collect()
    };
    let why = Router::new()
        .route("/v1/why/{*rest}", get(why))
        .with_state(Arc::clone(assembled));
    let admin = Admin::new(process, history, status, currency).described(traces::describe);
    let routes = admin_router(admin)
        .merge(why)
        .merge(aside::router(assembled))
        .merge(traces::router(assembled));
    with_problems(routes)
}

/// `GET /v1/why/{bucket}/{key}`: what this agent has of a key, including a tombstone.
async fn why(State(assembled): State<Assembled>, request: Request) -> Response {
    let rest = request.uri().path().strip_prefix(WHY).unwrap_or_default();
    let (bucket, key) = match door::key_of_path(rest) {
        Ok(named) => named,
        Err(problem) => return problem.into_response(),
    };
    let Some(region) = assembled.get() else {
        return Problem::new(ErrorCode::NotReady, "the agent is starting").into_response();
    };
    match region.core.held(&bucket, &key) {
        Ok(Some((held, wall))) => Json(cell_json(&held, wall)).into_response(),
        Ok(None) => Problem::new(ErrorCode::NotFound, "this agent does not know the key").into_response(),
        Err(refusal) => door::problem(&refusal).into_response(),
    }
}

fn cell_json(held: &isthmus_replication::store::HeldCell, wall: isthmus_replication::time::Wall) -> Value {
    let cell = &held.cell;
    let mut json = json!({
        "version": cell.version.to_string(),
        "origin": cell.version.region.as_str(),
        "applied_at": door::timestamp(held.applied_at),
        "expires_at": cell.expires_at.map(door::timestamp),
        "seen": cell.seen.iter().map(|(region, stamp)| (region.to_string(), json!(stamp.hlc.to_string()))).collect::<serde_json::Map<_, _>>(),
    });
    if let Some((value, content_type)) = cell.live_value(wall) {
        json["content_type"] = content_type.as_str().into();
        match std::str::from_utf8(value) {
            Ok(text) => json["value"] = text.into(),
            Err(_) => json["value_base64"] = STANDARD.encode(value).into(),
        }
    }
    json
}
