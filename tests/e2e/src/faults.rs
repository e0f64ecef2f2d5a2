//! The processes of a running set, looked up one by one in the current `run.json`.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Running, until};

const LEADS_WITHIN: Duration = Duration::from_secs(30);
const DOWN_WITHIN: Duration = Duration::from_secs(30);

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// Its name in its region.
    pub name: String,
    pid: Pid,
}

impl Met {
    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("{} takes no signal", self.name))
    }

    /// Pauses it, and waits until none of its threads runs: the thread that takes the signal must
    /// be scheduled before the others stop.
    ///
    /// # Errors
    /// When it has ended, or keeps running.
    pub async fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        let threads = format!("/proc/{}/task", self.pid.as_raw_nonzero());
        until(&format!("{} is paused", self.name), LEADS_WITHIN, || async {
            for thread in std::fs::read_dir(&threads)? {
                let state = std::fs::read_to_string(thread?.path().join("stat"))?;
                let state = state.rsplit(')').next().unwrap_or_default().trim_start();
                ensure!(state.starts_with('T'), "a thread is {state}");
            }
            Ok(())
        })
        .await
    }
}

impl Running {
    /// The current content of `run.json`.
    ///
    /// # Errors
    /// When there is none.
    pub fn now(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(
            self.set().join("run.json"),
        )?)?)
    }

    /// The process `name` of a region: `agent-1`, `gateway-2`, `nats`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process(&self, region: &str, name: &str) -> anyhow::Result<Met> {
        let now = self.now()?;
        let region = &now["regions"][region];
        let lists = ["agents", "gateways"].map(|list| region[list].as_array().cloned().unwrap_or_default());
        let found = lists.iter().flatten().find(|process| process["name"] == name);
        let process = if name == "nats" {
            Some(&region["nats"])
        } else {
            found
        };
        let pid = process.and_then(|process| process["pid"].as_i64());
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        Ok(Met {
            name: name.to_owned(),
            pid: pid.with_context(|| format!("{name} does not run"))?,
        })
    }

    /// Holds every process of a region down, and waits until all have ended: a killed process may
    /// write to its disk for a moment.
    ///
    /// # Errors
    /// When one still runs after 30 s.
    pub async fn down(&self, region: &str) -> anyhow::Result<()> {
        self.lab(&["down", &format!("all@{region}")])?;
        until(&format!("all of {region} is down"), DOWN_WITHIN, || async {
            let now = self.now()?;
            let run = &now["regions"][region];
            let lists = ["agents", "gateways"].map(|list| run[list].as_array().cloned().unwrap_or_default());
            for process in lists.iter().flatten().chain([&run["nats"]]) {
                ensure!(process["pid"] == 0, "it still runs: {process}");
            }
            Ok(())
        })
        .await
    }

    /// Stops an agent of a region, and keeps it down.
    ///
    /// # Errors
    /// When it still runs after a while.
    pub async fn agent_down(&self, region: &str, name: &str) -> anyhow::Result<()> {
        self.lab(&["down", &format!("{name}@{region}")])?;
        until(&format!("{name} of {region} is down"), DOWN_WITHIN, || async {
            let now = self.now()?;
            let agents = now["regions"][region]["agents"].as_array();
            let is_down = |agent: &Value| agent["name"] == name && agent["pid"] == 0;
            ensure!(agents.into_iter().flatten().any(is_down), "it still runs");
            Ok(())
        })
        .await
    }

    /// The `/v1/status` of each gateway of a region that answers.
    pub async fn statuses(&self, region: &str) -> Vec<Value> {
        let said = self.gateway_texts(region, "/v1/status").await;
        said.iter()
            .filter_map(|said| serde_json::from_str(said).ok())
            .collect()
    }

    /// The values of a metric's samples on every gateway of a region that answers.
    pub async fn samples(&self, region: &str, metric: &str) -> Vec<f64> {
        self.samples_beginning(region, &format!("{metric}{{")).await
    }

    /// The values of the samples whose lines start with `beginning`, on every gateway of a region
    /// that answers.
    pub async fn samples_beginning(&self, region: &str, beginning: &str) -> Vec<f64> {
        let said = self.gateway_texts(region, "/metrics").await;
        let samples = said.iter().flat_map(|said| said.lines());
        let samples = samples.filter_map(|line| line.strip_prefix(beginning)?.split_once("} "));
        samples.filter_map(|(_, value)| value.parse().ok()).collect()
    }

    /// The answer at `path` of the admin listener of each gateway of a region that answers.
    pub async fn gateway_texts(&self, region: &str, path: &str) -> Vec<String> {
        let gateways = self.run_file()["regions"][region]["gateways"].as_array();
        let asked = gateways.into_iter().flatten().map(|gateway| {
            let admin = gateway["admin"].as_str().unwrap_or_default();
            let asked = self.client().get(format!("{admin}{path}"));
            async move {
                let answer = asked.timeout(Duration::from_millis(500)).send().await;
                answer.ok()?.text().await.ok()
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// The gateway of a region that reports itself as leading.
    ///
    /// # Errors
    /// When none does within 30 s.
    pub async fn leader(&self, region: &str) -> anyhow::Result<Met> {
        until(&format!("{region} has a leader"), LEADS_WITHIN, || async {
            let said = self.statuses(region).await;
            let leading = said.iter().find(|gateway| gateway["leading"] == true);
            let name = leading.and_then(|gateway| gateway["name"].as_str());
            self.process(region, name.context("none leads")?)
        })
        .await
    }

    /// The address of a region's NATS for clients: `127.0.0.1:port`.
    #[must_use]
    pub fn nats(&self, region: &str) -> String {
        let url = self.run_file()["regions"][region]["nats"]["url"].as_str();
        url.unwrap_or_default().trim_start_matches("nats://").to_owned()
    }

    /// Waits until every agent of `readers` has applied exactly one change of `origin` per existing
    /// cell. That is so if every key was written once, in `origin`. Returns the number of cells.
    ///
    /// # Errors
    /// When the agents do not become identical, or one has applied more or fewer changes.
    pub async fn applied_once(&self, origin: &str, readers: &str, bound: Duration) -> anyhow::Result<u64> {
        // A change is counted just after it becomes readable.
        until("each key is applied once", bound, || async {
            let cells = self.identical(bound).await?;
            for agent in self.agents(readers) {
                let sample = format!("isthmus_applied_changes_total{{origin=\"{origin}\"}}");
                let applied = agent.metric(&sample).await?.unwrap_or_default();
                ensure!(
                    applied == cells as f64,
                    "{cells} keys were written once each, and {applied} changes were applied"
                );
            }
            Ok(cells)
        })
        .await
    }
}
