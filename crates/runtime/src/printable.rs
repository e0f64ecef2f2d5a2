//! Escapes text from elsewhere for terminals and logs.
//!
//! Keys, names, messages of peers and answers of servers may contain anything: escape sequences
//! that a terminal executes, line breaks that forge further lines, marks that change the direction
//! of the text after them, invisible characters. All of them are shown escaped: `\u{1b}`, `\n`,
//! `\u{202e}`. Letters, signs, quotes and backslashes stay as they are.

use std::fmt::Display;
use std::io::{self, Write};

/// `text` as one line: line breaks are escaped too.
#[must_use]
pub fn line(text: impl Display) -> String {
    let text = text.to_string();
    let mut shown = String::with_capacity(text.len());
    escape(&text, &mut shown);
    shown
}

/// `text` that has lines of its own: line breaks stay.
#[must_use]
pub fn lines(text: impl Display) -> String {
    let text = text.to_string();
    let mut shown = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            shown.push('\n');
        }
        escape(line, &mut shown);
    }
    shown
}

/// JSON text with the same value: characters that JSON leaves unescaped within strings are escaped
/// as `\u202e`.
#[must_use]
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // All other ASCII characters are either escaped within strings, or belong to the JSON
        // syntax outside them.
        let stays = c.is_ascii() && c != '\x7f' || is_seen(c);
        if stays {
            shown.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

fn escape(text: &str, shown: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(|c| is_kept(c) || is_ignorable(c)) {
        let (before, from) = rest.split_at(at);
        shown.extend(before.escape_debug());
        let mut chars = from.chars();
        match chars.next() {
            Some(c) if is_kept(c) => shown.push(c),
            Some(c) => shown.extend(c.escape_unicode()),
            None => {}
        }
        rest = chars.as_str();
    }
    shown.extend(rest.escape_debug());
}

/// Characters that `escape_debug` escapes although they are harmless.
fn is_kept(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\')
}

/// Whether a character is visible and harmless to a terminal.
fn is_seen(c: char) -> bool {
    is_kept(c) || (!is_ignorable(c) && (c.is_alphanumeric() || c.escape_debug().len() == 1))
}

/// Invisible characters that `escape_debug` treats as letters or marks: the rest of Unicode's
/// `Default_Ignorable_Code_Point`.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A writer of log lines. Each write must be one whole line with its newline; everything else is
/// escaped.
#[derive(Debug)]
pub(crate) struct LogLines<W> {
    to: W,
    form: Form,
}

/// The format of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl<W: Write> LogLines<W> {
    pub(crate) fn new(to: W, form: Form) -> Self {
        Self { to, form }
    }
}

impl<W: Write> Write for LogLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
        let shown = match self.form {
            Form::Text => line(text),
            Form::Json => json(text),
        };
        self.to.write_all((shown + end).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C0, DEL, C1, line breaks, direction marks, characters without width or shape.
    const BAD: &str = "\0\x07\x08\t\r\x0b\x0c\x1b\x7f\u{80}\u{85}\u{9b}\u{9f}\u{2028}\u{2029}\u{61c}\u{200b}\u{200d}\u{200e}\u{200f}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{206f}\u{feff}\u{ad}\u{34f}\u{3164}\u{fe0f}\u{e0041}\u{e0100}";

    #[test]
    fn nothing_is_left_that_a_terminal_acts_on_or_nobody_sees() {
        for bad in BAD.chars().chain(['\n']) {
            let shown = line(format_args!("a{bad}b"));
            assert!(
                shown.starts_with("a\\") && shown.ends_with('b') && !shown.contains(bad),
                "{:x}: {shown}",
                u32::from(bad)
            );
        }
        assert_eq!(
            line("a\x1b[2Jb\u{202e}c\nd\u{9b}e\0"),
            "a\\u{1b}[2Jb\\u{202e}c\\nd\\u{9b}e\\0"
        );
        assert_eq!(lines("a\n\r\x1bb\n"), "a\n\\r\\u{1b}b\n");
    }

    #[test]
    fn what_is_seen_stays() {
        for good in [
            "it's \"two\" \\ three",
            "Zürich, e\u{301}te\u{301}, नमस्ते, 東京, 😀",
            "",
            "'",
            "a\\",
        ] {
            assert_eq!(line(good), good);
            assert_eq!(lines(good), good);
        }
    }

    #[test]
    fn json_reads_as_the_same_value() {
        let value = serde_json::json!({ "key": format!("{BAD}\n'\"\\ ü 東京 😀"), "n": [1, 2.5, null] });
        for text in [value.to_string(), format!("{value:#}")] {
            let shown = json(&text);
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&shown).ok().as_ref(),
                Some(&value)
            );
            let seen = |c: char| c == '\n' || is_seen(c);
            assert!(shown.chars().all(seen) && shown.contains("ü 東京 😀"), "{shown}");
        }
    }

    #[test]
    fn a_line_of_a_log_is_one_line() {
        let mut lines = LogLines::new(Vec::new(), Form::Text);
        assert!(
            lines
                .write_all("INFO told\n2026 INFO forged\x1b[2J\n".as_bytes())
                .is_ok()
        );
        assert_eq!(
            String::from_utf8_lossy(&lines.to),
            "INFO told\\n2026 INFO forged\\u{1b}[2J\n"
        );
    }
}
