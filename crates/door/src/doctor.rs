//! `/v1/doctor`: what a process finds when it looks at what it stands on.

use std::future::Future;

use axum::Router;
use axum::response::Json;
use axum::routing::get;
use isthmus_runtime::doctor::Finding;
use serde_json::json;

use crate::history::Teller;

/// The route: who looked, and the findings of `examine`, which is called for each request.
pub fn router<F>(teller: Teller, examine: impl Fn() -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = Vec<Finding>> + Send + 'static,
{
    let answer = async move || {
        let findings = examine().await;
        let Teller {
            region,
            role,
            process,
        } = &teller;
        Json(json!({ "region": region, "role": role, "process": process, "findings": findings }))
    };
    Router::new().route("/v1/doctor", get(answer))
}
