//! `/v1/doctor`: the results of a process's checks of its environment.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::response::Json;
use axum::routing::get;
use isthmus_log::nats::Server;
use isthmus_log::{ClockOffset, Role};
use isthmus_report::{DoctorReport, Finding, ProcessKind};
use isthmus_runtime::doctor;
use isthmus_runtime::health::{Health, Probe};

use crate::history::Teller;

/// The route. It returns the process and the findings of `examine`, which is called for each
/// request.
pub fn router<F>(teller: Teller, examine: impl Fn() -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = Vec<Finding>> + Send + 'static,
{
    let answer = async move || {
        let findings = examine().await;
        Json(DoctorReport {
            region: teller.region.clone(),
            role: process_kind(teller.role).into(),
            process: teller.process.clone(),
            findings,
        })
    };
    Router::new().route("/v1/doctor", get(answer))
}

/// The kind of a process with this role.
#[must_use]
pub fn process_kind(role: Role) -> ProcessKind {
    match role {
        Role::Agent => ProcessKind::Agent,
        Role::Gateway => ProcessKind::Gateway,
    }
}

/// Findings about readiness: every unmet condition is a failure.
#[must_use]
pub fn of_health(health: &Health) -> Vec<Finding> {
    let mut unmet: BTreeMap<String, String> = BTreeMap::new();
    for probe in [Probe::Live, Probe::Read, Probe::Write] {
        let conditions = health.report(probe).conditions.into_iter();
        unmet.extend(conditions.filter_map(|condition| Some((condition.name, condition.reason?))));
    }
    if unmet.is_empty() {
        return vec![Finding::ok("ready", "", "for reads and writes")];
    }
    let mend = "the reason says what to do; isthmus events shows what happened before";
    let unmet = unmet.into_iter();
    unmet
        .map(|(name, reason)| Finding::fail("ready", &name, reason, mend))
        .collect()
}

/// Findings about the connected NATS server and about the process's clock against that of the
/// region's NATS, where `limit` is the maximum that Isthmus tolerates. Without a connection earlier
/// measurements are not used.
#[must_use]
pub fn of_nats(server: Option<&Server>, offset: Option<ClockOffset>, limit: Duration) -> [Finding; 2] {
    let (name, version) = match server {
        Some(server) => (server.name.as_str(), Some(server.version.as_str())),
        None => ("", None),
    };
    let offset = offset.filter(|_| server.is_some());
    let offset = offset.map(|offset| (offset.micros, offset.uncertainty));
    [
        doctor::nats_version(name, version),
        doctor::clock("the region's NATS", offset, limit),
    ]
}
