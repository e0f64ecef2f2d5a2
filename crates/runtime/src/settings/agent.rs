//! `region-agent.yaml`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use isthmus_replication::names::{ProcessName, RegionName};
use schemars::JsonSchema;
use serde::Deserialize;

use super::address::{Listen, Name};
use super::document::Document;
use super::environment::Environment;
use super::error::SettingsError;
use super::process::{
    AdminFile, CommonFile, LogSettings, NatsSettings, ProcessSettings, Settings, TelemetrySettings,
    check_loopback, default_drain,
};
use super::units::{ByteSize, Duration};

/// The settings of a region agent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentFile {
    /// The set.yaml of the set, relative to this file.
    set: PathBuf,
    /// The region that the process belongs to.
    region: Name<RegionName>,
    /// The name of this process within its region; `agent-<host name>` by default.
    name: Option<Name<ProcessName>>,
    /// The region's NATS.
    nats: NatsSettings,
    /// The door for applications: a loopback address.
    #[serde(default = "default_listen")]
    listen: Listen,
    /// The administrative listener.
    #[serde(default = "default_admin")]
    admin: AdminFile,
    /// The folder of checkpoints, relative to this file; `data/<name>` by default.
    data: Option<PathBuf>,
    /// The region's log.
    #[serde(default)]
    log: LogSettings,
    /// Limits of memory.
    #[serde(default)]
    memory: MemoryLimits,
    /// Logs and traces.
    #[serde(default)]
    telemetry: TelemetrySettings,
    /// How long the process may take to finish once told to stop.
    #[serde(default = "default_drain")]
    drain: Duration,
}

/// The two limits of an agent's memory (design.md section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryLimits {
    /// Above it local puts are refused; deletes pass.
    pub soft: ByteSize,
    /// Above it apply and readiness stall.
    pub hard: ByteSize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            soft: ByteSize::mib(1024),
            hard: ByteSize::mib(1536),
        }
    }
}

/// `region-agent.yaml`, checked.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// What every process has been told.
    pub process: ProcessSettings,
    /// The door for applications: a loopback address.
    pub listen: SocketAddr,
    /// The folder of checkpoints.
    pub data: PathBuf,
    /// Limits of memory.
    pub memory: MemoryLimits,
}

impl Settings for AgentSettings {
    fn load(path: &Path, environment: &Environment) -> Result<Self, SettingsError> {
        let mut document = Document::read(path)?;
        let file: AgentFile = document.parse(environment)?;
        check_loopback(&document, &["listen"], file.listen.0)?;
        if file.memory.soft > file.memory.hard {
            let message = format!(
                "the soft limit {} is above the hard limit {}",
                file.memory.soft, file.memory.hard
            );
            return Err(document.fault(
                &["memory", "soft"],
                message,
                "lower memory.soft or raise memory.hard",
            ));
        }
        let common = CommonFile {
            set: file.set,
            region: file.region,
            name: file.name,
            nats: file.nats,
            admin: file.admin.listen.0,
            log: file.log,
            telemetry: file.telemetry,
            drain: file.drain,
        };
        let process = common.check(document, "agent")?;
        let data = file
            .data
            .unwrap_or_else(|| Path::new("data").join(process.name.as_str()));
        let data = process.document.resolve(&data);
        Ok(Self {
            process,
            listen: file.listen.0,
            data,
            memory: file.memory,
        })
    }

    fn process(&self) -> &ProcessSettings {
        &self.process
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        vec![self.listen, self.process.admin]
    }
}

fn default_listen() -> Listen {
    Listen((Ipv4Addr::LOCALHOST, 7110).into())
}

fn default_admin() -> AdminFile {
    AdminFile {
        listen: Listen((Ipv4Addr::LOCALHOST, 7111).into()),
    }
}
