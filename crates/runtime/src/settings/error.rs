//! Errors of settings files: what is wrong, where, and the fix.

use std::fmt;
use std::path::PathBuf;

use crate::printable;

/// A position in a file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// An error in the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The position, if known.
    pub place: Option<Place>,
    /// The text of that line; none without a position, or if it may contain a secret.
    pub excerpt: Option<String>,
    /// The error.
    pub message: String,
    /// The fix; empty if the message contains it.
    pub mend: String,
}

/// Settings that a process can't start with. The process exits with 64.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("{}: cannot be read: {source}\n  fix: make the file readable, or name another one", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// The file's content is invalid.
    #[error(transparent)]
    Invalid(Box<Fault>),
    /// The value of an environment variable is invalid.
    #[error(
        "environment variable {variable}: {}\n  fix: {mend}",
        printable::line(message)
    )]
    Override {
        /// Its name.
        variable: String,
        /// The error.
        message: String,
        /// The fix.
        mend: String,
    },
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(place) = self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        write!(f, " {}", printable::line(&self.message))?;
        if let (Some(place), Some(excerpt)) = (self.place, &self.excerpt) {
            let excerpt = printable::line(excerpt);
            let gutter = place.line.to_string();
            let blank = " ".repeat(gutter.len());
            let indent = " ".repeat(
                usize::try_from(place.column.saturating_sub(1))
                    .unwrap_or(0)
                    .min(excerpt.len()),
            );
            write!(f, "\n  {gutter} | {excerpt}\n  {blank} | {indent}^")?;
        }
        if !self.mend.is_empty() {
            write!(f, "\n  fix: {}", self.mend)?;
        }
        Ok(())
    }
}
