//! Each rule finds a violation that is planted in the test's own tree, and finds none in a tree
//! without it.
#![allow(clippy::expect_used)]

mod crates;
mod pages;
mod sources;
mod tree;
