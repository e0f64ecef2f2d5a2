//! `region-agent.yaml`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use isthmus_replication::names::{CallerName, ProcessName, RegionName};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::{AdminFile, At, BucketRights, Buckets, ClientFile, DoorSettings, TlsSettings};
use super::address::{Listen, Name};
use super::document::Document;
use super::environment::Environment;
use super::error::SettingsError;
use super::process::{
    CommonFile, LogSettings, NatsSettings, ProcessSettings, Settings, TelemetrySettings, default_drain,
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
    /// The door for applications: a loopback address unless `tls` and `clients` are given.
    #[serde(default = "default_listen")]
    listen: Listen,
    /// The door's certificate.
    tls: Option<TlsSettings>,
    /// The callers of the door and their buckets; everybody by default.
    #[serde(default)]
    clients: BTreeMap<Name<CallerName>, ClientFile>,
    /// The administrative listener.
    #[serde(default = "default_admin")]
    admin: AdminFile,
    /// The folder of checkpoints, relative to this file; `data/<name>` by default.
    data: Option<PathBuf>,
    /// The region's log.
    #[serde(default)]
    log: LogSettings,
    /// Memory limits.
    #[serde(default)]
    memory: MemoryLimits,
    /// Copies of stores.
    #[serde(default)]
    sync: SyncSettings,
    /// Logs and traces.
    #[serde(default)]
    telemetry: TelemetrySettings,
    /// Time limit for finishing after a signal to stop.
    #[serde(default = "default_drain")]
    drain: Duration,
}

/// The two memory limits of an agent (design.md section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryLimits {
    /// Above it local puts are refused; deletes are still accepted.
    pub soft: ByteSize,
    /// Above it applying stops and the process is not ready.
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

/// How stores are copied when a log no longer has what is missing (design.md section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SyncSettings {
    /// The bytes that this agent receives per second, for each shard, while it copies a store.
    pub rate: ByteSize,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            rate: ByteSize::mib(64),
        }
    }
}

/// `region-agent.yaml`, checked.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The settings of every process.
    pub process: ProcessSettings,
    /// The door for applications.
    pub door: DoorSettings<BucketRights>,
    /// The folder of checkpoints.
    pub data: PathBuf,
    /// Memory limits.
    pub memory: MemoryLimits,
    /// Copies of stores.
    pub sync: SyncSettings,
}

impl Settings for AgentSettings {
    const LIVE: &'static [&'static str] = &[
        "clients",
        "admin.operators",
        "log.retention",
        "memory",
        "sync",
        "telemetry.log",
        "drain",
    ];

    fn load(path: &Path, environment: &Environment) -> Result<Self, SettingsError> {
        let mut document = Document::read(path)?;
        let file: AgentFile = document.parse(environment)?;
        let door = At {
            within: &[],
            callers: "clients",
        };
        let door = door.check(&document, file.listen.0, file.tls, file.clients)?;
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
        if file.sync.rate.0 == 0 {
            return Err(document.fault(
                &["sync", "rate"],
                "a rate of 0 never copies anything".to_owned(),
                "raise sync.rate, or leave it out",
            ));
        }
        let common = CommonFile {
            set: file.set,
            region: file.region,
            name: file.name,
            nats: file.nats,
            admin: file.admin,
            log: file.log,
            telemetry: file.telemetry,
            drain: file.drain,
        };
        let process = common.check(document, "agent")?;
        check_buckets(&process, &door)?;
        let data = file
            .data
            .unwrap_or_else(|| Path::new("data").join(process.name.as_str()));
        let data = process.document.resolve(&data);
        Ok(Self {
            process,
            door,
            data,
            memory: file.memory,
            sync: file.sync,
        })
    }

    fn process(&self) -> &ProcessSettings {
        &self.process
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        vec![self.door.listen, self.process.admin.listen]
    }
}

/// Refuses a right to a bucket that the set does not know: it is probably a typing error.
fn check_buckets(process: &ProcessSettings, door: &DoorSettings<BucketRights>) -> Result<(), SettingsError> {
    for (name, client) in &door.callers {
        let rights = [("read", &client.rights.read), ("write", &client.rights.write)];
        for (key, buckets) in rights {
            let Buckets::Named(names) = buckets else { continue };
            let unknown = names.iter().find(|bucket| process.set.bucket(bucket).is_none());
            if let Some(bucket) = unknown {
                let keys = ["clients", name.as_str(), key];
                let mend = "correct the name, or add the bucket to set.yaml";
                let message = format!("the set does not know the bucket {bucket}");
                return Err(process.document.fault(&keys, message, mend));
            }
        }
    }
    Ok(())
}

fn default_listen() -> Listen {
    Listen((Ipv4Addr::LOCALHOST, 7110).into())
}

fn default_admin() -> AdminFile {
    AdminFile {
        listen: Listen((Ipv4Addr::LOCALHOST, 7111).into()),
        tls: None,
        operators: BTreeMap::new(),
    }
}
