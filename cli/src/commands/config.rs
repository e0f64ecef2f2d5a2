//! `isthmus config`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use isthmus_runtime::settings::{
    AgentSettings, Environment, GatewaySettings, SetSettings, Settings, SettingsError, SettingsFile, schema,
};

use crate::failure::Failure;
use crate::folder::{Folder, FolderError};
use crate::output::line;

/// Check settings files, or print their JSON schema
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  isthmus config check shop\n  isthmus config check /etc/isthmus/gateway.yaml\n  \
    isthmus config schema gateway > gateway.schema.json"
)]
pub struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a folder of `isthmus init`, or one file; exit 64 with file, line and mend if something is wrong
    Check {
        /// The folder or file
        path: PathBuf,
        /// What the file is; by default its name tells: set.yaml, region-agent.yaml, gateway.yaml
        #[arg(long)]
        kind: Option<FileKind>,
    },
    /// Print the JSON schema of a settings file
    Schema {
        /// Which file
        kind: FileKind,
    },
}

/// What a settings file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FileKind {
    Set,
    #[value(alias = "region-agent")]
    Agent,
    Gateway,
}

/// Why settings are not good.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{0}: its name does not tell what it is; say it with --kind set, agent or gateway")]
    UnknownKind(PathBuf),
    #[error("{file}: names {path}, which does not exist\n  mend: put the file there, or name another one")]
    Missing { file: PathBuf, path: PathBuf },
}

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Check { path, kind } => {
                for checked in check(&path, kind)? {
                    line(format_args!("{} is good", checked.display()))?;
                }
            }
            Verb::Schema { kind } => {
                let schema =
                    serde_json::to_string_pretty(&schema(kind.into())).map_err(Failure::environment)?;
                line(schema)?;
            }
        }
        Ok(())
    }
}

/// Checks the file, or every file of the folder, and returns what was checked.
fn check(path: &Path, kind: Option<FileKind>) -> Result<Vec<PathBuf>, ConfigError> {
    if !path.is_dir() {
        let kind = kind
            .or_else(|| FileKind::of(path))
            .ok_or_else(|| ConfigError::UnknownKind(path.to_owned()))?;
        check_file(path, kind)?;
        return Ok(vec![path.to_owned()]);
    }
    check_folder(path)
}

/// Checks every file of a folder of `isthmus init` and returns them.
pub(super) fn check_folder(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let folder = Folder::open(path)?;
    let mut files = vec![(path.join("set.yaml"), FileKind::Set)];
    for region in &folder.regions {
        files.push((
            path.join(region.as_str()).join("region-agent.yaml"),
            FileKind::Agent,
        ));
        files.push((path.join(region.as_str()).join("gateway.yaml"), FileKind::Gateway));
    }
    for (file, kind) in &files {
        check_file(file, *kind)?;
    }
    Ok(files.into_iter().map(|(file, _)| file).collect())
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
    fn of(path: &Path) -> Option<Self> {
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
        Self::settings(error)
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
            assert_eq!(check(folder.path(), None)?.len(), 1 + 2 * regions.len());
        }
        Ok(())
    }

    #[test]
    fn a_fault_is_told_with_file_and_line() -> Tested {
        let folder = folder(&["eu-west"])?;
        let file = folder.path().join("eu-west/gateway.yaml");
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, format!("{text}drian: 10s\n"))?;
        let error = check(folder.path(), None)
            .expect_err("an unknown key")
            .to_string();
        assert!(
            error.contains("gateway.yaml:8") && error.contains("drian"),
            "{error}"
        );
        std::fs::write(&file, text.replace("gateway.key", "other.key"))?;
        let error = check(&file, None).expect_err("a missing key").to_string();
        assert!(error.contains("other.key"), "{error}");
        Ok(())
    }

    #[test]
    fn a_file_is_told_by_its_name() {
        assert_eq!(
            FileKind::of(Path::new("a/gateway-2.yaml")),
            Some(FileKind::Gateway)
        );
        assert_eq!(FileKind::of(Path::new("x.yaml")), None);
        assert!(matches!(
            check(Path::new("x.yaml"), None),
            Err(ConfigError::UnknownKind(_))
        ));
    }
}
