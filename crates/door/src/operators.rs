//! The gate of an admin listener: the role that each request needs, and events of what operators
//! did.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use isthmus_replication::names::CallerName;
use isthmus_runtime::events::{Events, Severity};
use isthmus_runtime::settings::Role;
use serde_json::json;
use tokio::time::interval;

use crate::access::{Caller, Gate, Proof};
use crate::browser::{no_foreign_pages, only_own_pages};
use crate::problem::Problem;

/// Routes whose responses contain values of applications.
const SHOWS_VALUES: [&str; 2] = ["/v1/why/", "/v1/aside"];
/// Maximum length of a path in an event.
const SHOWN_PATH_BYTES: usize = 256;
/// Interval between two checks of the rights of a caller that receives an endless response.
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Guard {
    gate: Gate<Role>,
    events: Events,
}

impl Guard {
    /// Returns the caller that presents `proof` if it has the role.
    fn admit(&self, proof: &Proof, needed: Role) -> Result<Arc<Caller<Role>>, Box<Problem>> {
        let caller = self.gate.identify(proof)?;
        if caller.rights < needed {
            let detail = format!("this needs the role {}", name(needed));
            return Err(self.gate.forbid(&caller, proof.from, &detail));
        }
        Ok(caller)
    }

    /// Ends a response without an end of its own when its caller loses the role.
    fn while_admitted(self, proof: Proof, needed: Role, response: Response) -> Response {
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        let expelled = async move {
            let mut looks = interval(ASK_AGAIN);
            while self.admit(&proof, needed).is_ok() {
                looks.tick().await;
            }
        };
        response.map(|body| Body::from_stream(body.into_data_stream().take_until(expelled)))
    }
}

/// `router` for operators: each request needs its role, and every request that changes something is
/// recorded. Without TLS it also refuses hosts that are made to resolve to this machine.
pub fn for_operators(router: Router, gate: Gate<Role>, events: Events) -> Router {
    let has_tls = gate.has_tls();
    let pages = gate.clone();
    let guarded = router.layer(from_fn_with_state(Guard { gate, events }, guard));
    if has_tls {
        no_foreign_pages(guarded, pages)
    } else {
        only_own_pages(guarded, pages)
    }
}

async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Some(needed) = needed(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    let proof = Proof::of(&request);
    let caller = match guard.admit(&proof, needed) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    if is_reading(request.method()) {
        let response = next.run(request).await;
        return guard.while_admitted(proof, needed, response);
    }
    let act = Act::of(&request, caller.name.clone(), proof.from);
    let mut recording = Recording {
        act: Some(act),
        events: guard.events.clone(),
    };
    let response = next.run(request).await;
    recording.record(Some(response.status().as_u16()));
    response
}

/// The role that a request needs; `None` for probes.
fn needed(method: &Method, path: &str) -> Option<Role> {
    if path == "/healthz" || path.starts_with("/readyz/") {
        return None;
    }
    Some(match *method {
        Method::DELETE => Role::Destroy,
        _ if !is_reading(method) => Role::Operate,
        _ if SHOWS_VALUES.iter().any(|prefix| path.starts_with(prefix)) => Role::Operate,
        _ => Role::Read,
    })
}

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Operate => "operate",
        Role::Destroy => "destroy",
    }
}

/// The start of a path. A path without a route may be as long as a request's head.
fn shortened(path: &str) -> &str {
    &path[..path.floor_char_boundary(SHOWN_PATH_BYTES)]
}

/// An action of an operator.
struct Act {
    operator: Option<CallerName>,
    from: Option<String>,
    what: String,
}

impl Act {
    fn of(request: &Request, operator: Option<CallerName>, from: Option<SocketAddr>) -> Self {
        let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let path = request.uri().path();
        // The rest of such a path is a key of an application.
        let shown = route.filter(|route| route.contains("{*")).unwrap_or(path);
        Self {
            operator,
            from: from.map(|from| from.ip().to_string()),
            what: format!("{} {}", request.method(), shortened(shown)),
        }
    }

    fn record(self, events: &Events, status: Option<u16>) {
        let Self { operator, from, what } = self;
        let operator = operator.as_ref().map(CallerName::as_str);
        let outcome = status.map_or_else(|| "no response".to_owned(), |code| code.to_string());
        let message = format!("{} did {what}: {outcome}", operator.unwrap_or("an operator"));
        let fields = json!({ "operator": operator, "from": from, "act": what, "status": status });
        events.record(Severity::Notice, "operator_act", message, fields);
    }
}

/// Records an action, also if there is no response because the operator hangs up: the action may be
/// done.
struct Recording {
    act: Option<Act>,
    events: Events,
}

impl Recording {
    fn record(&mut self, status: Option<u16>) {
        if let Some(act) = self.act.take() {
            act.record(&self.events, status);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.record(None);
    }
}
