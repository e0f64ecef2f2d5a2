//! Rows of a CSV (RFC 4180) or NDJSON file as keys and values.
//!
//! The value of a CSV row is a JSON object of its columns in the header's order, each a string. The
//! value of an NDJSON row is its line, trimmed. The key is the first column, or the first field of
//! the first row, unless another one is named. Keys are unique: the last row of a key wins.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::{Path, PathBuf};

use isthmus_replication::limits::VALUE_BYTES;
use isthmus_replication::names::{InvalidKey, Key};

use crate::output::counted;

mod csv_file;
mod ndjson_file;
mod quotes;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Key,
    /// The row as JSON text.
    pub value: String,
    /// The line of the file on which the row begins, from 1.
    pub line: u64,
}

/// A file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// One row per key, in the order in which the keys first appear.
    pub rows: Vec<Row>,
    /// The number of rows that a later row with the same key replaced.
    pub repeated: usize,
}

/// Why a file was refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A row is bad.
    #[error("{path}, line {line}: {fault}")]
    Bad {
        /// The file.
        path: PathBuf,
        /// The line on which the row begins, from 1.
        line: u64,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with a row.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No row has the key column: the name is wrong, not a row.
    #[error("there is no column {wanted:?}; the columns are: {columns}")]
    NoColumn {
        /// The column asked for.
        wanted: String,
        /// The columns of the file.
        columns: String,
    },
    /// Two columns have one name.
    #[error("column {0:?} is named twice in the header")]
    ColumnTwice(String),
    /// There is no header.
    #[error("the file has no header")]
    NoHeader,
    /// The row has too many or too few fields.
    #[error("the row has {} and the header {columns}", counted(*fields, "field", "fields"))]
    Fields {
        /// The number of fields in the row.
        fields: u64,
        /// The number of columns in the header.
        columns: u64,
    },
    /// The row is not UTF-8.
    #[error("the row is not UTF-8")]
    NotUtf8,
    /// A quote is not closed.
    #[error("a quoted field is not closed; end it with a quote")]
    OpenQuote,
    /// There is a quote in a field without quotes.
    #[error(
        "a quote is inside a field that does not begin with one; put the field in quotes and write \"\" for the quote"
    )]
    StrayQuote,
    /// Text follows a quoted field.
    #[error("text follows the closing quote of a field; write \"\" for a quote within quotes")]
    TextAfterQuote,
    /// The CSV reader found another fault.
    #[error(transparent)]
    Csv(csv::Error),
    /// The line is not a JSON object.
    #[error("the line is not a JSON object: {0}")]
    Json(#[source] serde_json::Error),
    /// An NDJSON row lacks the key field.
    #[error("the row has no field {0:?} for its key")]
    NoField(String),
    /// An NDJSON row is empty.
    #[error("the row has no fields")]
    Empty,
    /// An NDJSON key is an object, a list or null.
    #[error("field {0:?} can't be a key: it is neither a string, a number nor true or false")]
    NotAKey(String),
    /// The key is empty or too long.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The value has this many bytes, more than any bucket takes.
    #[error(
        "the row has {0} bytes as JSON, and no bucket takes a value of more than {VALUE_BYTES}; make it smaller"
    )]
    ValueTooLarge(usize),
}

impl RowsError {
    /// Whether the named key column does not exist.
    pub fn is_wrong_column(&self) -> bool {
        let fault = match self {
            Self::Bad { fault, .. } => Some(fault),
            Self::Unreadable { .. } => None,
        };
        matches!(fault, Some(Fault::NoColumn { .. }))
    }
}

impl Rows {
    /// Reads a whole file. `key` names the key's column or field; by default it is the first one of
    /// the first row. `format` follows from the extension by default: `.ndjson` and `.jsonl` are
    /// NDJSON, everything else is CSV.
    pub fn read(path: &Path, format: Option<Format>, key: Option<&str>) -> Result<Self, RowsError> {
        let bytes = std::fs::read(path);
        let bytes = bytes.map_err(|source| RowsError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let format = format.unwrap_or(match extension {
            Some("ndjson" | "jsonl") => Format::Ndjson,
            _ => Format::Csv,
        });
        let read = match format {
            Format::Csv => csv_file::read(&bytes, key),
            Format::Ndjson => ndjson_file::read(&bytes, key),
        };
        read.map_err(|(line, fault)| RowsError::Bad {
            path: path.to_owned(),
            line,
            fault,
        })
    }
}

type At<T> = Result<T, (u64, Fault)>;

#[derive(Default)]
struct Collected {
    rows: Rows,
    places: HashMap<Key, usize>,
}

impl Collected {
    fn add(&mut self, line: u64, key: &str, value: String) -> Result<(), Fault> {
        let key = Key::parse(key)?;
        if value.len() > VALUE_BYTES {
            return Err(Fault::ValueTooLarge(value.len()));
        }
        let row = Row { key, value, line };
        match self.places.entry(row.key.clone()) {
            Entry::Occupied(place) => {
                self.rows.rows[*place.get()] = row;
                self.rows.repeated += 1;
            }
            Entry::Vacant(place) => {
                place.insert(self.rows.rows.len());
                self.rows.rows.push(row);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
fn pairs(rows: &Rows) -> Vec<(&str, &str)> {
    rows.rows
        .iter()
        .map(|row| (row.key.as_str(), row.value.as_str()))
        .collect()
}
