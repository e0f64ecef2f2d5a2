//! Who asks at the door for applications, and which buckets it may use.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use isthmus_door::{Gate, Proof};
use isthmus_replication::names::BucketName;
use isthmus_runtime::settings::{BucketRights, Buckets};

use super::Rejection;

/// Who asks. What it may is looked up each time, so that a batch that goes on for long ends with the rights of its caller.
#[derive(Debug, Clone)]
pub struct Asker {
    gate: Gate<BucketRights>,
    proof: Proof,
}

/// Lets into `router` who has proven who it is; handlers find it as an [`Asker`].
pub fn guarded(router: Router, gate: Gate<BucketRights>) -> Router {
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
    /// Whether it may get and list what `bucket` holds.
    ///
    /// # Errors
    /// The problem to answer with.
    pub fn reads(&self, bucket: &BucketName) -> Result<(), Rejection> {
        self.may("read", bucket, |rights| &rights.read)
    }

    /// Whether it may put and delete in `bucket`.
    ///
    /// # Errors
    /// The problem to answer with.
    pub fn writes(&self, bucket: &BucketName) -> Result<(), Rejection> {
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
