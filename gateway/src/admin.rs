//! The admin routes of a gateway: those common to all processes, pausing and resuming links, and
//! the page at `/`.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use isthmus_door::{Admin, Currency, ErrorCode, History, Problem, admin_router, with_problems};
use serde_json::json;

use crate::lag;
use crate::live::Live;
use crate::page;
use crate::region;
use crate::shared::Shared;
use crate::status;

/// The routes that the admin listener serves.
pub fn router(shared: &Shared, history: History, live: Live) -> Router {
    let page_routes = page::router(shared, &history, live);
    let shown = shared.clone();
    let status =
        move || shown.with_known(|known| status::of_gateway(shown.settings(), known, shown.log_now()));
    let current = shared.clone();
    let currency = move || {
        let now = current.log_now();
        let of_own = current.with_known(|known| lag::of_own(current.settings(), known, now));
        let all = of_own
            .into_iter()
            .map(|(origin, proof_age)| Currency { origin, proof_age });
        all.collect()
    };
    let links = Router::new()
        .route("/v1/links/{peer}/pause", post(pause))
        .route("/v1/links/{peer}/resume", post(resume))
        .with_state(shared.clone());
    let admin = Admin::new(&shared.process, history, status, currency);
    let admin = admin.described(page::describe);
    with_problems(admin_router(admin).merge(links).merge(page_routes))
}

async fn pause(State(shared): State<Shared>, Path(peer): Path<String>) -> Response {
    command(&shared, &peer, true).await
}

async fn resume(State(shared): State<Shared>, Path(peer): Path<String>) -> Response {
    command(&shared, &peer, false).await
}

async fn command(shared: &Shared, peer: &str, paused: bool) -> Response {
    match region::tell_link(shared, peer, paused).await {
        Ok(peer) => Json(json!({ "peer": peer.as_str(), "paused": paused })).into_response(),
        Err(error) => Problem::new(ErrorCode::UnknownPath, error.to_string()).into_response(),
    }
}
