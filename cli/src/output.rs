//! All output of commands to a terminal or pipe: without a panic if the output is closed, and
//! without anything that a terminal would act on.
//!
//! The text that commands show comes from other sources: keys of applications, reports of regions,
//! answers of servers, logs, files. It passes [`isthmus_runtime::printable`] here, and no other
//! module of the command line writes to standard output or standard error. JSON parses to exactly
//! the same values. The value of `isthmus kv get` keeps its bytes unless it goes to a terminal.

mod table;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use isthmus_runtime::printable;
use serde::Serialize;

use crate::failure::Failure;
pub(crate) use table::Table;

/// Writes a result to standard output as one line, whatever text it is.
pub fn line(text: impl Display) -> Result<(), Failure> {
    write(&printable::line(text))
}

/// Writes several lines to standard output; `text` has its own line breaks.
pub(crate) fn lines(text: impl Display) -> Result<(), Failure> {
    write(&printable::lines(text))
}

/// Writes a JSON value to standard output as one line.
pub fn json_line(value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(Failure::environment)?;
    write(&printable::json(&text))
}

/// Writes a JSON value to standard output on several lines, readable for people.
pub(crate) fn pretty_json(value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::environment)?;
    write(&printable::json(&text))
}

/// Writes a stored value and a line break to standard output. The bytes are unchanged unless the
/// output is a terminal.
pub(crate) fn value(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        return write(&printable::lines(String::from_utf8_lossy(bytes)));
    }
    out.write_all(bytes)
        .and_then(|()| out.write_all(b"\n"))
        .map_err(Failure::environment)
}

/// Writes a shell script to standard output, unchanged.
pub(crate) fn script(text: &[u8]) -> Result<(), Failure> {
    io::stdout().lock().write_all(text).map_err(Failure::environment)
}

fn write(printable: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{printable}").map_err(Failure::environment)
}

/// Writes a note to standard error as one line; a closed output is ignored.
pub(crate) fn note(text: impl Display) {
    writeln!(io::stderr().lock(), "{}", printable::line(text)).ok();
}

/// Writes a note to standard error; `text` has its own line breaks, and a closed output is ignored.
pub(crate) fn note_lines(text: impl Display) {
    writeln!(io::stderr().lock(), "{}", printable::lines(text)).ok();
}

/// Writes the failure that ends a program to standard error.
pub fn failed(program: impl Display, failure: &Failure) {
    note_lines(format_args!("{}: {failure}", printable::line(program)));
}

/// Writes to standard error what is wrong with the arguments, or prints the help that was asked
/// for. Returns whether the arguments were valid.
pub fn usage(error: &clap::Error) -> bool {
    if error.use_stderr() {
        note_lines(error.render().to_string().trim_end());
        return false;
    }
    error.print().is_ok()
}

/// Lines that show progress; a closed output is ignored. On a terminal they replace the lines shown
/// before.
#[derive(Debug)]
pub(crate) struct Live {
    to_error: bool,
    drawn: usize,
}

impl Live {
    /// On standard error if `to_error`, else on standard output.
    pub(crate) fn new(to_error: bool) -> Self {
        Self { to_error, drawn: 0 }
    }

    /// Whether new lines replace the lines shown before.
    pub(crate) fn redraws(&self) -> bool {
        match self.to_error {
            true => io::stderr().is_terminal(),
            false => io::stdout().is_terminal(),
        }
    }

    pub(crate) fn show(&mut self, lines: &[String]) {
        let shown = lines.iter().map(printable::line);
        let text: String = if self.redraws() {
            let up = match self.drawn {
                0 => String::new(),
                drawn => format!("\x1b[{drawn}A"),
            };
            let cleared = shown.map(|line| format!("\x1b[2K{line}\n"));
            std::iter::once(up).chain(cleared).collect()
        } else {
            shown.map(|line| line + "\n").collect()
        };
        self.drawn = lines.len();
        match self.to_error {
            true => io::stderr().lock().write_all(text.as_bytes()).ok(),
            false => io::stdout().lock().write_all(text.as_bytes()).ok(),
        };
    }
}

/// A number with its noun, and any other words that depend on the number: `1 row was`, `2 rows
/// were`.
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, one: &str, many: &str) -> String {
    let counts = if number == N::from(1) { one } else { many };
    format!("{number} {counts}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_everything_else_plural() {
        let texts: Vec<String> = [0, 1, 2]
            .map(|number: u64| counted(number, "row was", "rows were"))
            .into();
        assert_eq!(texts, ["0 rows were", "1 row was", "2 rows were"]);
    }
}
