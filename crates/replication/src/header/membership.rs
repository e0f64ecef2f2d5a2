//! The numbered membership record: members, fences, groups and the clock limits of the fold.

use std::time::Duration;

use super::{GroupName, HeaderError, RegionName};
use crate::{limits, wire};

/// How far a stamp may be from its log's time and highest stamp. The limits are part of the log, so
/// that settings never change a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockLimits {
    /// Ahead of the message's own log timestamp.
    pub max_ahead: Duration,
    /// Behind the log's own highest stamp.
    pub max_behind: Duration,
}

impl Default for ClockLimits {
    fn default() -> Self {
        Self {
            max_ahead: limits::MAX_AHEAD,
            max_behind: limits::MAX_BEHIND,
        }
    }
}

/// A membership record. It is accepted if its number is above the last one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The generation of the set that it describes.
    pub number: u64,
    /// Member regions, ordered.
    pub members: Vec<RegionName>,
    /// Fenced regions, ordered.
    pub fenced: Vec<RegionName>,
    /// Groups of this region, ordered.
    pub groups: Vec<GroupName>,
    /// The clock limits from this record on.
    pub clock: ClockLimits,
}

impl Membership {
    pub(crate) fn to_wire(&self) -> wire::Membership {
        wire::Membership {
            number: self.number,
            members: self.members.iter().map(|name| name.as_str().to_owned()).collect(),
            fenced: self.fenced.iter().map(|name| name.as_str().to_owned()).collect(),
            groups: self.groups.iter().map(|name| name.as_str().to_owned()).collect(),
            max_ahead_ms: millis(self.clock.max_ahead),
            max_behind_ms: millis(self.clock.max_behind),
        }
    }

    pub(crate) fn from_wire(wire: &wire::Membership) -> Result<Self, HeaderError> {
        if wire.members.len() > limits::REGIONS || wire.fenced.len() > limits::REGIONS {
            return Err(HeaderError::Malformed("too many regions"));
        }
        let group = |name: &String| GroupName::parse(name).map_err(|_| HeaderError::Malformed("group"));
        Ok(Self {
            number: wire.number,
            members: wire
                .members
                .iter()
                .map(|name| super::region(name))
                .collect::<Result<_, _>>()?,
            fenced: wire
                .fenced
                .iter()
                .map(|name| super::region(name))
                .collect::<Result<_, _>>()?,
            groups: wire.groups.iter().map(group).collect::<Result<_, _>>()?,
            clock: ClockLimits {
                max_ahead: Duration::from_millis(wire.max_ahead_ms),
                max_behind: Duration::from_millis(wire.max_behind_ms),
            },
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
