//! One agent or gateway, run from a folder of `isthmus init` with settings of the test's own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::binary;

/// A process that is killed when this is dropped; what it said is in `<name>.log` of the folder.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts `program` with the settings file and environment overrides.
    ///
    /// # Errors
    /// When it is not built or does not start.
    pub fn start(
        folder: &Path,
        program: &str,
        settings: &str,
        overrides: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let name = overrides.iter().find(|(key, _)| *key == "ISTHMUS_NAME");
        let name = name.map_or(program, |(_, name)| name);
        let log = std::fs::File::create(folder.join(format!("{name}.log")))?;
        let child = Command::new(binary(program)?)
            .arg("--settings")
            .arg(folder.join(settings))
            .envs(overrides.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
