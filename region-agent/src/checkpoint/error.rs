//! Errors of checkpoints.

use std::path::{Path, PathBuf};

use super::FORMAT;

/// Why a checkpoint can't be used or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The folder can't be created.
    #[error("the checkpoint folder {} cannot be created: {source}; correct `data` or its permissions", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Another process has the file open.
    #[error("the checkpoint {} is in use by another process; give each agent its own `data` folder", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be opened, read or written.
    #[error("the checkpoint {} cannot be used: {source}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<redb::Error>,
    },
    /// After a temporary error, the file is not what was written.
    #[error("the checkpoint {} was lost: {reason}; it is written again from what this agent holds", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Discarded,
    },
}

/// Why a checkpoint was discarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Discarded {
    /// The file is not a checkpoint, or the disk changed it.
    #[error("the file is corrupted: {0}")]
    Corrupted(String),
    /// Rows are missing or changed.
    #[error("its rows are not the ones that were written")]
    RowsDiffer,
    /// It has this format, of another version.
    #[error("it has format {0}, this version reads {FORMAT}")]
    Format(u32),
    /// It belongs to another set, region or shard.
    #[error("it is of another log")]
    AnotherLog,
    /// It is empty, although something was written.
    #[error("it is empty")]
    Empty,
}

impl CheckpointError {
    /// Whether the contents of the file are lost.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Lost { .. } => true,
            Self::Storage { source, .. } => is_corrupted(source),
            Self::Folder { .. } | Self::InUse { .. } => false,
        }
    }
}

pub(super) fn at(path: &Path, source: impl Into<redb::Error>) -> CheckpointError {
    match source.into() {
        redb::Error::DatabaseAlreadyOpen => CheckpointError::InUse {
            path: path.to_owned(),
        },
        source => CheckpointError::Storage {
            path: path.to_owned(),
            source: Box::new(source),
        },
    }
}

pub(super) fn is_corrupted(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted
        | redb::Error::TableTypeMismatch { .. } => true,
        redb::Error::Io(error) => matches!(
            error.kind(),
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}
