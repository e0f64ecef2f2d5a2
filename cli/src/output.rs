//! All that a command writes to the terminal or pipe: without a panic when nobody reads, and without anything that a terminal would
//! act on.
//!
//! What commands show comes from others: keys of applications, reports of regions, answers of servers, logs, files. It passes
//! [`isthmus_runtime::printable`] here, and nothing else of the command line writes to standard output or standard error. JSON reads
//! as exactly the same values; the value of `isthmus kv get` keeps its bytes where they do not go to a terminal.

mod table;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use isthmus_runtime::printable;
use serde::Serialize;

use crate::failure::Failure;
pub(crate) use table::Table;

/// Writes a result to standard output as one line, whatever it holds.
pub fn line(text: impl Display) -> Result<(), Failure> {
    write(&printable::line(text))
}

/// Writes several lines to standard output: `text` has its own ends of lines.
pub(crate) fn lines(text: impl Display) -> Result<(), Failure> {
    write(&printable::lines(text))
}

/// Writes a JSON value to standard output as one line.
pub fn json_line(value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(Failure::environment)?;
    write(&printable::json(&text))
}

/// Writes a JSON value to standard output for people too, on several lines.
pub(crate) fn pretty_json(value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::environment)?;
    write(&printable::json(&text))
}

/// Writes a stored value and the end of a line to standard output: its bytes as they are, unless a terminal gets them.
pub(crate) fn value(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        return write(&printable::lines(String::from_utf8_lossy(bytes)));
    }
    out.write_all(bytes)
        .and_then(|()| out.write_all(b"\n"))
        .map_err(Failure::environment)
}

/// Writes a script for a shell to standard output, as it is.
pub(crate) fn script(text: &[u8]) -> Result<(), Failure> {
    io::stdout().lock().write_all(text).map_err(Failure::environment)
}

fn write(printable: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{printable}").map_err(Failure::environment)
}

/// Tells something on standard error as one line, if anybody reads it.
pub(crate) fn note(text: impl Display) {
    writeln!(io::stderr().lock(), "{}", printable::line(text)).ok();
}

/// Tells something on standard error, if anybody reads it; `text` has its own ends of lines.
pub(crate) fn note_lines(text: impl Display) {
    writeln!(io::stderr().lock(), "{}", printable::lines(text)).ok();
}

/// Tells on standard error why a program ends as it does.
pub fn failed(program: impl Display, failure: &Failure) {
    note_lines(format_args!("{}: {failure}", printable::line(program)));
}

/// Tells on standard error what is wrong with the arguments, or shows the help that was asked for. Whether the arguments were good.
pub fn usage(error: &clap::Error) -> bool {
    if error.use_stderr() {
        note_lines(error.render().to_string().trim_end());
        return false;
    }
    error.print().is_ok()
}

/// Lines that are shown while something goes on, if anybody reads them: on a terminal in the place of those before.
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

    /// Whether lines are drawn in the place of those before.
    pub(crate) fn redraws(&self) -> bool {
        match self.to_error {
            true => io::stderr().is_terminal(),
            false => io::stdout().is_terminal(),
        }
    }

    /// Shows these lines.
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

/// A number with the noun, and what else depends on the number: `1 row was`, `2 rows were`.
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
