//! Finds the programs that a folder's processes run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use isthmus_runtime::doctor;

/// The variable that names the NATS server to run.
pub const NATS_SERVER_VARIABLE: &str = "ISTHMUS_NATS_SERVER";

/// The programs, as absolute paths.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `isthmus-region-agent`.
    pub agent: PathBuf,
    /// `isthmus-gateway`.
    pub gateway: PathBuf,
    /// `nats-server`, 2.12 or later.
    pub nats_server: PathBuf,
}

/// Why a program was not found.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// This program's own path is unknown.
    #[error("the path of this program cannot be determined")]
    Own(#[source] std::io::Error),
    /// A program of Isthmus is missing.
    #[error("{0} is neither beside this program nor on PATH; build it with `cargo build --bins`")]
    Missing(&'static str),
    /// No NATS server was found that is new enough.
    #[error(
        "no nats-server 2.12 or later was found; fetch one with `tools/nats-server`, or set {NATS_SERVER_VARIABLE} to the path of one"
    )]
    NoNats,
    /// The server named by [`NATS_SERVER_VARIABLE`] is not usable.
    #[error("{path}, from {NATS_SERVER_VARIABLE}, is not a nats-server 2.12 or later")]
    BadNats {
        /// The path in the variable.
        path: PathBuf,
    },
}

impl Binaries {
    /// Finds the programs of Isthmus beside this program, then on PATH, and the NATS server with
    /// [`find_nats_server`].
    pub fn find() -> Result<Self, BinaryError> {
        let isthmus = std::env::current_exe().map_err(BinaryError::Own)?;
        let ours = |name: &'static str| {
            let beside = isthmus.with_file_name(name);
            let found = if beside.is_file() {
                Some(beside)
            } else {
                on_path(name).next()
            };
            found.ok_or(BinaryError::Missing(name))
        };
        Ok(Self {
            agent: ours("isthmus-region-agent")?,
            gateway: ours("isthmus-gateway")?,
            nats_server: find_nats_server(&isthmus)?,
        })
    }
}

/// The NATS server named by `ISTHMUS_NATS_SERVER`; else the first one of 2.12 or later on PATH, in
/// `.tools/` of the current folder or of a folder above it, or in `.tools/` of a folder above this
/// program.
pub fn find_nats_server(this_program: &Path) -> Result<PathBuf, BinaryError> {
    if let Some(path) = std::env::var_os(NATS_SERVER_VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if new_enough(&path) {
            Ok(absolute(path))
        } else {
            Err(BinaryError::BadNats { path })
        };
    }
    let here = std::env::current_dir().unwrap_or_default();
    let tools = here
        .ancestors()
        .chain(this_program.ancestors())
        .map(|folder| folder.join(".tools/nats-server"));
    on_path("nats-server")
        .chain(tools)
        .find(|path| path.is_file() && new_enough(path))
        .map(absolute)
        .ok_or(BinaryError::NoNats)
}

fn absolute(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}

fn on_path(name: impl AsRef<OsStr>) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders
        .into_iter()
        .map(move |folder| folder.join(name.as_ref()))
        .filter(|path| path.is_file())
}

fn new_enough(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else {
        return false;
    };
    let version = doctor::major_and_minor(&String::from_utf8_lossy(&output.stdout));
    version.is_some_and(|version| version >= doctor::LEAST_NATS)
}
