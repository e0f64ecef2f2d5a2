//! Named conditions that determine whether a process is alive and ready.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

/// A probe over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// `/healthz`: whether the process is alive.
    Live,
    /// `/readyz/read`: whether it can serve reads.
    Read,
    /// `/readyz/write`: whether it can accept writes.
    Write,
}

/// The conditions of a process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<watch::Sender<Conditions>>);

/// The reason of a condition that was never set.
pub(crate) const STARTING: &str = "starting";

type Conditions = BTreeMap<Arc<str>, State>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    probes: Vec<Probe>,
    unmet: Option<String>,
}

/// A condition, set through this handle. Dropping the handle removes it.
#[derive(Debug)]
pub struct Condition {
    name: Arc<str>,
    health: Health,
}

/// The answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ProbeReport")]
pub struct Report {
    /// Whether every condition is met.
    pub ready: bool,
    /// Every condition of the probe, by name.
    pub conditions: Vec<ConditionReport>,
}

/// One condition in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConditionReport {
    /// Its name.
    pub name: String,
    /// Whether it is met.
    pub met: bool,
    /// Why it is not met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Health {
    /// Without conditions, which means ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition for `probes`, unmet (`starting`) until it is set. It replaces one of the
    /// same name.
    #[must_use]
    pub fn condition(&self, name: impl Into<Arc<str>>, probes: &[Probe]) -> Condition {
        let condition = Condition {
            name: name.into(),
            health: self.clone(),
        };
        let state = State {
            probes: probes.to_vec(),
            unmet: Some(STARTING.to_owned()),
        };
        self.0.send_modify(|conditions| {
            conditions.insert(Arc::clone(&condition.name), state);
        });
        condition
    }

    /// The answer to `probe`.
    #[must_use]
    pub fn report(&self, probe: Probe) -> Report {
        report(&self.0.borrow(), probe)
    }

    /// Waits until the answer to `probe` has this `ready`, and returns it.
    pub async fn becomes(&self, probe: Probe, ready: bool) -> Report {
        let mut conditions = self.0.subscribe();
        match conditions
            .wait_for(|conditions| report(conditions, probe).ready == ready)
            .await
        {
            Ok(conditions) => report(&conditions, probe),
            Err(_) => self.report(probe),
        }
    }
}

fn report(conditions: &Conditions, probe: Probe) -> Report {
    let asked = conditions
        .iter()
        .filter(|(_, state)| state.probes.contains(&probe));
    let conditions: Vec<_> = asked
        .map(|(name, state)| ConditionReport {
            name: name.to_string(),
            met: state.unmet.is_none(),
            reason: state.unmet.clone(),
        })
        .collect();
    Report {
        ready: conditions.iter().all(|condition| condition.met),
        conditions,
    }
}

impl Report {
    /// The report with one more condition.
    #[must_use]
    pub fn and(mut self, condition: ConditionReport) -> Self {
        self.ready &= condition.met;
        self.conditions.push(condition);
        self
    }
}

impl Condition {
    /// Sets the condition to met.
    pub fn met(&self) {
        self.set(None);
    }

    /// Sets the condition to unmet, for a reason that people read.
    pub fn unmet(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, unmet: Option<String>) {
        self.health
            .0
            .send_if_modified(|conditions| match conditions.get_mut(&self.name) {
                Some(state) if state.unmet != unmet => {
                    state.unmet = unmet;
                    true
                }
                _ => false,
            });
    }
}

impl Drop for Condition {
    fn drop(&mut self) {
        self.health.0.send_modify(|conditions| {
            conditions.remove(&self.name);
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_ready_when_all_its_conditions_are_met() {
        let health = Health::new();
        let fold = health.condition("fold", &[Probe::Read, Probe::Write]);
        let log = health.condition("log", &[Probe::Write]);
        assert_eq!(
            health.report(Probe::Write).conditions[0].reason.as_deref(),
            Some("starting")
        );
        fold.met();
        log.unmet("the log does not answer");
        assert!(health.report(Probe::Live).ready);
        assert!(health.report(Probe::Read).ready);
        let write = health.report(Probe::Write);
        assert!(!write.ready);
        assert_eq!(
            write.conditions[1].reason.as_deref(),
            Some("the log does not answer")
        );
        drop(log);
        assert!(health.report(Probe::Write).ready);
    }

    #[tokio::test]
    async fn a_change_wakes_who_waits() {
        let health = Health::new();
        let fold = health.condition("fold", &[Probe::Read]);
        let (_, report) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                fold.met();
            },
            health.becomes(Probe::Read, true)
        );
        assert!(report.ready);
    }
}
