//! Checks quotes as RFC 4180 requires them. The CSV reader accepts any quotes, and guesses.

use super::Fault;

/// A row whose quotes are wrong.
pub(super) struct Flaw {
    /// Its first byte.
    pub(super) row_begins: usize,
    /// Its first line, from 1.
    pub(super) line: u64,
    pub(super) fault: Fault,
}

#[derive(Clone, Copy)]
enum Within {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote that ends the field, or is the first one of two.
    QuotedThenQuote,
}

/// The first row whose quotes are wrong.
pub(super) fn first_flaw(bytes: &[u8]) -> Option<Flaw> {
    let mut within = Within::FieldStart;
    let (mut line, mut row_begins, mut row_line) = (1, 0, 1);
    let flaw = |row_begins, line, fault| {
        Some(Flaw {
            row_begins,
            line,
            fault,
        })
    };
    for (index, byte) in bytes.iter().enumerate() {
        line += u64::from(*byte == b'\n');
        within = match (within, byte) {
            (Within::Quoted, b'"') => Within::QuotedThenQuote,
            (Within::Quoted, _) | (Within::FieldStart | Within::QuotedThenQuote, b'"') => Within::Quoted,
            (Within::Plain, b'"') => return flaw(row_begins, row_line, Fault::StrayQuote),
            (_, b',') => Within::FieldStart,
            (_, b'\r' | b'\n') => {
                (row_begins, row_line) = (index + 1, line);
                Within::FieldStart
            }
            (Within::QuotedThenQuote, _) => return flaw(row_begins, row_line, Fault::TextAfterQuote),
            (Within::FieldStart | Within::Plain, _) => Within::Plain,
        };
    }
    match within {
        Within::Quoted => flaw(row_begins, row_line, Fault::OpenQuote),
        _ => None,
    }
}
