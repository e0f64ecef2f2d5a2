//! `isthmus init`.

use std::path::PathBuf;

use clap::Args;
use isthmus_replication::names::{RegionName, SetName};

use crate::failure::Failure;
use crate::folder::PORT_BASE;
use crate::folder::init::{InitError, Plan, write};
use crate::output::line;

/// Write a folder for a set of regions: set.yaml, and per region its settings, a development CA and
/// certificates
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  isthmus init shop --regions eu-west,us-east,ap-south")]
pub(super) struct Init {
    /// The folder to write; it must be new or empty
    dir: PathBuf,
    /// The regions, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    regions: Vec<RegionName>,
    /// The set's name
    #[arg(long, default_value = "dev")]
    set: SetName,
    /// The trust domain in the certificates
    #[arg(long, default_value = "isthmus.local")]
    trust_domain: String,
    /// The first port of the block that the files name
    #[arg(long, default_value_t = PORT_BASE)]
    port_base: u16,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self {
            dir,
            regions,
            set,
            trust_domain,
            port_base,
        } = self;
        let written = write(
            &dir,
            &Plan {
                set,
                trust_domain,
                regions,
                port_base,
            },
        )?;
        for file in &written {
            line(dir.join(file).display())?;
        }
        line("")?;
        line(format_args!(
            "Start it on this machine with: isthmus up {}",
            dir.display()
        ))?;
        Ok(())
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        match error {
            InitError::Certificate { .. } | InitError::Unwritable { .. } => Self::environment(error),
            _ => Self::settings(error),
        }
    }
}
