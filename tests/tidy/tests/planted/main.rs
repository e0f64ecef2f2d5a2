//! Each rule finds a violation that is planted in a tree of the test's own, and finds nothing in a tree that keeps it.
#![allow(clippy::expect_used)]

mod crates;
mod pages;
mod sources;
mod tree;
