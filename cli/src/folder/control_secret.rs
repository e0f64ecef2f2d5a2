//! `control.secret`: the secret that grants control of a running folder's network. It is beside
//! `run.json`, readable by the owner alone, and drawn again for each run.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use isthmus_wan::{ControlSecret, NotASecret};

const NAME: &str = "control.secret";

/// Why the secret could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ControlSecretError {
    /// The system gave no random bytes.
    #[error("no secret can be generated for the control door of the network")]
    NoRandomness(#[source] getrandom::Error),
    /// The file can't be read or written.
    #[error("{path} cannot be read or written; only the user who runs the folder may control its network")]
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
        source: NotASecret,
    },
}

/// Draws a secret and writes it into the folder. Replaces the secret of an earlier run.
pub fn draw(folder: &Path) -> Result<ControlSecret, ControlSecretError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(ControlSecretError::NoRandomness)?;
    let secret = ControlSecret::of_random(random);
    remove(folder)?;
    let path = folder.join(NAME);
    let write = || {
        // `create_new` never writes through a file or link that somebody else put there.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(secret.text().as_bytes())
    };
    match write() {
        Ok(()) => Ok(secret),
        Err(source) => Err(ControlSecretError::Io { path, source }),
    }
}

/// Reads the secret of a running folder.
pub fn read(folder: &Path) -> Result<ControlSecret, ControlSecretError> {
    let path = folder.join(NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            ControlSecret::parse(&text).map_err(|source| ControlSecretError::Malformed { path, source })
        }
        Err(source) => Err(ControlSecretError::Io { path, source }),
    }
}

/// Removes the secret of a folder.
pub fn remove(folder: &Path) -> Result<(), ControlSecretError> {
    let path = folder.join(NAME);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ControlSecretError::Io { path, source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn each_run_has_a_secret_of_its_own_for_the_owner_alone() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join(NAME);
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "")?;
        symlink(&elsewhere, &file)?;
        let first = draw(folder.path())?;
        let mode = std::fs::symlink_metadata(&file)?.permissions().mode();
        assert_eq!(mode & 0o177_777, 0o100_600);
        assert_eq!(std::fs::read_to_string(&elsewhere)?, "");
        assert_eq!(read(folder.path())?.text(), first.text());
        let second = draw(folder.path())?;
        assert_ne!(first.text(), second.text());
        remove(folder.path())?;
        remove(folder.path())?;
        assert!(read(folder.path()).is_err());
        Ok(())
    }
}
