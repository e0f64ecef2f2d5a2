//! The common settings of agents and gateways.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration as Span;

use isthmus_replication::names::{ProcessName, RegionName};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::{AdminFile, At, DoorSettings, Role};
use super::address::{Endpoint, Name, NatsServer};
use super::document::Document;
use super::environment::Environment;
use super::error::SettingsError;
use super::set::SetSettings;
use super::set_check::joined;
use super::units::{ByteSize, Duration};

/// The region's NATS.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    /// At least one server.
    pub servers: Vec<NatsServer>,
    /// A NATS credentials file or the seed of an nkey, relative to the settings file; resolved once
    /// checked.
    pub credentials: Option<PathBuf>,
    /// The CAs (PEM) of the servers' certificates, relative to the settings file; resolved once
    /// checked. With it every connection uses TLS; without it only connections to `tls://` servers
    /// do, with the system's CAs.
    pub ca: Option<PathBuf>,
    /// The JetStream domain, if the region has one.
    pub domain: Option<String>,
}

/// The region's log.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Whether the process may create missing streams. For development: in production they are
    /// created once.
    pub create: bool,
    /// Replicas within the region: 1, 3 or 5.
    pub replicas: u8,
    /// The size of one shard's stream at which appends are refused.
    pub max_bytes: ByteSize,
    /// The size above which the steward trims what every agent has checkpointed.
    pub retention: ByteSize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            create: false,
            replicas: 1,
            max_bytes: ByteSize::mib(1024),
            retention: ByteSize::mib(256),
        }
    }
}

/// Logs and traces.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// The receiver of spans; none by default.
    pub otlp: Option<Otlp>,
    /// The share of traces that are recorded, 0 to 1. It applies to traces that start here, and to
    /// those from clients that ask for recording.
    pub ratio: f64,
    /// Whether every trace from a client that asks for recording is recorded. A trace for which the
    /// client does not ask for it never is.
    pub clients_may_sample: bool,
    /// The filter of logs: a level, or directives such as `info,isthmus_gateway=debug`.
    pub log: String,
    /// The format of logs.
    pub log_format: LogFormat,
    /// Whether spans contain keys instead of their hashes.
    pub show_keys: bool,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            otlp: None,
            ratio: 0.01,
            clients_may_sample: false,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            show_keys: false,
        }
    }
}

/// An OTLP receiver.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// `http://host:4317` for gRPC, `http://host:4318` for HTTP.
    pub endpoint: Endpoint,
    /// The transport.
    #[serde(default)]
    pub protocol: OtlpProtocol,
}

/// The two transports of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtlpProtocol {
    /// OTLP over gRPC.
    #[default]
    Grpc,
    /// OTLP over HTTP with protobuf bodies.
    Http,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The keys that both files share, as read.
pub(super) struct CommonFile {
    pub set: PathBuf,
    pub region: Name<RegionName>,
    pub name: Option<Name<ProcessName>>,
    pub nats: NatsSettings,
    pub admin: AdminFile,
    pub log: LogSettings,
    pub telemetry: TelemetrySettings,
    pub drain: Duration,
}

/// The settings of every process.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// The settings that the regions share.
    pub set: Arc<SetSettings>,
    /// The process's region, a member of the set.
    pub region: RegionName,
    /// Its name within the region.
    pub name: ProcessName,
    /// The region's NATS.
    pub nats: NatsSettings,
    /// The address for health, metrics and status, with its callers.
    pub admin: DoorSettings<Role>,
    /// The region's log.
    pub log: LogSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
    /// Time limit for finishing after a signal to stop.
    pub drain: Span,
    /// The file these settings were read from.
    pub document: Document,
}

impl ProcessSettings {
    /// The files that only their owner should read: the credentials for NATS, and the key of the
    /// admin listener.
    pub fn secrets(&self) -> impl Iterator<Item = PathBuf> {
        let admin = self.admin.tls.iter().map(|tls| tls.key.clone());
        self.nats.credentials.clone().into_iter().chain(admin)
    }

    /// `error` at the setting under `log` that conflicts with the server; unchanged if the cause is
    /// not a setting.
    #[must_use]
    pub fn at_log(&self, setting: Option<&str>, error: impl Error + Send + Sync + 'static) -> anyhow::Error {
        match setting {
            Some(key) => self.document.fault(&["log", key], error.to_string(), "").into(),
            None => error.into(),
        }
    }
}

/// A checked settings file of a process.
pub trait Settings: Sized + Send + Sync + 'static {
    /// The keys of the file that take effect while the process runs, including everything below
    /// them.
    const LIVE: &'static [&'static str];

    /// Reads and checks the file at `path`, with the overrides of `environment`, and the set.yaml
    /// that it names.
    ///
    /// # Errors
    /// [`SettingsError`] with file, line and fix, or with the variable.
    fn load(path: &Path, environment: &Environment) -> Result<Self, SettingsError>;

    /// The settings of every process.
    fn process(&self) -> &ProcessSettings;

    /// Every address that the process listens on.
    fn listeners(&self) -> Vec<SocketAddr>;
}

impl CommonFile {
    pub(super) fn check(self, document: Document, role: &str) -> Result<ProcessSettings, SettingsError> {
        let set = SetSettings::load(&document.resolve(&self.set)).map_err(|error| match error {
            SettingsError::Unreadable { file, source } => {
                let message = format!("set.yaml at {} cannot be read: {source}", file.display());
                document.fault(
                    &["set"],
                    message,
                    "name the file that the regions share, relative to this one",
                )
            }
            other => other,
        })?;
        let region = self.region.0;
        if !set.regions.contains_key(&region) {
            let message = format!(
                "region {region} is not in the set {} ({})",
                set.name,
                set.document().path().display()
            );
            let mend = format!(
                "use one of {}, or add {region} under regions in set.yaml",
                joined(set.regions.keys())
            );
            return Err(document.fault(&["region"], message, mend));
        }
        let admin = At {
            within: &["admin"],
            callers: "operators",
        };
        let admin = admin.check(
            &document,
            self.admin.listen.0,
            self.admin.tls,
            self.admin.operators,
        )?;
        check_log(&document, &self.log)?;
        check_telemetry(&document, &self.telemetry)?;
        let nats = check_nats(&document, self.nats)?;
        let name = match self.name {
            Some(name) => name.0,
            None => default_name(role).map_err(|error| {
                document.fault(&["name"], error.to_string(), "name the process with the key name")
            })?,
        };
        Ok(ProcessSettings {
            set: Arc::new(set),
            region,
            name,
            nats,
            admin,
            log: self.log,
            telemetry: self.telemetry,
            drain: self.drain.0,
            document,
        })
    }
}

/// The resolved path at `keys`; refused unless it names a readable file.
pub(super) fn check_file(document: &Document, keys: &[&str], path: &Path) -> Result<PathBuf, SettingsError> {
    let path = document.resolve(path);
    check_readable(document, keys, &path)?;
    Ok(path)
}

/// Refuses a resolved path at `keys` that does not name a readable file.
pub(super) fn check_readable(document: &Document, keys: &[&str], path: &Path) -> Result<(), SettingsError> {
    match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(file) if file.is_file() => Ok(()),
        Ok(_) => Err(document.fault(keys, format!("{} is not a file", path.display()), "name a file")),
        Err(error) => {
            let message = format!("{} cannot be read: {error}", path.display());
            Err(document.fault(
                keys,
                message,
                "correct the path (it is relative to this file) or the file's permissions",
            ))
        }
    }
}

fn check_nats(document: &Document, nats: NatsSettings) -> Result<NatsSettings, SettingsError> {
    if nats.servers.is_empty() {
        let mend = "give at least one, such as servers: [\"nats://127.0.0.1:4222\"]";
        return Err(document.fault(&["nats", "servers"], "no NATS server is named", mend));
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if nats
        .domain
        .as_ref()
        .is_some_and(|domain| domain.is_empty() || !domain.bytes().all(token))
    {
        let message = "the JetStream domain is not one word of letters, digits, - and _";
        return Err(document.fault(
            &["nats", "domain"],
            message,
            "use the domain of the NATS server's jetstream block",
        ));
    }
    let file = |key, path: &PathBuf| check_file(document, &["nats", key], path);
    let credentials = nats.credentials.as_ref();
    let credentials = credentials.map(|path| file("credentials", path)).transpose()?;
    let ca = nats.ca.as_ref().map(|path| file("ca", path)).transpose()?;
    Ok(NatsSettings {
        credentials,
        ca,
        ..nats
    })
}

fn check_log(document: &Document, log: &LogSettings) -> Result<(), SettingsError> {
    if ![1, 3, 5].contains(&log.replicas) {
        let message = format!("{} copies of a log", log.replicas);
        return Err(document.fault(&["log", "replicas"], message, "use 1, 3 or 5"));
    }
    if log.max_bytes < ByteSize::mib(1) {
        let message = format!("a log of {} has hardly room for a message", log.max_bytes);
        return Err(document.fault(&["log", "max_bytes"], message, "use 1MiB or more"));
    }
    if log.retention >= log.max_bytes {
        let message = format!(
            "retention {} is not below max_bytes {}",
            log.retention, log.max_bytes
        );
        let mend =
            "lower log.retention: the space between the two accepts writes while nothing can be trimmed";
        return Err(document.fault(&["log", "retention"], message, mend));
    }
    Ok(())
}

fn check_telemetry(document: &Document, telemetry: &TelemetrySettings) -> Result<(), SettingsError> {
    if !(0.0..=1.0).contains(&telemetry.ratio) {
        let message = format!("a ratio of {}", telemetry.ratio);
        return Err(document.fault(&["telemetry", "ratio"], message, "use a number from 0 to 1"));
    }
    tracing_subscriber::EnvFilter::try_new(&telemetry.log)
        .map(drop)
        .map_err(|error| {
            let mend =
                "use error, warn, info, debug or trace, or directives such as info,isthmus_gateway=debug";
            document.fault(
                &["telemetry", "log"],
                format!("{:?} is not a log filter: {error}", telemetry.log),
                mend,
            )
        })
}

/// `<role>-<host name>`, the same at every start.
fn default_name(role: &str) -> Result<ProcessName, isthmus_replication::names::InvalidName> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().split('.').next().unwrap_or_default();
    let host = host
        .to_ascii_lowercase()
        .replace(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit(), "-");
    let name = format!("{role}-{host}");
    ProcessName::parse(name.get(..32).unwrap_or(&name).trim_end_matches('-'))
}

pub(super) fn default_drain() -> Duration {
    Duration(Span::from_secs(10))
}
