//! Scenarios with real processes, numbered as docs/testing.md lists them.

mod clocks;
mod endings;
mod leaders;
mod memory;
mod nats;
mod partitions;
mod paths;
mod replicas;
