//! Rules of the repository that a compiler does not check, each a function from a [`Tree`] to the [`Violation`]s in it.
//!
//! `tests/repository.rs` holds the repository to every rule; `tests/planted` plants a violation of each in a tree of
//! its own and sees it found, so that a rule that has stopped looking fails too.

pub mod arrows;
pub mod code;
pub mod containers;
pub mod events;
pub mod licences;
pub mod manifest;
pub mod markdown;
pub mod purity;
pub mod scripts;
pub mod source;
pub mod text;
mod tree;

use std::fmt;

pub use tree::{File, Tree};

/// One place in the tree that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path relative to the root of the tree, with `/` between its parts.
    pub path: String,
    /// Line, counted from 1; 0 when the whole file is meant.
    pub line: usize,
    /// What is wrong and what to do about it.
    pub what: String,
}

impl Violation {
    /// A violation at a line of a file.
    pub fn at(path: impl Into<String>, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            what: what.into(),
        }
    }

    /// A violation by a file as a whole.
    pub fn of_file(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::at(path, 0, what)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.what),
            line => write!(formatter, "{}:{line}: {}", self.path, self.what),
        }
    }
}
