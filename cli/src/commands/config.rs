//! `isthmus config`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use isthmus_replication::names::RegionName;
use isthmus_runtime::settings::{
    AgentSettings, Environment, GatewaySettings, SetSettings, Settings, SettingsError, SettingsFile, schema,
};

use crate::failure::Failure;
use crate::folder::{Folder, FolderError};
use crate::output::{json_line, line, pretty_json};

mod finding;

use finding::Finding;

/// Check settings files, or print their JSON schema
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  isthmus config check shop\n  isthmus config check /etc/isthmus/gateway.yaml\n  \
    isthmus config schema gateway > gateway.schema.json"
)]
pub(super) struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a folder of `isthmus init`, or one file; exit 64 with file, line and fix if something
    /// is wrong
    #[command(
        after_help = "Examples:\n  isthmus config check shop --json\n  isthmus config check /etc/isthmus/gateway.yaml"
    )]
    Check {
        /// The folder or file
        path: PathBuf,
        /// The kind of the file; by default taken from its name: set.yaml, region-agent.yaml,
        /// gateway.yaml
        #[arg(long)]
        kind: Option<FileKind>,
        /// Print the findings as a JSON list of file, line, message and mend (the fix); an empty
        /// list if all is well
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON schema of a settings file
    #[command(after_help = "Example:\n  isthmus config schema gateway > gateway.schema.json")]
    Schema {
        /// Which file
        kind: FileKind,
    },
}

/// The kind of a settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FileKind {
    Set,
    #[value(alias = "region-agent")]
    Agent,
    Gateway,
}

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(
        "{0}: its name does not show what kind of file it is; specify it with --kind set, agent or gateway"
    )]
    UnknownKind(PathBuf),
    #[error("{file}: names {path}, which does not exist\n  fix: put the file there, or name another one")]
    Missing { file: PathBuf, path: PathBuf },
}

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Check { path, kind, json } => {
                let checked = check(&path, kind);
                if json {
                    let findings: Vec<Finding> = checked.iter().filter_map(Finding::of).collect();
                    json_line(&findings)?;
                }
                for file in first_fault(checked)? {
                    if !json {
                        line(format_args!("{} is valid", file.display()))?;
                    }
                }
            }
            Verb::Schema { kind } => {
                pretty_json(&schema(kind.into()))?;
            }
        }
        Ok(())
    }
}

/// A file and its result.
type Checked = (PathBuf, Result<(), ConfigError>);

/// Checks the file, or every file of the folder.
fn check(path: &Path, kind: Option<FileKind>) -> Vec<Checked> {
    if path.is_dir() {
        return check_every_file(path);
    }
    let good = match kind.or_else(|| FileKind::of(path)) {
        Some(kind) => check_file(path, kind),
        None => Err(ConfigError::UnknownKind(path.to_owned())),
    };
    vec![(path.to_owned(), good)]
}

/// Checks every file of a folder of `isthmus init`.
pub(super) fn check_folder(path: &Path) -> Result<(), ConfigError> {
    first_fault(check_every_file(path)).map(drop)
}

/// Checks set.yaml, then the files of each region. They are checked against set.yaml, so not
/// without a valid one.
fn check_every_file(path: &Path) -> Vec<Checked> {
    let set = path.join("set.yaml");
    let folder = match check_set(path, &set) {
        Ok(folder) => folder,
        Err(error) => return vec![(set, Err(error))],
    };
    let of_region = |region: &RegionName| {
        let region = path.join(region.as_str());
        [
            (region.join("region-agent.yaml"), FileKind::Agent),
            (region.join("gateway.yaml"), FileKind::Gateway),
        ]
    };
    let files = folder.regions.iter().flat_map(of_region).map(|(file, kind)| {
        let good = check_file(&file, kind);
        (file, good)
    });
    std::iter::once((set, Ok(()))).chain(files).collect()
}

fn check_set(path: &Path, set: &Path) -> Result<Folder, ConfigError> {
    if set.exists() {
        check_file(set, FileKind::Set)?;
    }
    Ok(Folder::open(path)?)
}

fn first_fault(checked: Vec<Checked>) -> Result<Vec<PathBuf>, ConfigError> {
    checked
        .into_iter()
        .map(|(file, good)| good.map(|()| file))
        .collect()
}

fn check_file(path: &Path, kind: FileKind) -> Result<(), ConfigError> {
    let environment = Environment::empty();
    let named = match kind {
        FileKind::Set => {
            let set = SetSettings::load(path)?;
            set.regions.values().map(|region| region.trust.clone()).collect()
        }
        FileKind::Agent => {
            AgentSettings::load(path, &environment)?;
            Vec::new()
        }
        FileKind::Gateway => {
            let gateway = GatewaySettings::load(path, &environment)?;
            vec![gateway.link.certificate, gateway.link.key]
        }
    };
    match named.into_iter().find(|named| !named.exists()) {
        Some(missing) => Err(ConfigError::Missing {
            file: path.to_owned(),
            path: missing,
        }),
        None => Ok(()),
    }
}

impl FileKind {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        [
            ("set", Self::Set),
            ("region-agent", Self::Agent),
            ("gateway", Self::Gateway),
        ]
        .into_iter()
        .find_map(|(start, kind)| name.starts_with(start).then_some(kind))
    }
}

impl From<FileKind> for SettingsFile {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::Set => Self::Set,
            FileKind::Agent => Self::Agent,
            FileKind::Gateway => Self::Gateway,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::settings(error).with_lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::init::{Plan, write};

    type Tested = Result<(), Box<dyn std::error::Error>>;

    fn folder(regions: &[&str]) -> Result<tempfile::TempDir, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let regions: Result<Vec<_>, _> = regions.iter().map(|name| name.parse()).collect();
        let plan = Plan {
            set: "shop".parse()?,
            trust_domain: "isthmus.local".into(),
            regions: regions?,
            port_base: 7040,
        };
        write(folder.path(), &plan)?;
        Ok(folder)
    }

    #[test]
    fn what_init_writes_is_good() -> Tested {
        for regions in [&["eu-west"][..], &["eu-west", "us-east", "ap-south"]] {
            let folder = folder(regions)?;
            assert_eq!(
                first_fault(check(folder.path(), None))?.len(),
                1 + 2 * regions.len()
            );
        }
        Ok(())
    }

    #[test]
    fn a_fault_is_reported_with_file_and_line() -> Tested {
        let folder = folder(&["eu-west"])?;
        let file = folder.path().join("eu-west/gateway.yaml");
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, format!("{text}drian: 10s\n"))?;
        let error = check_folder(folder.path())
            .expect_err("an unknown key")
            .to_string();
        assert!(
            error.contains("gateway.yaml:8") && error.contains("drian"),
            "{error}"
        );
        std::fs::write(&file, text.replace("gateway.key", "other.key"))?;
        let error = first_fault(check(&file, None))
            .expect_err("a missing key")
            .to_string();
        assert!(error.contains("other.key"), "{error}");
        Ok(())
    }

    #[test]
    fn every_file_with_a_fault_is_a_finding() -> Tested {
        let folder = folder(&["eu-west", "us-east"])?;
        for region in ["eu-west", "us-east"] {
            let file = folder.path().join(region).join("gateway.yaml");
            let text = std::fs::read_to_string(&file)?;
            std::fs::write(&file, format!("{text}drian: 10s\n"))?;
        }
        let findings =
            |checked: Vec<Checked>| -> Vec<Finding> { checked.iter().filter_map(Finding::of).collect() };
        let found = serde_json::to_value(findings(check(folder.path(), None)))?;
        for (index, region) in ["eu-west", "us-east"].into_iter().enumerate() {
            let file = folder.path().join(region).join("gateway.yaml");
            assert_eq!(found[index]["file"], file.display().to_string());
            assert_eq!(found[index]["line"], 8);
            for member in ["message", "mend"] {
                assert!(
                    found[index][member].as_str().is_some_and(|text| !text.is_empty()),
                    "{found}"
                );
            }
        }
        assert!(found[2].is_null(), "{found}");
        let absent = serde_json::to_value(findings(check(&folder.path().join("eu-west"), None)))?;
        assert!(absent[0]["line"].is_null() && absent[1].is_null(), "{absent}");
        Ok(())
    }

    #[test]
    fn a_broken_set_is_the_only_finding_and_has_its_line() -> Tested {
        let folder = folder(&["eu-west"])?;
        std::fs::write(folder.path().join("set.yaml"), "set: shop\nregions: 3\n")?;
        let checked = check(folder.path(), None);
        let findings: Vec<Finding> = checked.iter().filter_map(Finding::of).collect();
        let found = serde_json::to_value(findings)?;
        assert_eq!(
            (found[0]["line"].as_u64(), checked.len()),
            (Some(2), 1),
            "{found}"
        );
        Ok(())
    }

    #[test]
    fn a_files_name_shows_its_kind() {
        assert_eq!(
            FileKind::of(Path::new("a/gateway-2.yaml")),
            Some(FileKind::Gateway)
        );
        assert_eq!(FileKind::of(Path::new("x.yaml")), None);
        assert!(matches!(
            first_fault(check(Path::new("x.yaml"), None)),
            Err(ConfigError::UnknownKind(_))
        ));
    }
}
