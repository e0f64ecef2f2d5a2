//! `isthmus region`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use isthmus_door::names::SystemNames;
use isthmus_door::region::{Client, ConnectRegionError, connect_region};
use isthmus_log::nats::{Connection, NoConsumer, Readers, Surveyed};
use isthmus_log::{EnsureError, LogError, LogSettings};
use isthmus_replication::names::ProcessName;
use isthmus_runtime::settings::{
    AgentSettings, ByteSize, Environment, GatewaySettings, ProcessSettings, Settings, SettingsError,
};
use serde_json::{Value, json};

use super::config::FileKind;
use crate::failure::Failure;
use crate::output::{line, note, pretty_json};

/// Make what a region's NATS must hold before its processes start
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  isthmus region init --settings /etc/isthmus/gateway.yaml --credentials operator.nk"
)]
pub(super) struct Region {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create the streams of the region's logs and journals and its bucket of leases, with the
    /// operator's credentials
    ///
    /// Existing streams are compared and left as they are: the command may be repeated, and adds
    /// new groups and partitions of set.yaml. No process needs these credentials afterwards.
    /// Exit 64 if a stream exists that differs from the settings.
    #[command(
        after_help = "Examples:\n  isthmus region init --settings /etc/isthmus/gateway.yaml --credentials operator.nk\n  \
        isthmus region init --settings eu-west/region-agent.yaml --credentials operator.creds --within 5m --json"
    )]
    Init(Init),
}

#[derive(Args, Debug)]
struct Init {
    /// The settings of an agent or gateway of the region: its NATS, its set and `log`
    #[arg(long, value_name = "FILE")]
    settings: PathBuf,
    /// The kind of the file; by default taken from its name: region-agent.yaml, gateway.yaml
    #[arg(long)]
    kind: Option<FileKind>,
    /// The name of a process of the region, for which the command creates the consumers that it
    /// reads through; may be given more than once. By default the process of the settings
    #[arg(long, value_name = "NAME", value_parser = ProcessName::parse)]
    process: Vec<ProcessName>,
    /// The operator's NATS credentials file, or a file with the seed of the operator's nkey; by
    /// default those of the settings
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// How long NATS is waited for
    #[arg(long, value_name = "TIME", default_value = "1m")]
    within: humantime::Duration,
    /// Print what is there as a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum RegionError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("{0}: give the settings of an agent or a gateway; specify which with --kind agent or gateway")]
    Kind(PathBuf),
    #[error(transparent)]
    Connect(#[from] ConnectRegionError),
    #[error(
        "NATS has not answered within {0:?}: check nats.servers, the credentials and the servers; if they use TLS, also nats.ca and whether their certificates contain the names in nats.servers"
    )]
    Late(Duration),
    #[error(transparent)]
    Ensure(#[from] EnsureError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Consumer(#[from] NoConsumer),
}

impl Region {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Init(init) => init.run().await,
        }
    }
}

impl Init {
    async fn run(self) -> Result<(), Failure> {
        let process = self.process()?;
        let streams = self.create(&process).await?;
        if self.json {
            let all: Vec<Value> = streams.iter().map(as_json).collect();
            return pretty_json(&all);
        }
        for stream in &streams {
            let limit = stream.refuses_at.map_or_else(
                || "the oldest are removed".to_owned(),
                |most| format!("at most {}", ByteSize(most)),
            );
            line(format_args!(
                "{}: {} of {} copies, {limit}",
                stream.stream, stream.current, stream.replicas
            ))?;
        }
        line(format_args!(
            "region {} of set {} is ready for its processes",
            process.region, process.set.name
        ))
    }

    fn process(&self) -> Result<ProcessSettings, RegionError> {
        let environment = Environment::of_process();
        let path: &Path = &self.settings;
        match self.kind.or_else(|| FileKind::of(path)) {
            Some(FileKind::Agent) => Ok(AgentSettings::load(path, &environment)?.process),
            Some(FileKind::Gateway) => Ok(GatewaySettings::load(path, &environment)?.process),
            Some(FileKind::Set) | None => Err(RegionError::Kind(path.to_owned())),
        }
    }

    async fn create(&self, process: &ProcessSettings) -> Result<Vec<Surveyed>, RegionError> {
        let within = *self.within;
        let late = || RegionError::Late(within);
        let connection = self.connect(process).await?;
        let connected = tokio::time::timeout(within, connection.connected());
        connected.await.map_err(|_| late())?;
        let (log, shards) = (&process.log, process.set.shards_for(&process.region));
        let wanted = LogSettings {
            create: true,
            replicas: log.replicas,
            max_bytes: log.max_bytes.0,
        };
        let ports = connection.ports();
        let ensured = ports.ensure(&shards, &wanted, |waits| note(format_args!("waiting: {waits}")));
        tokio::time::timeout(within, ensured)
            .await
            .map_err(|_| late())??;
        let of_settings = [process.name.clone()];
        let names = match self.process.as_slice() {
            [] => &of_settings[..],
            names => names,
        };
        for name in names {
            let provided = connection.provide(name, &shards, process.set.readers());
            tokio::time::timeout(within, provided)
                .await
                .map_err(|_| late())??;
            note(format_args!("{name} may read"));
        }
        Ok(connection.survey(&shards).await?)
    }

    async fn connect(&self, process: &ProcessSettings) -> Result<Connection, ConnectRegionError> {
        let own = self.credentials.clone();
        let client = Client {
            role: None,
            name: "isthmus region init".to_owned(),
            readers: Readers::Own,
            credentials: own.or_else(|| process.nats.credentials.clone()),
        };
        connect_region(process, client, &SystemNames::default()).await
    }
}

fn as_json(stream: &Surveyed) -> Value {
    json!({
        "stream": stream.stream,
        "replicas": stream.replicas,
        "current": stream.current,
        "refuses_at_bytes": stream.refuses_at,
    })
}

impl From<RegionError> for Failure {
    fn from(error: RegionError) -> Self {
        use RegionError::{Connect, Ensure, Kind, Settings};
        let of_settings = match &error {
            Settings(_) | Kind(_) | Connect(_) => true,
            Ensure(error) => matches!(error, EnsureError::Differs { .. }),
            RegionError::Late(_) | RegionError::Log(_) | RegionError::Consumer(_) => false,
        };
        let has_lines = matches!(error, Settings(_));
        let failure = Self::blaming(of_settings, error);
        if has_lines { failure.with_lines() } else { failure }
    }
}
