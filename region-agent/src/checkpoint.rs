//! Checkpoints: what a restarted agent does not have to read from the log again (design.md section
//! 6).
//!
//! Problem: memory is the store, and a log may be long. Sketch: every few seconds one transaction
//! per shard writes the cells that changed since the last one. The fold state is taken FIRST, then
//! the changed cells in bounded chunks while applying continues, then `serve_from`: the position up
//! to which effects may be included. A restart loads the cells, resumes the log after the fold
//! state (what is included twice merges to the same) and serves nothing below `serve_from`, so that
//! no reader sees a mixture.
//!
//! Invariants: a checkpoint is either whole or absent (one transaction; a kill at any time leaves
//! the previous one). The sum over all rows is part of its head, and the head has its own sum, so
//! that anything changed or lost outside this program is detected. A checkpoint that is not whole
//! or is of another log is discarded whole, never merged. One that is behind the log's first
//! message is loaded, and its shard copies the store of another agent.
//!
//! After an error redb serves nothing more through the same handle. The file is closed then, and
//! opened again for the next checkpoint once its contents are found to be whole. It is the previous
//! checkpoint, or the one whose commit was not answered. Both can be continued from, since the
//! store counts what was in the latter as unwritten. A file that is not whole is deleted, and the
//! whole store counts as unwritten.
//!
//! A checkpoint contains values: its folder and its file are for the agent's user alone, and wider
//! permissions are narrowed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use isthmus_replication::cell::CellId;
use isthmus_replication::coordinates::{Anchor, MessageId, Sequence};
use isthmus_replication::fold::{Fold, LogName};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::store::HeldCell;
use isthmus_runtime::private;
use prost::Message;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

mod error;
#[cfg(test)]
mod tests;
mod write;

pub use error::{CheckpointError, Discarded};
pub use write::Transaction;

use error::at;

const CELLS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("cells");
const HEAD: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("head");
const HEAD_KEY: &str = "head";
/// The format of the file. Persisted: raised when older files can no longer be read.
const FORMAT: u32 = 2;
const EXTENSION: &str = "redb";
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// The checkpoint of one shard on disk.
#[derive(Debug)]
pub struct CheckpointFile {
    /// None after an error, until it is opened again.
    database: Option<Database>,
    path: PathBuf,
    rows: Rows,
}

/// The contents of a checkpoint.
#[derive(Debug)]
pub struct Loaded {
    /// The fold. The cells include at least the effects through its position.
    pub fold: Fold,
    /// Anchors of the log's history that were known when it was written, oldest first: where a lost
    /// tail may fork.
    pub kept: Vec<Anchor>,
    /// Effects of positions up to here may be included: nothing is served below it.
    pub serve_from: Anchor,
    /// Tombstones through here were removed.
    pub reclaimed: Hlc,
    /// Every cell.
    pub cells: Vec<(CellId, HeldCell)>,
}

/// The wrapping sum over all rows, and their number.
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
    /// Sequences and identifiers, alternating.
    #[prost(fixed64, repeated, tag = "7")]
    kept: Vec<u64>,
    #[prost(fixed64, tag = "9")]
    serve_from_id: u64,
    #[prost(fixed64, tag = "10")]
    reclaimed: u64,
}

impl CheckpointFile {
    /// Opens the checkpoint of `log` in `folder` and reads its contents, or creates an empty one if
    /// there is none. One that can't be used is deleted whole, and the reason is returned for an
    /// event.
    ///
    /// # Errors
    /// [`CheckpointError`] if the folder or the file can't be opened at all.
    pub fn open(
        folder: &Path,
        log: &LogName,
    ) -> Result<(Self, Option<Loaded>, Option<Discarded>), CheckpointError> {
        private::folder(folder, is_checkpoint).map_err(|source| CheckpointError::Folder {
            path: folder.to_owned(),
            source,
        })?;
        let path = folder.join(format!("{}-{}.{EXTENSION}", log.shard.group, log.shard.partition));
        let opened = unpanicked(&path, || {
            let mut database = database(&path)?;
            let intact = database.check_integrity().map_err(|error| at(&path, error))?;
            if !intact {
                let repaired = Discarded::Corrupted("its bookkeeping was changed".to_owned());
                return Ok((database, Read::Discard(repaired)));
            }
            let mut cells = Vec::new();
            let read = read(&database, log, |key, value| {
                let corrupted = |invalid: &dyn std::fmt::Display| Discarded::Corrupted(invalid.to_string());
                let id = CellId::from_stored(key).map_err(|invalid| corrupted(&invalid))?;
                let held = HeldCell::from_stored(value).map_err(|invalid| corrupted(&invalid))?;
                cells.push((id, held));
                Ok(())
            });
            let read = read.map_err(|error| at(&path, error))?;
            Ok((database, read.with(cells)))
        });
        let reason = match opened {
            Ok((database, Read::Empty)) => {
                return Ok((Self::of(database, path, Rows::default()), None, None));
            }
            Ok((database, Read::Whole(loaded, rows))) => {
                return Ok((Self::of(database, path, rows), Some(*loaded), None));
            }
            Ok((database, Read::Discard(reason))) => {
                drop(database);
                reason
            }
            Err(CheckpointError::Storage { source, .. }) if error::is_corrupted(&source) => {
                Discarded::Corrupted(source.to_string())
            }
            Err(error) => return Err(error),
        };
        Ok((Self::create(path)?, None, Some(reason)))
    }

    fn of(database: Database, path: PathBuf, rows: Rows) -> Self {
        Self {
            database: Some(database),
            path,
            rows,
        }
    }

    fn create(path: PathBuf) -> Result<Self, CheckpointError> {
        remove(&path)?;
        Ok(Self::of(database(&path)?, path, Rows::default()))
    }

    /// Runs `work` on the file. A panic of redb, on a page that changed on disk, becomes an error
    /// like any other.
    ///
    /// # Errors
    /// The errors of `work`, or a corrupted file if redb panics.
    pub fn unpanicked<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, CheckpointError>,
    ) -> Result<T, CheckpointError> {
        let path = self.path.clone();
        unpanicked(&path, || work(self))
    }

    /// Closes the file after an error; the next checkpoint opens it again.
    pub fn let_go(&mut self) {
        let database = self.database.take();
        // A file that is not whole may make redb panic. Closing it may fail.
        catch_unwind(AssertUnwindSafe(|| drop(database))).ok();
    }

    /// Deletes a file that was found lost or corrupted. The next checkpoint creates it again, and
    /// must contain every cell.
    ///
    /// # Errors
    /// When the file can't be deleted.
    pub fn start_anew(&mut self) -> Result<(), CheckpointError> {
        self.let_go();
        remove(&self.path)?;
        self.rows = Rows::default();
        Ok(())
    }

    /// The database, opened again if an error closed it.
    fn opened(&mut self, log: &LogName) -> Result<&Database, CheckpointError> {
        if self.database.is_none() {
            let (database, rows) = self.open_again(log)?;
            self.rows = rows;
            self.database = Some(database);
        }
        Ok(self.database.as_ref().expect("it was opened above"))
    }

    fn open_again(&self, log: &LogName) -> Result<(Database, Rows), CheckpointError> {
        let path = &self.path;
        let lost = |reason| CheckpointError::Lost {
            path: path.clone(),
            reason,
        };
        unpanicked(path, || {
            let database = database(path)?;
            match read(&database, log, |_, _| Ok(())).map_err(|error| at(path, error))? {
                Read::Whole(_, rows) => Ok((database, rows)),
                Read::Empty if self.rows == Rows::default() => Ok((database, Rows::default())),
                Read::Empty => Err(lost(Discarded::Empty)),
                Read::Discard(reason) => Err(lost(reason)),
            }
        })
    }

    /// The size of the file in bytes; zero if the file system does not report it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }
}

fn database(path: &Path) -> Result<Database, CheckpointError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let file = private::file(path).map_err(|error| at(path, redb::Error::Io(error)))?;
    let backend = FileBackend::new(file).map_err(|error| at(path, error))?;
    builder
        .create_with_backend(backend)
        .map_err(|error| at(path, error))
}

fn remove(path: &Path) -> Result<(), CheckpointError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(path, redb::Error::Io(error))),
        _ => Ok(()),
    }
}

fn is_checkpoint(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// The folder of checkpoints and the checkpoints in it, as far as it can be read.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let held = folder.read_dir().into_iter().flatten().flatten();
    let held = held.map(|entry| entry.path()).filter(|path| is_checkpoint(path));
    std::iter::once(folder.to_owned()).chain(held).collect()
}

/// Runs `work`. redb trusts the lengths within a page, and panics if one has changed on disk; the
/// panic becomes an error.
fn unpanicked<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    let corrupted = || at(path, redb::Error::Corrupted("a page".to_owned()));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(corrupted()))
}

enum Read {
    Empty,
    Whole(Box<Loaded>, Rows),
    Discard(Discarded),
}

impl Read {
    fn with(mut self, cells: Vec<(CellId, HeldCell)>) -> Self {
        if let Self::Whole(loaded, _) = &mut self {
            loaded.cells = cells;
        }
        self
    }
}

/// Reads the checkpoint and passes each row to `take`.
fn read(
    database: &Database,
    log: &LogName,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Discarded>,
) -> Result<Read, redb::Error> {
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
    for entry in transaction.open_table(CELLS)?.iter()? {
        let (key, value) = entry?;
        rows.add(key.value(), value.value());
        if let Err(reason) = take(key.value(), value.value()) {
            return Ok(Read::Discard(reason));
        }
    }
    let written = Rows {
        sum: head.rows_sum,
        count: head.rows_count,
    };
    if rows != written {
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
        reclaimed: Hlc::from_bits(head.reclaimed),
        cells: Vec::new(),
    };
    Ok(Read::Whole(Box::new(loaded), rows))
}

/// The head as it is stored: the xxh3 of its protobuf, eight bytes in little endian, then the
/// protobuf.
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
