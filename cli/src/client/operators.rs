//! The admin listeners that operator commands ask: those of a folder's processes, region by region,
//! or a single one given by its URL.

use std::path::PathBuf;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method};
use serde_json::Value;

use super::door::{self, DoorError};
use super::http::{self, HttpError};
use super::proof::{Proof, ProofError};
use crate::folder::run_file::{RegionRun, RunFile};

/// Which regions to ask, and where.
#[derive(Args, Clone, Debug)]
pub(crate) struct Operators {
    /// The folder that `isthmus up` runs
    #[arg(long, default_value = ".")]
    pub(crate) dir: PathBuf,
    /// The region to ask; by default every one
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// The admin listener of a process, instead of a folder
    #[arg(long, value_name = "URL", conflicts_with_all = ["dir", "region"])]
    pub(crate) via: Option<String>,
    #[command(flatten)]
    pub(crate) proof: Proof,
}

/// The admin listeners of one region.
#[derive(Clone, Debug)]
pub(crate) struct Listeners {
    /// The region; empty if only a URL was given.
    pub(crate) region: String,
    admins: Vec<String>,
}

/// The processes of a region that can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Agents,
    /// Agents and gateways.
    All,
}

/// Why a region gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("no process of {0} is running")]
    NoProcess(String),
}

impl NoAnswer {
    pub(crate) fn blames_arguments(&self) -> bool {
        matches!(self, Self::Http(error) if error.blames_arguments())
    }

    /// Whether the requested item does not exist.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Http(HttpError::Refused { problem, .. }) if problem.is_absence())
    }
}

impl Operators {
    /// A client that presents the proof at these listeners.
    pub(crate) fn client(&self) -> Result<Client, ProofError> {
        self.proof.client(&self.via)
    }

    /// The listeners of each region to ask.
    pub(crate) fn listeners(&self, asked: Asked) -> Result<Vec<Listeners>, DoorError> {
        if let Some(via) = &self.via {
            return Ok(vec![Listeners {
                region: String::new(),
                admins: vec![via.trim_end_matches('/').to_owned()],
            }]);
        }
        let run = RunFile::of_running(&self.dir)?;
        if let Some(name) = &self.region {
            return Ok(vec![of_region(name, door::region(&run, name)?, asked)]);
        }
        let regions = run.regions_in_order();
        Ok(regions
            .map(|(name, region)| of_region(name, region, asked))
            .collect())
    }
}

fn of_region(name: &str, region: &RegionRun, asked: Asked) -> Listeners {
    let agents = region.agents.iter().map(|agent| (agent.pid, &agent.admin));
    let gateways = region
        .gateways
        .iter()
        .map(|gateway| (gateway.pid, &gateway.admin));
    let all = agents.chain(gateways.filter(|_| asked == Asked::All));
    Listeners {
        region: name.to_owned(),
        admins: all
            .filter(|(pid, _)| *pid != 0)
            .map(|(_, admin)| admin.clone())
            .collect(),
    }
}

/// `?name=value&…`, or an empty string.
fn in_url(query: &[(&str, String)]) -> String {
    let pair =
        |(name, value): &(&str, String)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    let pairs: Vec<String> = query.iter().map(pair).collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("?{}", pairs.join("&")),
    }
}

impl Listeners {
    /// Asks the region's processes, one after the other, until one answers.
    pub(crate) async fn ask(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Value, NoAnswer> {
        let query = in_url(query);
        let mut last = NoAnswer::NoProcess(self.region.clone());
        for admin in &self.admins {
            let request = client.request(method.clone(), format!("{admin}{path}{query}"));
            match http::json(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_passing() => last = error.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(last)
    }
}
