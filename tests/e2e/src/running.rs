//! A running set of regions.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Agent, until};

/// As long as `isthmus up` itself waits.
const STARTED_WITHIN: Duration = Duration::from_secs(120);
const ENDED_WITHIN: Duration = Duration::from_secs(15);

/// A set of regions run by `isthmus up`. Dropping it ends the processes and removes the folder.
#[derive(Debug)]
pub struct Running {
    folder: TempDir,
    up: Child,
    run: Value,
    client: reqwest::Client,
}

/// The path of a shipped binary: beside the test's own folder of the same build.
///
/// # Errors
/// When it is missing; the error names the command that builds it.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let built = test
        .ancestors()
        .skip(1)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    built.with_context(|| format!("{name} is not built: run `cargo build --workspace --bins` first"))
}

/// Runs `isthmus` until it ends.
///
/// # Errors
/// When it does not exit with 0; the error has its standard error.
pub fn isthmus(arguments: &[&str]) -> anyhow::Result<()> {
    said_by_isthmus(arguments).map(drop)
}

/// Runs `isthmus` and returns its standard output.
fn said_by_isthmus(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(binary("isthmus")?)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "isthmus {} ended with {}: {said}",
        arguments.join(" "),
        output.status
    );
    Ok(output.stdout)
}

impl Running {
    /// Initialises a folder for `regions` and runs it with `up_arguments` on free ports.
    ///
    /// # Errors
    /// When a process does not become ready; the error has the output of `up`.
    pub async fn start(regions: &[&str], up_arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(regions, up_arguments, "").await
    }

    /// As [`Running::start`]; `settings` are appended to the file of every agent and gateway.
    ///
    /// # Errors
    /// As [`Running::start`].
    pub async fn start_with(regions: &[&str], up_arguments: &[&str], settings: &str) -> anyhow::Result<Self> {
        Self::start_edited(regions, up_arguments, |_, written| written + settings).await
    }

    /// As [`Running::start`]. `edit` gets the name of the settings file of every agent
    /// (`region-agent.yaml`) and gateway (`gateway.yaml`) with the text that `isthmus init` wrote,
    /// and returns the text to use.
    ///
    /// # Errors
    /// As [`Running::start`].
    pub async fn start_edited(
        regions: &[&str],
        up_arguments: &[&str],
        edit: impl Fn(&str, String) -> String,
    ) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let set = folder.path().join("set");
        let set_text = set.to_str().context("a folder name that is UTF-8")?;
        isthmus(&["init", set_text, "--regions", &regions.join(",")])?;
        for region in regions {
            for file in ["region-agent.yaml", "gateway.yaml"] {
                let path = set.join(region).join(file);
                let written = std::fs::read_to_string(&path)?;
                std::fs::write(path, edit(file, written))?;
            }
        }
        Self::run(folder, up_arguments).await
    }

    async fn run(folder: TempDir, up_arguments: &[&str]) -> anyhow::Result<Self> {
        let set = folder.path().join("set");
        let log = std::fs::File::create(folder.path().join("up.log"))?;
        let up = Command::new(binary("isthmus")?)
            .arg("up")
            .arg(&set)
            .args(["--port-base", "auto"])
            .args(up_arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut running = Self {
            folder,
            up,
            run: Value::Null,
            client: reqwest::Client::new(),
        };
        running.wait_ready().await.with_context(|| running.said())?;
        Ok(running)
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let path = self.set().join("run.json");
        let up = &mut self.up;
        self.run = until("every process is ready", STARTED_WITHIN, || {
            let ended = up.try_wait();
            let path = path.clone();
            async move {
                let run: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
                ensure!(run["ready"] == true, "not every process is ready; up: {ended:?}");
                Ok(run)
            }
        })
        .await?;
        Ok(())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("up.log")).unwrap_or_default()
    }

    /// The folder that `isthmus init` wrote.
    #[must_use]
    pub fn set(&self) -> PathBuf {
        self.folder.path().join("set")
    }

    /// The content of run.json when all processes were ready.
    #[must_use]
    pub fn run_file(&self) -> &Value {
        &self.run
    }

    /// The agents of a region.
    #[must_use]
    pub fn agents(&self, region: &str) -> Vec<Agent> {
        let agents = self.run["regions"][region]["agents"].as_array();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        agents
            .into_iter()
            .flatten()
            .map(|agent| Agent::new(self.client.clone(), &text(&agent["http"]), &text(&agent["admin"])))
            .collect()
    }

    /// The first agent of a region.
    #[must_use]
    pub fn agent(&self, region: &str) -> Agent {
        self.agents(region)
            .into_iter()
            .next()
            .expect("a region that init was given")
    }

    /// All agents of all regions.
    #[must_use]
    pub fn all_agents(&self) -> Vec<Agent> {
        let regions = self.run["regions"].as_object();
        regions
            .into_iter()
            .flatten()
            .flat_map(|(name, _)| self.agents(name))
            .collect()
    }

    /// Every agent and gateway in run.json: `name@region` and process id.
    #[must_use]
    pub fn processes(&self) -> Vec<(String, u64)> {
        let mut processes = Vec::new();
        for (region, run) in self.run["regions"].as_object().into_iter().flatten() {
            for process in ["agents", "gateways"]
                .iter()
                .filter_map(|kind| run[kind].as_array())
                .flatten()
            {
                let name = process["name"].as_str().unwrap_or_default();
                processes.push((
                    format!("{name}@{region}"),
                    process["pid"].as_u64().unwrap_or_default(),
                ));
            }
        }
        processes
    }

    /// The JSON answer of every gateway of a region at `path` of its admin listener.
    ///
    /// # Errors
    /// When one does not answer with JSON.
    pub async fn gateways(&self, region: &str, path: &str) -> anyhow::Result<Vec<Value>> {
        let mut answers = Vec::new();
        for gateway in self.run["regions"][region]["gateways"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let url = format!("{}{path}", gateway["admin"].as_str().unwrap_or_default());
            let request = self.client.get(url).timeout(Duration::from_secs(5));
            answers.push(request.send().await?.error_for_status()?.json().await?);
        }
        Ok(answers)
    }

    /// Runs `isthmus lab` on the folder.
    ///
    /// # Errors
    /// When the command fails.
    pub fn lab(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let set = self.set();
        let set = set.to_str().context("a folder name that is UTF-8")?;
        isthmus(&[&["lab", set], arguments].concat())
    }

    /// Runs a command of `isthmus` on the folder and reads the JSON that it prints.
    ///
    /// # Errors
    /// When it does not exit with 0, or does not print JSON.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let set = self.set();
        let set = set.to_str().context("a folder name that is UTF-8")?;
        let said = said_by_isthmus(&[arguments, &["--dir", set, "--json"]].concat())?;
        serde_json::from_slice(&said).context("isthmus printed no JSON")
    }

    /// Waits until all agents of all regions have the same cells. Returns the number of cells.
    ///
    /// # Errors
    /// When they differ after `bound`; the error lists the digests.
    pub async fn identical(&self, bound: Duration) -> anyhow::Result<u64> {
        let agents = self.all_agents();
        until("all agents identical", bound, || {
            let agents = agents.clone();
            async move {
                let mut all = Vec::new();
                for agent in &agents {
                    all.push(agent.digests().await?);
                }
                ensure!(
                    all.windows(2).all(|pair| pair[0] == pair[1]),
                    "agents differ: {all:#?}"
                );
                Ok(all.first().into_iter().flatten().map(|(cells, _)| cells).sum())
            }
        })
        .await
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The temporary folder, with the folder of the set and the log of `up`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.up.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = std::time::Instant::now() + ENDED_WITHIN;
        while matches!(self.up.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = self.up.kill();
        let _ = self.up.wait();
        if std::thread::panicking() {
            eprintln!("isthmus up said:\n{}", self.said());
        }
    }
}
