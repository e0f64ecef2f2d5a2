//! `run.json`: the running processes of a folder, for the commands and tests that act on them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

const NAME: &str = "run.json";

/// A running folder. A `pid` of 0 means that the process is down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFile {
    /// The process of `isthmus up` or `isthmus demo`.
    pub pid: u32,
    /// When that process started, RFC 3339.
    pub started: String,
    /// Whether every process has been ready once.
    pub ready: bool,
    /// The regions in the order of set.yaml.
    pub order: Vec<String>,
    /// The processes of each region.
    pub regions: BTreeMap<String, RegionRun>,
    /// The network between the regions.
    pub wan: WanRun,
    /// The proxies: where each region dials each gateway of the others.
    pub links: Vec<LinkRun>,
}

/// The processes of one region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionRun {
    /// Its NATS server.
    pub nats: NatsRun,
    /// Its agents.
    pub agents: Vec<AgentRun>,
    /// Its gateways.
    pub gateways: Vec<GatewayRun>,
}

/// A NATS server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NatsRun {
    /// Where clients connect.
    pub url: String,
    /// The monitoring endpoint, `http://…`.
    pub monitor: String,
    /// Its process id.
    pub pid: u32,
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentRun {
    /// Its name in the region.
    pub name: String,
    /// The application door, `http://…`.
    pub http: String,
    /// The admin listener, `http://…`.
    pub admin: String,
    /// Its process id.
    pub pid: u32,
    /// The file whose content is added to its wall time.
    pub clock_file: PathBuf,
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatewayRun {
    /// Its name in the region.
    pub name: String,
    /// Where it accepts links.
    pub link: SocketAddr,
    /// The admin listener, `http://…`.
    pub admin: String,
    /// Its process id.
    pub pid: u32,
    /// The file whose content is added to its wall time.
    pub clock_file: PathBuf,
}

/// The network between the regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WanRun {
    /// Its control door (JSON lines over TCP); absent with one region.
    pub control: Option<SocketAddr>,
    /// The emulated round trip, in milliseconds.
    pub rtt_ms: u64,
}

/// One proxy of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkRun {
    /// The region that dials.
    pub from: String,
    /// The region that is dialled.
    pub to: String,
    /// The gateway of `to` that the proxy leads to.
    pub gateway: String,
    /// The address to dial.
    pub proxy: SocketAddr,
}

/// Why the run file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// There is no `run.json`.
    #[error("nothing runs in {0}: it has no {NAME}; start it with `isthmus up {0}`")]
    Absent(PathBuf),
    /// The process that wrote it has ended.
    #[error(
        "nothing runs in {folder}: process {pid} of its {NAME} has ended; start it with `isthmus up {folder}`"
    )]
    Ended {
        /// The folder.
        folder: PathBuf,
        /// The process that wrote the file.
        pid: u32,
    },
    /// It can't be read or written.
    #[error("{path} cannot be read or written")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not one that `up` writes.
    #[error("{path} was not written by this version of isthmus")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

impl RunFile {
    /// Reads the file of a folder whose process still runs.
    pub fn of_running(folder: &Path) -> Result<Self, RunFileError> {
        let path = folder.join(NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RunFileError::Absent(folder.to_owned()));
            }
            Err(source) => return Err(RunFileError::Io { path, source }),
        };
        let run: Self =
            serde_json::from_slice(&text).map_err(|source| RunFileError::Malformed { path, source })?;
        if alive(run.pid) {
            Ok(run)
        } else {
            Err(RunFileError::Ended {
                folder: folder.to_owned(),
                pid: run.pid,
            })
        }
    }

    /// The regions in the order of set.yaml.
    pub fn regions_in_order(&self) -> impl Iterator<Item = (&str, &RegionRun)> {
        self.order
            .iter()
            .filter_map(|name| Some((name.as_str(), self.regions.get(name)?)))
    }

    /// Replaces the file atomically, so that a reader never sees half of it.
    pub fn store(&self, folder: &Path) -> Result<(), RunFileError> {
        let path = folder.join(NAME);
        let write = || {
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            let draft = folder.join(format!(".{NAME}.{}", std::process::id()));
            std::fs::write(&draft, text)?;
            std::fs::rename(&draft, &path)
        };
        write().map_err(|source| RunFileError::Io {
            path: path.clone(),
            source,
        })
    }

    /// Removes the file of a folder.
    pub fn remove(folder: &Path) -> Result<(), RunFileError> {
        let path = folder.join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RunFileError::Io { path, source: error })
            }
            _ => Ok(()),
        }
    }
}

/// Whether a process with this id exists.
pub fn alive(pid: u32) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .is_some_and(|pid| test_kill_process(pid).is_ok())
}
