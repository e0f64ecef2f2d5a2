//! Rows of a CSV (RFC 4180) or NDJSON file as keys and values.
//!
//! The value of a CSV row is a JSON object of its columns in the header's order, each a string; the value of an NDJSON row is
//! its line as it stands. Keys are unique: the last row of a key wins.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use isthmus_replication::names::{InvalidKey, Key};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// How a file is written.
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
}

/// A file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// One row a key, in the order in which keys appear first.
    pub rows: Vec<Row>,
    /// How many rows were replaced by a later one of the same key.
    pub repeated: usize,
}

/// Why a file was not taken. Nothing of it is used then.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// It can't be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
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
    /// The key column does not exist.
    #[error("there is no column {wanted:?}; the columns are: {columns}")]
    NoColumn {
        /// The column asked for.
        wanted: String,
        /// The columns there are.
        columns: String,
    },
    /// Two columns have one name.
    #[error("column {0:?} is named twice in the header")]
    ColumnTwice(String),
    /// There is no header.
    #[error("the file has no header")]
    NoHeader,
    /// The row has too many or too few fields.
    #[error("the row has {fields} fields and the header {columns}")]
    Fields {
        /// Fields of the row.
        fields: u64,
        /// Columns of the header.
        columns: u64,
    },
    /// Not UTF-8.
    #[error("the row is not UTF-8")]
    NotUtf8,
    /// A quote is not closed.
    #[error("a quoted field is not closed")]
    OpenQuote,
    /// Another fault of the CSV reader.
    #[error(transparent)]
    Csv(csv::Error),
    /// Not a JSON object.
    #[error("the line is not a JSON object: {0}")]
    Json(#[source] serde_json::Error),
    /// An NDJSON row lacks the key field.
    #[error("the row has no field {0:?} to be its key")]
    NoField(String),
    /// An NDJSON row is empty.
    #[error("the row has no field")]
    Empty,
    /// An NDJSON key is an object, a list or null.
    #[error("field {0:?} can't be a key: it is neither a string, a number nor true or false")]
    NotAKey(String),
    /// The key is empty or too long.
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

impl Rows {
    /// Reads a whole file. `key` names the key's column or field; by default it is the first. `format` is told by the file's
    /// extension by default: `.ndjson` and `.jsonl` are NDJSON, everything else is CSV.
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
            Format::Csv => read_csv(&bytes, key),
            Format::Ndjson => read_ndjson(&bytes, key),
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
    fn add(&mut self, key: &str, value: String) -> Result<(), Fault> {
        let key = Key::parse(key)?;
        match self.places.entry(key.clone()) {
            Entry::Occupied(place) => {
                self.rows.rows[*place.get()].value = value;
                self.rows.repeated += 1;
            }
            Entry::Vacant(place) => {
                place.insert(self.rows.rows.len());
                self.rows.rows.push(Row { key, value });
            }
        }
        Ok(())
    }
}

fn read_csv(bytes: &[u8], key: Option<&str>) -> At<Rows> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(true)
        .flexible(false)
        .from_reader(bytes);
    let header = reader.headers().map_err(csv_fault)?.clone();
    let key_column = check_header(&header, key).map_err(|fault| (1, fault))?;
    let mut collected = Collected::default();
    let mut last_line = 1;
    for record in reader.records() {
        let record = record.map_err(csv_fault)?;
        last_line = record.position().map_or(last_line, csv::Position::line);
        let columns = header
            .iter()
            .zip(&record)
            .map(|(name, field)| (name.to_owned(), field));
        let value = ordered_object(columns);
        collected
            .add(&record[key_column], value)
            .map_err(|fault| (last_line, fault))?;
    }
    let quotes = bytes.iter().filter(|byte| **byte == b'"').count();
    if quotes % 2 == 1 {
        return Err((last_line, Fault::OpenQuote));
    }
    Ok(collected.rows)
}

fn check_header(header: &csv::StringRecord, key: Option<&str>) -> Result<usize, Fault> {
    if header.is_empty() {
        return Err(Fault::NoHeader);
    }
    for (index, name) in header.iter().enumerate() {
        if header.iter().take(index).any(|earlier| earlier == name) {
            return Err(Fault::ColumnTwice(name.to_owned()));
        }
    }
    let Some(wanted) = key else { return Ok(0) };
    header
        .iter()
        .position(|name| name == wanted)
        .ok_or_else(|| Fault::NoColumn {
            wanted: wanted.to_owned(),
            columns: header.iter().collect::<Vec<_>>().join(", "),
        })
}

fn csv_fault(error: csv::Error) -> (u64, Fault) {
    let line = error.position().map_or(1, csv::Position::line);
    let fault = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => Fault::Fields {
            fields: *len,
            columns: *expected_len,
        },
        csv::ErrorKind::Utf8 { .. } => Fault::NotUtf8,
        _ => Fault::Csv(error),
    };
    (line, fault)
}

fn ordered_object<'a>(columns: impl Iterator<Item = (String, &'a str)>) -> String {
    let members: Vec<String> = columns
        .map(|(name, field)| format!("{}:{}", Value::from(name), Value::from(field)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn read_ndjson(bytes: &[u8], key: Option<&str>) -> At<Rows> {
    let mut collected = Collected::default();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index as u64 + 1;
        let at = |fault| (number, fault);
        let text = std::str::from_utf8(line).map_err(|_| at(Fault::NotUtf8))?.trim();
        if !text.is_empty() {
            let key = ndjson_key(text, key).map_err(at)?;
            collected.add(&key, text.to_owned()).map_err(at)?;
        }
    }
    Ok(collected.rows)
}

fn ndjson_key(text: &str, key: Option<&str>) -> Result<String, Fault> {
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(Fault::Json)?;
    let name = match key {
        Some(name) => name.to_owned(),
        None => first_field(text).map_err(Fault::Json)?.ok_or(Fault::Empty)?,
    };
    match fields.get(&name) {
        Some(Value::String(key)) => Ok(key.clone()),
        Some(key @ (Value::Number(_) | Value::Bool(_))) => Ok(key.to_string()),
        Some(_) => Err(Fault::NotAKey(name)),
        None => Err(Fault::NoField(name)),
    }
}

/// The name that stands first in a JSON object.
fn first_field(text: &str) -> Result<Option<String>, serde_json::Error> {
    struct First;

    impl<'de> Visitor<'de> for First {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
            let first = map.next_entry::<String, IgnoredAny>()?.map(|(name, _)| name);
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }

    serde_json::Deserializer::from_str(text).deserialize_map(First)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pairs(rows: &Rows) -> Vec<(&str, &str)> {
        rows.rows
            .iter()
            .map(|row| (row.key.as_str(), row.value.as_str()))
            .collect()
    }

    #[test]
    fn csv_takes_quoted_newlines_utf8_and_repeated_keys() {
        let text = "id,name,note\r\n1,Ömer,\"two\nlines, \"\"quoted\"\"\"\r\n2,b,\r\n1,Zoë,again\r\n";
        let rows = read_csv(text.as_bytes(), None).unwrap();
        assert_eq!(rows.repeated, 1);
        let expected = [
            ("1", r#"{"id":"1","name":"Zoë","note":"again"}"#),
            ("2", r#"{"id":"2","name":"b","note":""}"#),
        ];
        assert_eq!(pairs(&rows), expected);
        let first = read_csv(&text.as_bytes()[..text.find("2,b").unwrap()], None).unwrap();
        assert_eq!(
            first.rows[0].value,
            r#"{"id":"1","name":"Ömer","note":"two\nlines, \"quoted\""}"#
        );
    }

    #[test]
    fn another_column_can_be_the_key_and_a_mark_at_the_start_is_no_part_of_it() {
        let rows = read_csv("\u{feff}id,name\n1,a\n".as_bytes(), Some("name")).unwrap();
        assert_eq!(pairs(&rows), [("a", r#"{"id":"1","name":"a"}"#)]);
    }

    #[test]
    fn a_bad_csv_row_is_named_by_its_line() {
        let line = |text: &[u8], key| read_csv(text, key).unwrap_err();
        assert!(matches!(
            line(b"a,b\n1,2\n\"x\ny\",2\n3\n", None),
            (
                5,
                Fault::Fields {
                    fields: 1,
                    columns: 2
                }
            )
        ));
        assert!(matches!(line(b"a,b\n1,2\n,2\n", None), (3, Fault::Key(_))));
        assert!(matches!(line(b"a,b\n1,\xff\n", None), (2, Fault::NotUtf8)));
        assert!(matches!(
            line(b"a,b\n1,2\n3,\"open\n", None),
            (3, Fault::OpenQuote)
        ));
        assert!(matches!(line(b"a,a\n1,2\n", None), (1, Fault::ColumnTwice(_))));
        assert!(matches!(
            line(b"a,b\n1,2\n", Some("c")),
            (1, Fault::NoColumn { .. })
        ));
        assert!(matches!(line(b"", None), (1, Fault::NoHeader)));
        let long = format!("a\n{}\n", "k".repeat(1025));
        assert!(matches!(line(long.as_bytes(), None), (2, Fault::Key(_))));
    }

    #[test]
    fn ndjson_keeps_its_lines_and_takes_the_first_field_as_key() {
        let text = "{\"z\": 7, \"a\": \"x\"}\n\n{\"z\":\"k\",\"a\":1.50}\r\n{\"z\":7}\n";
        let rows = read_ndjson(text.as_bytes(), None).unwrap();
        assert_eq!(
            pairs(&rows),
            [("7", "{\"z\":7}"), ("k", "{\"z\":\"k\",\"a\":1.50}")]
        );
        assert_eq!(rows.repeated, 1);
        let by_name = read_ndjson(b"{\"z\":7,\"a\":\"x\"}", Some("a")).unwrap();
        assert_eq!(by_name.rows[0].key.as_str(), "x");
    }

    #[test]
    fn a_bad_ndjson_row_is_named_by_its_line() {
        let line = |text: &[u8], key| read_ndjson(text, key).unwrap_err();
        assert!(matches!(line(b"{\"a\":1}\n[1]\n", None), (2, Fault::Json(_))));
        assert!(matches!(
            line(b"{\"a\":1}\n{\"b\":1}\n", Some("a")),
            (2, Fault::NoField(_))
        ));
        assert!(matches!(line(b"{}\n", None), (1, Fault::Empty)));
        assert!(matches!(line(b"{\"a\":null}\n", None), (1, Fault::NotAKey(_))));
        assert!(matches!(line(b"{\"a\":\"\xff\"}\n", None), (1, Fault::NotUtf8)));
    }
}
