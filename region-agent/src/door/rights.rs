//! Who asks at the door for applications, and which buckets it may use.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use isthmus_door::access::origin;
use isthmus_door::{Caller, Gate};
use isthmus_replication::names::BucketName;
use isthmus_runtime::settings::BucketRights;

use super::Rejection;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asker {
    gate: Gate<BucketRights>,
    caller: Arc<Caller<BucketRights>>,
    from: Option<SocketAddr>,
}

/// Lets into `router` who has proven who it is; handlers find it as an [`Asker`].
pub fn guarded(router: Router, gate: Gate<BucketRights>) -> Router {
    router.layer(from_fn_with_state(gate, identify))
}

async fn identify(State(gate): State<Gate<BucketRights>>, mut request: Request, next: Next) -> Response {
    let caller = match gate.identify(&request) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let from = origin(&request);
    request.extensions_mut().insert(Asker { gate, caller, from });
    next.run(request).await
}

impl Asker {
    /// Whether it may get and list what `bucket` holds.
    ///
    /// # Errors
    /// The problem to answer with.
    pub fn reads(&self, bucket: &BucketName) -> Result<(), Rejection> {
        match self.caller.rights.read.contains(bucket) {
            true => Ok(()),
            false => Err(self.refused("read", bucket)),
        }
    }

    /// Whether it may put and delete in `bucket`.
    ///
    /// # Errors
    /// The problem to answer with.
    pub fn writes(&self, bucket: &BucketName) -> Result<(), Rejection> {
        match self.caller.rights.write.contains(bucket) {
            true => Ok(()),
            false => Err(self.refused("write", bucket)),
        }
    }

    fn refused(&self, right: &str, bucket: &BucketName) -> Rejection {
        let detail = format!(
            "the caller may not {right} the bucket {bucket}; `clients` of the agent's settings say who may"
        );
        self.gate.forbid(&self.caller, self.from, &detail)
    }
}
