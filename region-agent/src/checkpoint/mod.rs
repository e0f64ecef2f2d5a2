//! Checkpoints: what a restarted agent need not read from the log again (design.md section 6).
//!
//! Problem: memory is the store, and a log may be long. Sketch: every few seconds one transaction per shard writes the
//! cells that changed since the last one. The fold state is taken FIRST, then the changed cells in bounded chunks while
//! applying goes on, then `serve_from`: the position up to which effects may be inside. A restart loads the cells,
//! resumes the log after the fold state (what is inside twice merges to the same) and serves nothing below
//! `serve_from`, so that no reader sees a mixture.
//!
//! Invariants: a checkpoint is either whole or not there (one transaction; a kill at any time leaves the one before);
//! the sum over all rows is part of its head, and the head has a sum of its own, so that whatever was changed or lost behind
//! our back is noticed. One that is not whole, is of another log, or lies behind the log's first message is discarded whole, never merged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use isthmus_replication::cell::CellId;
use isthmus_replication::coordinates::{Anchor, MessageId, Sequence};
use isthmus_replication::fold::{Fold, LogName};
use isthmus_replication::store::HeldCell;
use prost::Message;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

#[cfg(test)]
mod tests;
mod write;

pub use write::Transaction;

const CELLS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("cells");
const HEAD: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("head");
const HEAD_KEY: &str = "head";
/// The layout of the file. Persisted: raised when a file of before can't be read.
const FORMAT: u32 = 2;
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// The checkpoint of one shard on disk.
#[derive(Debug)]
pub struct CheckpointFile {
    database: Database,
    path: PathBuf,
    rows: Rows,
}

/// What a checkpoint held.
#[derive(Debug)]
pub struct Loaded {
    /// The fold through the position that it stands for at least.
    pub fold: Fold,
    /// Anchors of the log's history that were known then, oldest first: where a lost tail may fork.
    pub kept: Vec<Anchor>,
    /// Effects of positions up to here may be inside: nothing is served below it.
    pub serve_from: Anchor,
    /// Every cell.
    pub cells: Vec<(CellId, HeldCell)>,
}

/// Why a checkpoint can't be used or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The folder can't be made.
    #[error("the checkpoint folder {} cannot be made: {source}; correct `data` or its permissions", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
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
        /// Why.
        source: Box<redb::Error>,
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
    /// It was written by another version.
    #[error("it has format {0}, this version reads {FORMAT}")]
    Format(u32),
    /// It is of another set, region or shard.
    #[error("it is of another log")]
    AnotherLog,
}

/// The wrapping sum over all rows, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Rows {
    sum: u64,
    count: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    log: String,
    #[prost(bytes = "bytes", tag = "3")]
    fold: Bytes,
    #[prost(uint64, tag = "4")]
    serve_from: u64,
    #[prost(fixed64, tag = "5")]
    rows_sum: u64,
    #[prost(uint64, tag = "6")]
    rows_count: u64,
    /// Sequences and identifiers, one after the other.
    #[prost(fixed64, repeated, tag = "7")]
    kept: Vec<u64>,
    #[prost(fixed64, tag = "9")]
    serve_from_id: u64,
}

impl CheckpointFile {
    /// Opens the checkpoint of `log` in `folder` and reads what it holds; makes an empty one when there is none. One
    /// that can't be used is deleted whole, and the reason returned for an event.
    ///
    /// # Errors
    /// [`CheckpointError`] when the folder or the file can't be opened at all.
    pub fn open(
        folder: &Path,
        log: &LogName,
    ) -> Result<(Self, Option<Loaded>, Option<Discarded>), CheckpointError> {
        std::fs::create_dir_all(folder).map_err(|source| CheckpointError::Folder {
            path: folder.to_owned(),
            source,
        })?;
        let path = folder.join(format!("{}-{}.redb", log.shard.group, log.shard.partition));
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let mut database = database(&path)?;
            let intact = database.check_integrity().map_err(|error| at(&path, error))?;
            if !intact {
                let repaired = Discarded::Corrupted("its bookkeeping was changed".to_owned());
                return Ok((database, Read::Discard(repaired)));
            }
            let read = load(&database, log).map_err(|error| at(&path, error))?;
            Ok((database, read))
        }));
        // redb trusts the lengths within a page: where one has changed on the disk it panics.
        let opened = opened.unwrap_or_else(|_| Err(at(&path, redb::Error::Corrupted("a page".to_owned()))));
        let reason = match opened {
            Ok((database, Read::Empty)) => {
                return Ok((
                    Self {
                        database,
                        path,
                        rows: Rows::default(),
                    },
                    None,
                    None,
                ));
            }
            Ok((database, Read::Whole(loaded, rows))) => {
                return Ok((Self { database, path, rows }, Some(*loaded), None));
            }
            Ok((database, Read::Discard(reason))) => {
                drop(database);
                reason
            }
            Err(CheckpointError::Storage { source, .. }) if is_corrupted(&source) => {
                Discarded::Corrupted(source.to_string())
            }
            Err(error) => return Err(error),
        };
        Ok((Self::create(path)?, None, Some(reason)))
    }

    fn create(path: PathBuf) -> Result<Self, CheckpointError> {
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(at(&path, redb::Error::Io(error)));
        }
        Ok(Self {
            database: database(&path)?,
            path,
            rows: Rows::default(),
        })
    }

    /// Deletes everything: the log has moved on without it.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn discard(self) -> Result<Self, CheckpointError> {
        let Self { database, path, .. } = self;
        drop(database);
        Self::create(path)
    }

    /// The size of the file in bytes; zero when the file system does not tell.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }
}

fn at(path: &Path, source: impl Into<redb::Error>) -> CheckpointError {
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

fn database(path: &Path) -> Result<Database, CheckpointError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.create(path).map_err(|error| at(path, error))
}

fn is_corrupted(error: &redb::Error) -> bool {
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

enum Read {
    Empty,
    Whole(Box<Loaded>, Rows),
    Discard(Discarded),
}

fn load(database: &Database, log: &LogName) -> Result<Read, redb::Error> {
    let transaction = database.begin_read()?;
    let head = match transaction.open_table(HEAD) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Read::Empty),
        opened => opened?,
    };
    let Some(head) = head.get(HEAD_KEY)? else {
        return Ok(Read::Empty);
    };
    let head = match check_head(head.value(), log) {
        Ok(head) => head,
        Err(reason) => return Ok(Read::Discard(reason)),
    };
    let Ok(fold) = Fold::decode(log.clone(), &head.fold) else {
        return Ok(Read::Discard(Discarded::Corrupted("the fold state".to_owned())));
    };
    let mut rows = Rows::default();
    let mut cells = Vec::new();
    for entry in transaction.open_table(CELLS)?.iter()? {
        let (key, value) = entry?;
        rows.add(key.value(), value.value());
        let id = CellId::from_stored(key.value());
        match id.and_then(|id| Ok((id, HeldCell::from_stored(value.value())?))) {
            Ok(cell) => cells.push(cell),
            Err(invalid) => return Ok(Read::Discard(Discarded::Corrupted(invalid.to_string()))),
        }
    }
    if rows
        != (Rows {
            sum: head.rows_sum,
            count: head.rows_count,
        })
    {
        return Ok(Read::Discard(Discarded::RowsDiffer));
    }
    let kept = head.kept.as_chunks::<2>().0.iter().map(|[sequence, id]| Anchor {
        sequence: Sequence(*sequence),
        message_id: MessageId(*id),
    });
    let loaded = Loaded {
        fold,
        kept: kept.collect(),
        serve_from: Anchor {
            sequence: Sequence(head.serve_from),
            message_id: MessageId(head.serve_from_id),
        },
        cells,
    };
    Ok(Read::Whole(Box::new(loaded), rows))
}

/// The head as it is stored: xxh3 of its protobuf, eight bytes with the lowest first, then that.
fn seal(head: &Head) -> Vec<u8> {
    let bytes = head.encode_to_vec();
    let sum = xxhash_rust::xxh3::xxh3_64(&bytes).to_le_bytes();
    [&sum, bytes.as_slice()].concat()
}

fn check_head(sealed: &[u8], log: &LogName) -> Result<Head, Discarded> {
    let (sum, bytes) = sealed.split_first_chunk().unwrap_or((&[0; 8], &[]));
    if *sum != xxhash_rust::xxh3::xxh3_64(bytes).to_le_bytes() {
        return Err(Discarded::Corrupted("the head".to_owned()));
    }
    let head =
        Head::decode(bytes).map_err(|_| Discarded::Corrupted("the head is not protobuf".to_owned()))?;
    if head.format != FORMAT {
        return Err(Discarded::Format(head.format));
    }
    if head.log != log_text(log) {
        return Err(Discarded::AnotherLog);
    }
    Ok(head)
}

fn log_text(log: &LogName) -> String {
    format!("{}/{}/{}", log.set, log.region, log.shard)
}

impl Rows {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.sum = self.sum.wrapping_add(sum(key, value));
        self.count += 1;
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.sum = self.sum.wrapping_sub(sum(key, value));
        self.count -= 1;
    }
}

fn sum(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(value);
    hash.digest()
}
