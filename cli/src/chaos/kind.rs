//! The kinds of faults.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// SIGKILL to the leading gateway of a region
    KillLeader,
    /// SIGKILL to its other gateway
    KillStandby,
    /// SIGKILL to an agent
    KillAgent,
    /// SIGSTOP to the leading gateway for longer than its lease lives, then SIGCONT
    PauseLeader,
    /// SIGSTOP to an agent, then SIGCONT
    PauseAgent,
    /// Nothing passes between two regions
    Cut,
    /// Nothing passes from one region to another, everything the other way
    OneWayCut,
    /// All connections between two regions are reset
    Reset,
    /// Bytes between two regions take long, and each another time
    Delay,
    /// The clock of an agent or gateway is put wrong
    Clock,
    /// The NATS server of a region ends in order and is started again
    RestartNats,
    /// The NATS server of a region is killed and stays down for a while
    KillNats,
}

impl Kind {
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}
