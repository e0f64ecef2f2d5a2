//! Writes a folder: set.yaml, the trust of each region, and each region's settings and
//! certificates.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use isthmus_replication::names::{RegionName, SetName};

use super::{PORTS_PER_REGION, certificates, templates};
use crate::output::counted;

/// Readable by everyone who may enter the folder.
const OPEN: u32 = 0o644;
/// Readable by the owner only.
const SECRET: u32 = 0o600;

/// What to write.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The set's name.
    pub set: SetName,
    /// The trust domain in certificates.
    pub trust_domain: String,
    /// The regions in the order in which they get ports: at least one, no name twice.
    pub regions: Vec<RegionName>,
    /// The first port of the block that the files name.
    pub port_base: u16,
}

/// Why a folder was not written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The folder is not empty.
    #[error("{0} is not empty; name a new folder, or remove what is in it")]
    NotEmpty(PathBuf),
    /// No region was named.
    #[error("no region was named; for example: --regions eu-west,us-east,ap-south")]
    NoRegion,
    /// A region was named twice.
    #[error("region {0} is named twice")]
    Twice(RegionName),
    /// The block of ports ends above 65535.
    #[error("there are too few ports from {base} up for {}; choose a lower --port-base", counted(*regions, "region", "regions"))]
    Ports {
        /// The first port asked for.
        base: u16,
        /// How many regions need ports.
        regions: usize,
    },
    /// The trust domain is not a host name.
    #[error("trust domain {0:?} is not valid: use letters, digits, '.' and '-'")]
    TrustDomain(String),
    /// A certificate could not be created.
    #[error("a certificate for {region} could not be created")]
    Certificate {
        /// The region of the certificate.
        region: RegionName,
        /// The cause.
        #[source]
        source: rcgen::Error,
    },
    /// A file could not be written.
    #[error("{path} cannot be written")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Writes the folder and returns the files written, relative to it.
pub fn write(root: &Path, plan: &Plan) -> Result<Vec<PathBuf>, InitError> {
    check(root, plan)?;
    let mut writer = Writer {
        root,
        written: Vec::new(),
    };
    let Plan {
        set,
        trust_domain,
        regions,
        port_base,
    } = plan;
    writer.file(
        "set.yaml",
        OPEN,
        &templates::set(set, trust_domain, regions, *port_base),
    )?;
    for (index, region) in regions.iter().enumerate() {
        let issued =
            certificates::issue(trust_domain, set, region).map_err(|source| InitError::Certificate {
                region: region.clone(),
                source,
            })?;
        writer.file(&format!("trust/{region}.pem"), OPEN, &issued.authority)?;
        let files = [
            (
                "gateway.yaml",
                OPEN,
                templates::gateway(region, *port_base, index),
            ),
            (
                "region-agent.yaml",
                OPEN,
                templates::agent(region, *port_base, index),
            ),
            ("nats.conf", OPEN, templates::nats(region, *port_base, index)),
            ("ca.crt", OPEN, issued.authority),
            ("ca.key", SECRET, issued.authority_key),
            ("gateway.crt", OPEN, issued.gateway),
            ("gateway.key", SECRET, issued.gateway_key),
        ];
        for (name, mode, text) in files {
            writer.file(&format!("{region}/{name}"), mode, &text)?;
        }
    }
    Ok(writer.written)
}

fn check(root: &Path, plan: &Plan) -> Result<(), InitError> {
    if plan.regions.is_empty() {
        return Err(InitError::NoRegion);
    }
    for (index, region) in plan.regions.iter().enumerate() {
        if plan.regions[..index].contains(region) {
            return Err(InitError::Twice(region.clone()));
        }
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    if plan.trust_domain.is_empty() || !plan.trust_domain.bytes().all(allowed) {
        return Err(InitError::TrustDomain(plan.trust_domain.clone()));
    }
    let last = usize::from(plan.port_base) + plan.regions.len() * usize::from(PORTS_PER_REGION);
    if last > usize::from(u16::MAX) {
        return Err(InitError::Ports {
            base: plan.port_base,
            regions: plan.regions.len(),
        });
    }
    match std::fs::read_dir(root) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(InitError::NotEmpty(root.to_owned())),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(InitError::Unwritable {
            path: root.to_owned(),
            source,
        }),
    }
}

struct Writer<'a> {
    root: &'a Path,
    written: Vec<PathBuf>,
}

impl Writer<'_> {
    fn file(&mut self, relative: &str, mode: u32, text: &str) -> Result<(), InitError> {
        let path = self.root.join(relative);
        let write = || {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&path)?;
            file.write_all(text.as_bytes())
        };
        write().map_err(|source| InitError::Unwritable {
            path: path.clone(),
            source,
        })?;
        self.written.push(PathBuf::from(relative));
        Ok(())
    }
}
