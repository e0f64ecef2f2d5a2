//! The only writer of `run.json`.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::folder::Folder;
use crate::folder::control_secret::{self, ControlSecretError};
use crate::folder::run_file::{RunFile, RunFileError};

/// The running processes, kept in step with the folder's `run.json`.
#[derive(Debug)]
pub struct RunState {
    folder: PathBuf,
    run: Mutex<RunFile>,
}

/// Why a file was not removed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// `run.json` could not be removed.
    #[error(transparent)]
    RunFile(#[from] RunFileError),
    /// The secret could not be removed.
    #[error(transparent)]
    Secret(#[from] ControlSecretError),
}

impl RunState {
    /// Writes the first `run.json`.
    pub fn open(folder: &Folder, run: RunFile) -> Result<Self, RunFileError> {
        run.store(&folder.root)?;
        Ok(Self {
            folder: folder.root.clone(),
            run: Mutex::new(run),
        })
    }

    /// A copy of the current content.
    pub fn snapshot(&self) -> RunFile {
        self.lock().clone()
    }

    /// Records that all processes have been ready.
    pub fn mark_ready(&self) -> Result<(), RunFileError> {
        self.change(|run| run.ready = true)
    }

    /// Records the process id of `name` in `region`; 0 means that it is down.
    pub fn note_pid(&self, region: &str, name: &str, pid: u32) -> Result<(), RunFileError> {
        self.change(|run| {
            let Some(region) = run.regions.get_mut(region) else {
                return;
            };
            let agents = region
                .agents
                .iter_mut()
                .map(|agent| (agent.name.as_str(), &mut agent.pid));
            let gateways = region
                .gateways
                .iter_mut()
                .map(|gateway| (gateway.name.as_str(), &mut gateway.pid));
            let nats = [("nats", &mut region.nats.pid)];
            if let Some((_, place)) = agents.chain(gateways).chain(nats).find(|(of, _)| *of == name) {
                *place = pid;
            }
        })
    }

    /// Removes `run.json` and the secret beside it.
    pub fn close(&self) -> Result<(), CloseError> {
        let _writing = self.lock();
        RunFile::remove(&self.folder)?;
        Ok(control_secret::remove(&self.folder)?)
    }

    fn change(&self, change: impl FnOnce(&mut RunFile)) -> Result<(), RunFileError> {
        let mut run = self.lock();
        change(&mut run);
        run.store(&self.folder)
    }

    fn lock(&self) -> MutexGuard<'_, RunFile> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
