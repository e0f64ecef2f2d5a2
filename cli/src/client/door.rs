//! The agent that a command sends requests to.

use std::path::PathBuf;

use clap::Args;
use reqwest::Client;

use super::proof::{Proof, ProofError};
use crate::failure::Failure;
use crate::folder::run_file::{RegionRun, RunFile, RunFileError};

/// The address of an agent's application door.
#[derive(Args, Clone, Debug)]
pub(crate) struct Door {
    /// The folder that `isthmus up` runs
    #[arg(long, default_value = ".")]
    pub(crate) dir: PathBuf,
    /// The region to ask; by default the first of set.yaml
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// The door of an agent, instead of a folder
    #[arg(long, value_name = "URL", conflicts_with_all = ["dir", "region"])]
    pub(crate) via: Option<String>,
    #[command(flatten)]
    pub(crate) proof: Proof,
}

/// Why no door was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    #[error(transparent)]
    Folder(#[from] RunFileError),
    #[error("no region {wanted} runs here; the regions are: {known}")]
    NoRegion { wanted: String, known: String },
    #[error("no agent of {0} is running")]
    NoAgent(String),
}

impl Door {
    /// A client that presents the proof at that door.
    pub(crate) fn client(&self) -> Result<Client, ProofError> {
        self.proof.client(&self.via)
    }

    /// The URL of an agent's door, without a slash at the end.
    pub(crate) fn url(&self) -> Result<String, DoorError> {
        if let Some(via) = &self.via {
            return Ok(via.trim_end_matches('/').to_owned());
        }
        let run = RunFile::of_running(&self.dir)?;
        let (name, region) = match &self.region {
            Some(name) => (name.as_str(), region(&run, name)?),
            None => run
                .regions_in_order()
                .next()
                .ok_or_else(|| no_region(&run, "named in set.yaml"))?,
        };
        let running = region.agents.iter().find(|agent| agent.pid != 0);
        running
            .map(|agent| agent.http.clone())
            .ok_or_else(|| DoorError::NoAgent(name.to_owned()))
    }
}

/// A region of a running folder.
pub(crate) fn region<'a>(run: &'a RunFile, name: &str) -> Result<&'a RegionRun, DoorError> {
    run.regions.get(name).ok_or_else(|| no_region(run, name))
}

fn no_region(run: &RunFile, wanted: &str) -> DoorError {
    DoorError::NoRegion {
        wanted: wanted.to_owned(),
        known: run.order.join(", "),
    }
}

impl From<DoorError> for Failure {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::NoRegion { .. } => Self::settings(error),
            _ => Self::environment(error),
        }
    }
}
