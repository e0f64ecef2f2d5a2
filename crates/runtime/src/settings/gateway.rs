//! `gateway.yaml`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use isthmus_replication::names::{ProcessName, RegionName};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::AdminFile;
use super::address::{Address, Listen, Name};
use super::document::Document;
use super::environment::Environment;
use super::error::SettingsError;
use super::process::{
    CommonFile, LogSettings, NatsSettings, ProcessSettings, Settings, TelemetrySettings, check_file,
    check_readable, default_drain,
};
use super::set::SetSettings;
use super::set_check::joined;
use super::units::Duration;

/// The settings of a gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GatewayFile {
    /// The set.yaml of the set, relative to this file.
    set: PathBuf,
    /// The region that the process belongs to.
    region: Name<RegionName>,
    /// The name of this process within its region; `gateway-<host name>` by default.
    name: Option<Name<ProcessName>>,
    /// The region's NATS.
    nats: NatsSettings,
    /// The links to other regions.
    link: LinkFile,
    /// The administrative listener.
    #[serde(default = "default_admin")]
    admin: AdminFile,
    /// The region's log.
    #[serde(default)]
    log: LogSettings,
    /// Logs and traces.
    #[serde(default)]
    telemetry: TelemetrySettings,
    /// Time limit for finishing after a signal to stop.
    #[serde(default = "default_drain")]
    drain: Duration,
}

/// The links to other regions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LinkFile {
    /// The address for gateways of other regions.
    listen: Listen,
    /// This region's certificate chain (PEM), relative to this file.
    certificate: PathBuf,
    /// Its key (PEM), relative to this file.
    key: PathBuf,
    /// The addresses of a peer's gateways, which replace those in set.yaml.
    #[serde(default)]
    dial: BTreeMap<Name<RegionName>, Vec<Address>>,
    /// A file of SHA-256 fingerprints of revoked keys and certificates, one per line.
    revoked: Option<PathBuf>,
}

/// The settings of a gateway's links to other regions.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// The address for gateways of other regions.
    pub listen: SocketAddr,
    /// This region's certificate chain (PEM); readable at the start.
    pub certificate: PathBuf,
    /// Its key (PEM); readable at the start.
    pub key: PathBuf,
    /// The addresses of the gateways of each other region of the set.
    pub dial: BTreeMap<RegionName, Vec<Address>>,
    /// A file of SHA-256 fingerprints of revoked keys and certificates.
    pub revoked: Option<PathBuf>,
}

/// `gateway.yaml`, checked.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// The settings of every process.
    pub process: ProcessSettings,
    /// The links to other regions.
    pub link: LinkSettings,
}

impl Settings for GatewaySettings {
    const LIVE: &'static [&'static str] = &["admin.operators", "telemetry.log", "drain"];

    fn load(path: &Path, environment: &Environment) -> Result<Self, SettingsError> {
        let mut document = Document::read(path)?;
        let file: GatewayFile = document.parse(environment)?;
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
        let process = common.check(document, "gateway")?;
        let link = check_link(&process, file.link)?;
        check_trust(&process.set)?;
        Ok(Self { process, link })
    }

    fn process(&self) -> &ProcessSettings {
        &self.process
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        vec![self.link.listen, self.process.admin.listen]
    }
}

fn check_link(process: &ProcessSettings, link: LinkFile) -> Result<LinkSettings, SettingsError> {
    let document = &process.document;
    let others = || {
        process
            .set
            .regions
            .iter()
            .filter(|(name, _)| **name != process.region)
    };
    let mut dial: BTreeMap<_, _> = others()
        .map(|(name, region)| (name.clone(), region.gateways.clone()))
        .collect();
    for (Name(peer), addresses) in link.dial {
        let keys = ["link", "dial", peer.as_str()];
        if !dial.contains_key(&peer) {
            let message = format!("{peer} is not another region of the set");
            return Err(document.fault(&keys, message, format!("use one of: {}", joined(dial.keys()))));
        }
        if addresses.is_empty() {
            let message = format!("no address for {peer}");
            return Err(document.fault(
                &keys,
                message,
                "give at least one address, or leave the region out",
            ));
        }
        dial.insert(peer, addresses);
    }
    let revoked = link
        .revoked
        .map(|path| check_file(document, &["link", "revoked"], &path))
        .transpose()?;
    Ok(LinkSettings {
        listen: link.listen.0,
        certificate: check_file(document, &["link", "certificate"], &link.certificate)?,
        key: check_file(document, &["link", "key"], &link.key)?,
        dial,
        revoked,
    })
}

fn check_trust(set: &SetSettings) -> Result<(), SettingsError> {
    for (name, region) in &set.regions {
        check_readable(
            set.document(),
            &["regions", name.as_str(), "trust"],
            &region.trust,
        )?;
    }
    Ok(())
}

fn default_admin() -> AdminFile {
    AdminFile {
        listen: Listen((Ipv4Addr::LOCALHOST, 7115).into()),
        tls: None,
        operators: BTreeMap::new(),
    }
}
