//! Rules of the repository that a compiler does not check, each a function from a [`Tree`] to the
//! [`Violation`]s in it.
//!
//! `tests/repository.rs` applies every rule to the repository. `tests/planted` plants a violation
//! of each rule in its own tree and checks that the rule finds it, so a rule that no longer checks
//! anything fails too.

pub mod arrows;
pub mod code;
pub mod containers;
pub mod events;
pub mod licences;
pub mod manifest;
pub mod markdown;
pub mod names;
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
    /// Line, counted from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong and how to fix it.
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

    /// A violation of a file as a whole.
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
