//! Writing to the terminal or pipe without a panic when nobody reads.

use std::fmt::Display;
use std::io::{self, Write};

use crate::failure::Failure;

/// Writes a result line to standard output.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}").map_err(Failure::environment)
}

/// Tells something on standard error, if anybody reads it.
pub(crate) fn note(text: impl Display) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Shows something on standard output, or on standard error if `aside`, if anybody reads it.
pub(crate) fn show(text: &str, aside: bool) {
    if aside {
        io::stderr().lock().write_all(text.as_bytes()).ok();
    } else {
        io::stdout().lock().write_all(text.as_bytes()).ok();
    }
}
