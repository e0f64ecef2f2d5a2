//! Rows of a CSV file.

use serde_json::Value;

use super::{At, Collected, Fault, Rows, quotes};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a whole file, up to its first bad row.
pub(super) fn read(bytes: &[u8], key: Option<&str>) -> At<Rows> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let Some(flaw) = quotes::first_flaw(bytes) else {
        return read_quoted_well(bytes, key);
    };
    match read_quoted_well(&bytes[..flaw.row_begins], key) {
        Err((line, fault)) if !matches!(fault, Fault::NoHeader) => Err((line, fault)),
        _ => Err((flaw.line, flaw.fault)),
    }
}

fn read_quoted_well(bytes: &[u8], key: Option<&str>) -> At<Rows> {
    let mut lines = Lines::new(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(true)
        .flexible(false)
        .from_reader(bytes);
    let header = reader.headers().map_err(|error| lines.place(error))?.clone();
    let key_column = check_header(&header, key).map_err(|fault| (lines.of_row(0), fault))?;
    let mut collected = Collected::default();
    for record in reader.records() {
        let record = record.map_err(|error| lines.place(error))?;
        let line = lines.of_row(record.position().map_or(0, csv::Position::byte));
        let value = ordered_object(header.iter().zip(&record));
        collected
            .add(line, &record[key_column], value)
            .map_err(|fault| (line, fault))?;
    }
    Ok(collected.rows)
}

/// Counts lines up to rows that are passed in order. The reader's own position is where it started
/// to look for a row, which is before empty lines and before the second half of a CR LF.
struct Lines<'a> {
    bytes: &'a [u8],
    passed: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            passed: 0,
            line: 1,
        }
    }

    /// The line of the row that the reader started to look for at this byte.
    fn of_row(&mut self, looked_at: u64) -> u64 {
        let looked_at = usize::try_from(looked_at).unwrap_or(usize::MAX);
        let ahead = self.bytes.get(looked_at..).unwrap_or_default();
        let empty = ahead.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
        let begins = looked_at + empty.count();
        let passed = self.bytes.get(self.passed..begins).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.passed = self.passed.max(begins);
        self.line
    }

    fn place(&mut self, error: csv::Error) -> (u64, Fault) {
        let line = self.of_row(error.position().map_or(0, csv::Position::byte));
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

fn ordered_object<'a>(columns: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let members: Vec<String> = columns
        .map(|(name, field)| format!("{}:{}", Value::from(name), Value::from(field)))
        .collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rows::pairs;

    #[test]
    fn csv_takes_quoted_newlines_utf8_and_repeated_keys() {
        let text = "id,name,note\r\n1,Ömer,\"two\nlines, \"\"quoted\"\"\"\r\n2,b,\r\n1,Zoë,again\r\n";
        let rows = read(text.as_bytes(), None).unwrap();
        assert_eq!(rows.repeated, 1);
        let expected = [
            ("1", r#"{"id":"1","name":"Zoë","note":"again"}"#),
            ("2", r#"{"id":"2","name":"b","note":""}"#),
        ];
        assert_eq!(pairs(&rows), expected);
        let first = read(&text.as_bytes()[..text.find("2,b").unwrap()], None).unwrap();
        assert_eq!(
            first.rows[0].value,
            r#"{"id":"1","name":"Ömer","note":"two\nlines, \"quoted\""}"#
        );
    }

    #[test]
    fn any_column_can_be_the_key_and_a_byte_order_mark_is_ignored() {
        let rows = read("\u{feff}id,name\n1,a\n".as_bytes(), Some("name")).unwrap();
        assert_eq!(pairs(&rows), [("a", r#"{"id":"1","name":"a"}"#)]);
    }

    #[test]
    fn a_bad_csv_row_is_named_by_its_line() {
        let line = |text: &[u8], key| read(text, key).unwrap_err();
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
    fn the_line_of_a_row_counts_empty_lines_and_lines_within_quotes() {
        for end in ["\n", "\r\n"] {
            let text = ["", "a,b", "1,\"x", "y\"", "", "", "2,z", "1,w", ""].join(end);
            let rows = read(text.as_bytes(), None).unwrap().rows;
            let lines: Vec<_> = rows.iter().map(|row| (row.key.as_str(), row.line)).collect();
            assert_eq!(lines, [("1", 8), ("2", 7)], "{end:?}");
            let bad = format!("{text}{end}3{end}");
            assert!(
                matches!(read(bad.as_bytes(), None), Err((10, Fault::Fields { .. }))),
                "{end:?}"
            );
        }
    }

    #[test]
    fn a_misplaced_quote_is_not_called_an_open_one() {
        let fault = |text: &str| read(text.as_bytes(), None).unwrap_err();
        for text in ["a,b\n1,a\"b\n2,c\n", "a,b\n1,a\"b\"\n2,c\n"] {
            assert!(matches!(fault(text), (2, Fault::StrayQuote)), "{text}");
        }
        let text = "a,b\r\n1,\"a\"b\r\n2,c\r\n";
        assert!(matches!(fault(text), (2, Fault::TextAfterQuote)));
        let earlier = "a,b\n1\n2,a\"b\n";
        assert!(matches!(fault(earlier), (2, Fault::Fields { .. })));
        assert!(matches!(fault("a\",b\n1,2\n"), (1, Fault::StrayQuote)));
        assert_eq!(
            pairs(&read("\u{feff}\"a\",b\n1,\"\"\"\"\n".as_bytes(), None).unwrap()),
            [("1", r#"{"a":"1","b":"\""}"#)]
        );
    }

    #[test]
    fn a_value_that_no_bucket_takes_is_a_bad_row() {
        let text = format!("a,b\n1,2\n2,{}\n", "x".repeat(8 << 20));
        assert!(matches!(
            read(text.as_bytes(), None),
            Err((3, Fault::ValueTooLarge(_)))
        ));
    }
}
