//! The HTTP door (design.md section 6). It translates requests to operations and outcomes to
//! answers, and decides nothing.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use isthmus_door::{ErrorCode, Gate, Problem};
use isthmus_runtime::settings::BucketRights;

use crate::operation::Core;

mod answer;
mod batch;
mod kv;
mod lines;
mod openapi;
mod query;
mod rights;
mod target;
mod value;

pub use answer::{APPLIED, ListedBody, ListedKey, ORIGIN, SESSION, VERSION, WrittenBody, problem, timestamp};
pub use batch::{Asked, parse_line};
pub use kv::key_of_path;
pub use openapi::document;
pub use query::{InvalidParameter, InvalidValue, Parameter, Query};
pub use target::{InvalidTarget, Target, Undecodable};

/// The problem that answers a request before it becomes an operation.
pub type Rejection = Box<Problem>;

fn reject(code: ErrorCode, detail: impl Into<String>) -> Rejection {
    Box::new(Problem::new(code, detail))
}

/// The routes for applications, behind their gate.
pub fn router(core: Arc<Core>, gate: Gate<BucketRights>) -> Router {
    let routes = Router::new()
        .route("/v1/kv/{*rest}", get(kv::read).put(kv::put).delete(kv::delete))
        .route("/v1/batch", post(batch::batch))
        .route("/openapi.json", get(openapi::serve))
        .with_state(core);
    rights::guarded(isthmus_door::with_problems(routes), gate)
}
