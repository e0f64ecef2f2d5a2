//! The folder that `isthmus init` writes and `isthmus up` runs: the place of each file, and its
//! regions.

pub mod certificates;
pub mod control_secret;
pub mod init;
pub mod run_file;
mod templates;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use isthmus_replication::names::{InvalidName, RegionName, SetName};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// The number of ports that a region takes from its block, counted from the block's first.
pub const PORTS_PER_REGION: u16 = 20;
/// The first port of the fixed block.
pub const PORT_BASE: u16 = 7040;
/// The number of agents, and of gateways, that `up` runs in each region.
pub const PROCESSES_PER_ROLE: u16 = 2;

/// A set's folder on this machine.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder, absolute.
    pub root: PathBuf,
    /// The set's name.
    pub set: SetName,
    /// The regions in the order of set.yaml, in which they get ports.
    pub regions: Vec<RegionName>,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no set.yaml.
    #[error("{0} does not exist; write a folder with `isthmus init`")]
    Missing(PathBuf),
    /// A file of it cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// set.yaml is not YAML, or has no regions.
    #[error("{path}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// A name in set.yaml is invalid.
    #[error("{path}")]
    Name {
        /// The file.
        path: PathBuf,
        /// The invalid name.
        #[source]
        source: InvalidName,
    },
}

#[derive(Deserialize)]
struct SetNames {
    set: String,
    regions: Keys,
}

impl Folder {
    /// Reads the set and the regions of the folder. `isthmus config check` checks the settings as a
    /// whole.
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        let path = root.join("set.yaml");
        if !path.exists() {
            return Err(FolderError::Missing(path));
        }
        let unreadable = |source| FolderError::Unreadable {
            path: path.clone(),
            source,
        };
        let root = root.canonicalize().map_err(unreadable)?;
        let text = std::fs::read_to_string(&path).map_err(unreadable)?;
        let names: SetNames = serde_saphyr::from_str(&text).map_err(|error| FolderError::Malformed {
            path: path.clone(),
            message: error.to_string(),
        })?;
        let invalid = |source| FolderError::Name {
            path: path.clone(),
            source,
        };
        let set = SetName::parse(&names.set).map_err(invalid)?;
        let regions: Result<Vec<_>, _> = names
            .regions
            .0
            .iter()
            .map(|name| RegionName::parse(name))
            .collect();
        Ok(Self {
            root,
            set,
            regions: regions.map_err(invalid)?,
        })
    }

    /// The folder of one region.
    pub fn region(&self, region: &RegionName) -> PathBuf {
        self.root.join(region.as_str())
    }
}

/// The keys of a mapping in the order of the file.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of regions")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_keep_the_order_of_the_file() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let text =
            "set: shop\ngeneration: 1\nregions:\n  eu-west: {trust: a}\n  us-east: {}\n  ap-south: {}\n";
        std::fs::write(folder.path().join("set.yaml"), text)?;
        let opened = Folder::open(folder.path())?;
        let regions: Vec<_> = opened.regions.iter().map(RegionName::as_str).collect();
        assert_eq!(regions, ["eu-west", "us-east", "ap-south"]);
        Ok(())
    }

    #[test]
    fn a_folder_without_a_set_says_what_to_do() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let error = Folder::open(folder.path()).expect_err("an empty folder");
        assert!(error.to_string().contains("isthmus init"), "{error}");
        std::fs::write(folder.path().join("set.yaml"), "set: shop\nregions: 3\n")?;
        let error = Folder::open(folder.path()).expect_err("regions is a number");
        assert!(error.to_string().contains("line 2"), "{error}");
        Ok(())
    }
}
