//! The callers at the door for applications, and the buckets that they may use.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use isthmus_door::{Gate, Proof};
use isthmus_replication::names::BucketName;
use isthmus_runtime::settings::{BucketRights, Buckets};

use super::Rejection;

/// A caller. Its rights are looked up each time, so that a long batch ends when its caller loses
/// them.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    gate: Gate<BucketRights>,
    proof: Proof,
}

/// Admits only authenticated callers to `router`. Handlers get the caller as an [`Asker`].
pub(super) fn guarded(router: Router, gate: Gate<BucketRights>) -> Router {
    router.layer(from_fn_with_state(gate, identify))
}

async fn identify(State(gate): State<Gate<BucketRights>>, mut request: Request, next: Next) -> Response {
    let proof = Proof::of(&request);
    if let Err(problem) = gate.identify(&proof) {
        return problem.into_response();
    }
    request.extensions_mut().insert(Asker { gate, proof });
    next.run(request).await
}

impl Asker {
    /// Checks that the caller may get and list the values of `bucket`.
    ///
    /// # Errors
    /// The problem to answer with, if it may not.
    pub(super) fn reads(&self, bucket: &BucketName) -> Result<(), Rejection> {
        self.may("read", bucket, |rights| &rights.read)
    }

    /// Checks that the caller may put and delete in `bucket`.
    ///
    /// # Errors
    /// The problem to answer with, if it may not.
    pub(super) fn writes(&self, bucket: &BucketName) -> Result<(), Rejection> {
        self.may("write", bucket, |rights| &rights.write)
    }

    fn may(
        &self,
        right: &str,
        bucket: &BucketName,
        buckets: impl Fn(&BucketRights) -> &Buckets,
    ) -> Result<(), Rejection> {
        let caller = self.gate.identify(&self.proof)?;
        if buckets(&caller.rights).contains(bucket) {
            return Ok(());
        }
        let detail = format!(
            "the caller may not {right} the bucket {bucket}; `clients` of the agent's settings say who may"
        );
        Err(self.gate.forbid(&caller, self.proof.from, &detail))
    }
}
