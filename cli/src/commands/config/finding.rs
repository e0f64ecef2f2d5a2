//! The output of `isthmus config check --json`.

use std::path::{Path, PathBuf};

use isthmus_runtime::settings::SettingsError;
use serde::Serialize;

use super::{Checked, ConfigError};
use crate::folder::FolderError;

/// One fault in a settings file.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    file: PathBuf,
    /// Counted from 1; `None` if it is not known.
    line: Option<u64>,
    message: String,
    /// How to fix it; empty if the message already includes that.
    mend: String,
}

impl Finding {
    /// The fault of a file that was checked, if it has one.
    pub(super) fn of((checked, good): &Checked) -> Option<Self> {
        let error = good.as_ref().err()?;
        Some(match error {
            ConfigError::Settings(error) => Self::of_settings(checked, error),
            ConfigError::Folder(FolderError::Missing(file)) => {
                Self::without_line(file, "it does not exist", "write a folder with `isthmus init`")
            }
            ConfigError::Folder(error) => Self::without_line(checked, error, "correct the file"),
            ConfigError::UnknownKind(file) => Self::without_line(
                file,
                "its name does not show what kind of file it is",
                "specify it with --kind set, agent or gateway",
            ),
            ConfigError::Missing { file, path } => Self::without_line(
                file,
                format_args!("names {}, which does not exist", path.display()),
                "put the file there, or name another one",
            ),
        })
    }

    fn of_settings(checked: &Path, error: &SettingsError) -> Self {
        match error {
            SettingsError::Invalid(fault) => Self {
                line: fault.place.map(|place| place.line),
                ..Self::without_line(&fault.file, &fault.message, &fault.mend)
            },
            SettingsError::Unreadable { file, source } => Self::without_line(
                file,
                format_args!("cannot be read: {source}"),
                "make the file readable, or name another one",
            ),
            SettingsError::Override {
                variable,
                message,
                mend,
            } => Self::without_line(
                checked,
                format_args!("environment variable {variable}: {message}"),
                mend,
            ),
        }
    }

    fn without_line(file: &Path, message: impl ToString, mend: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            message: message.to_string(),
            mend: mend.to_owned(),
        }
    }
}
