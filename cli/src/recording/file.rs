//! The only writer of a history file.

use std::io::{BufWriter, Write as _};
use std::path::Path;

use tokio::sync::mpsc;

use super::RecordError;
use crate::history::HistoryEntry;

/// The number of writes by outcome.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
}

/// Writes entries until the last sender is gone.
pub(super) fn store(path: &Path, mut entries: mpsc::Receiver<HistoryEntry>) -> Result<Counts, RecordError> {
    let unwritable = |source| RecordError::Unwritable {
        path: path.to_owned(),
        source,
    };
    let mut file = BufWriter::new(std::fs::File::create(path).map_err(unwritable)?);
    let mut counts = Counts::default();
    while let Some(entry) = entries.blocking_recv() {
        match &entry {
            HistoryEntry::Ok { .. } => counts.acknowledged += 1,
            HistoryEntry::Fail { .. } => counts.failed += 1,
            HistoryEntry::Unknown { .. } => counts.unknown += 1,
            _ => {}
        }
        serde_json::to_writer(&mut file, &entry).map_err(|error| unwritable(error.into()))?;
        file.write_all(b"\n").map_err(unwritable)?;
    }
    file.flush().map_err(unwritable)?;
    Ok(counts)
}
