//! One agent or gateway, run from a folder of `isthmus init` with the test's own settings.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::binary;

/// A process that is killed when this is dropped. Its output is in `<name>.log` of the folder.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

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
        let path = folder.join(format!("{name}.log"));
        let log = std::fs::File::create(&path)?;
        let child = Command::new(binary(program)?)
            .arg("--settings")
            .arg(folder.join(settings))
            .envs(overrides.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { child, log: path })
    }

    /// The last lines of its output, for the message of a failure.
    #[must_use]
    pub fn said(&self) -> String {
        const LINES: usize = 25;
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let skipped = text.lines().count().saturating_sub(LINES);
        let lines: Vec<&str> = text.lines().skip(skipped).collect();
        format!("{}:\n{}", self.log.display(), lines.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
