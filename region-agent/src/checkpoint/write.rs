//! One checkpoint transaction.

use isthmus_replication::coordinates::Anchor;
use isthmus_replication::fold::Fold;
use isthmus_replication::hlc::Hlc;
use isthmus_replication::store::{HeldCell, StoredCell};
use redb::WriteTransaction;

use super::error::at;
use super::{CELLS, CheckpointError, CheckpointFile, FORMAT, HEAD, HEAD_KEY, Head, Rows, log_text, seal};

/// A checkpoint that is being written. Dropped without [`Transaction::commit`], it leaves the
/// previous one.
pub struct Transaction<'a> {
    file: &'a mut CheckpointFile,
    transaction: WriteTransaction,
    rows: Rows,
    head: Head,
}

impl CheckpointFile {
    /// Begins the next checkpoint with the present fold and the known anchors of the log's history.
    /// After an error of this call or of the transaction, call [`CheckpointFile::let_go`] before
    /// the next one.
    ///
    /// # Errors
    /// [`CheckpointError`] if the file can't be opened or is lost.
    pub fn begin(&mut self, fold: &Fold, kept: &[Anchor]) -> Result<Transaction<'_>, CheckpointError> {
        let path = self.path.clone();
        let database = self.opened(fold.log())?;
        let transaction = database.begin_write().map_err(|error| at(&path, error))?;
        let head = Head {
            format: FORMAT,
            log: log_text(fold.log()),
            fold: fold.encode(),
            kept: kept
                .iter()
                .flat_map(|anchor| [anchor.sequence.0, anchor.message_id.0])
                .collect(),
            ..Head::default()
        };
        Ok(Transaction {
            rows: self.rows,
            file: self,
            transaction,
            head,
        })
    }
}

impl Transaction<'_> {
    /// Removes every cell of the earlier checkpoints.
    ///
    /// # Errors
    /// [`CheckpointError`] if the file can't be written.
    pub fn clear(&mut self) -> Result<(), CheckpointError> {
        let deleted = self.transaction.delete_table(CELLS);
        deleted.map_err(|error| at(&self.file.path, error))?;
        self.rows = Rows::default();
        Ok(())
    }

    /// Writes one part of the store's checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`] if the file can't be written.
    pub fn write(&mut self, part: &[StoredCell]) -> Result<(), CheckpointError> {
        let rows = &mut self.rows;
        let result: Result<(), redb::Error> = (|| {
            let mut table = self.transaction.open_table(CELLS)?;
            for (id, held) in part {
                let key = id.to_stored();
                let value = held.as_ref().map(HeldCell::to_stored);
                let before = match &value {
                    Some(value) => table.insert(key.as_slice(), value.as_ref())?,
                    None => table.remove(key.as_slice())?,
                };
                if let Some(before) = before {
                    rows.remove(&key, before.value());
                }
                if let Some(value) = &value {
                    rows.add(&key, value);
                }
            }
            Ok(())
        })();
        result.map_err(|error| at(&self.file.path, error))
    }

    /// Makes the checkpoint durable. Effects of positions up to `serve_from` may be included, and
    /// tombstones through `reclaimed` were removed.
    ///
    /// # Errors
    /// [`CheckpointError`] if it can't be committed. The previous checkpoint stays.
    pub fn commit(mut self, serve_from: Anchor, reclaimed: Hlc) -> Result<(), CheckpointError> {
        self.head.serve_from = serve_from.sequence.0;
        self.head.serve_from_id = serve_from.message_id.0;
        self.head.reclaimed = reclaimed.bits();
        self.head.rows_sum = self.rows.sum;
        self.head.rows_count = self.rows.count;
        let bytes = seal(&self.head);
        let transaction = self.transaction;
        let result: Result<(), redb::Error> = (|| {
            transaction.open_table(CELLS)?;
            transaction.open_table(HEAD)?.insert(HEAD_KEY, bytes.as_slice())?;
            transaction.commit()?;
            Ok(())
        })();
        result.map_err(|error| at(&self.file.path, error))?;
        self.file.rows = self.rows;
        Ok(())
    }
}
