//! Labels of closed lists: states, phases, kinds. A newer version may have additional ones.

use std::borrow::Cow;
use std::fmt;

use isthmus_replication::delay::Stage;
use isthmus_replication::follow;
use isthmus_replication::link::lane::Hold;
use isthmus_replication::receiving::lag::Freshness;
use isthmus_replication::sending::{self, Stall};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounded;

/// A closed list whose members have a label in JSON.
pub trait Labelled: Copy + PartialEq + 'static {
    /// Every member.
    const ALL: &'static [Self];

    /// The member's label.
    fn label(self) -> &'static str;
}

/// A member of a closed list, or a label that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaybeKnown<T> {
    /// A member that this version knows.
    Known(T),
    /// Any other label; empty if nothing is known.
    Other(String),
}

impl<T: Labelled> MaybeKnown<T> {
    /// Its label.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Known(known) => known.label(),
            Self::Other(label) => label,
        }
    }

    /// The member; `None` for a label that this version does not know.
    #[must_use]
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(known) => Some(*known),
            Self::Other(_) => None,
        }
    }
}

impl<T> Default for MaybeKnown<T> {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl<T: Labelled> From<T> for MaybeKnown<T> {
    fn from(known: T) -> Self {
        Self::Known(known)
    }
}

impl<T: Labelled> PartialEq<T> for MaybeKnown<T> {
    fn eq(&self, other: &T) -> bool {
        self.known().as_ref() == Some(other)
    }
}

impl<T: Labelled> fmt::Display for MaybeKnown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl<T: Labelled> Serialize for MaybeKnown<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.label())
    }
}

impl<'de, T: Labelled> Deserialize<'de> for MaybeKnown<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let label = bounded::label(from)?;
        let known = T::ALL.iter().find(|known| known.label() == label);
        Ok(known.map_or(Self::Other(label), |known| Self::Known(*known)))
    }
}

impl<T: Labelled> JsonSchema for MaybeKnown<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Label".into()
    }

    /// Labels are examples in the schema, because a newer version may have additional ones and no
    /// reader may treat the list as complete.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let labels: Vec<&str> = T::ALL.iter().map(|known| known.label()).collect();
        json_schema!({ "type": "string", "examples": labels })
    }
}

impl Labelled for Freshness {
    const ALL: &'static [Self] = &Self::ALL;

    fn label(self) -> &'static str {
        self.label()
    }
}

impl Labelled for Stage {
    const ALL: &'static [Self] = &Self::ALL;

    fn label(self) -> &'static str {
        self.label()
    }
}

macro_rules! labels {
    ($(#[$doc:meta])* $list:ident: $($(#[$of:meta])* $member:ident = $label:literal,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $list {
            $($(#[$of])* $member,)*
        }

        impl Labelled for $list {
            const ALL: &'static [Self] = &[$(Self::$member),*];

            fn label(self) -> &'static str {
                match self {
                    $(Self::$member => $label,)*
                }
            }
        }
    };
}

labels! {
    /// Kinds of processes.
    ProcessKind:
    /// A region agent.
    Agent = "agent",
    /// A gateway.
    Gateway = "gateway",
}

labels! {
    /// States of an outbound link.
    LinkState:
    /// Another gateway is the leader.
    Standby = "standby",
    /// The gateway dials the peer.
    Dialing = "dialing",
    /// The link is open and the greetings are being exchanged.
    Greeting = "greeting",
    /// The link is up.
    Connected = "connected",
    /// The link is up, but an operator paused it.
    Paused = "paused",
}

labels! {
    /// States of a lane: one shard on an outbound link.
    LaneState:
    /// The link is down, or the peer does not accept the lane.
    Idle = "idle",
    /// The log's lives are not known yet.
    Waiting = "waiting",
    /// The lane reads up to the peer's cursor.
    Reading = "reading",
    /// The lane sends.
    Streaming = "streaming",
    /// One end paused the link.
    Paused = "paused",
    /// The receiver's clock stalls the lane.
    Clock = "clock",
    /// The receiver does not know the lineage of the log.
    UnknownLineage = "unknown_lineage",
    /// The receiver has a newer life of the log.
    OlderLife = "older_life",
    /// The receiver can't write to its log.
    LogNotWritable = "log_not_writable",
    /// The receiver's log is full.
    LogFull = "log_full",
    /// The receiver reads its own log.
    Starting = "starting",
    /// The receiver stalls the lane for a reason of a later version.
    HeldBack = "other",
    /// The peer needs a sync.
    NeedsSync = "needs_sync",
    /// The log differs from the peer's knowledge of it.
    LifeSuspected = "life_suspected",
    /// One of the logs has a record of a later version.
    UpgradeNeeded = "upgrade_needed",
}

labels! {
    /// An agent's phase for a shard.
    ShardPhase:
    /// It reads the log up to its end.
    CatchingUp = "catching_up",
    /// It serves requests.
    Serving = "serving",
    /// It starts a new life of the log.
    NewLife = "new_life",
    /// The log has a record of a later version.
    UpgradeNeeded = "upgrade_needed",
    /// Changes are missing until a sync brings them.
    NeedsSync = "needs_sync",
    /// The log can't be read.
    Unreadable = "unreadable",
}

impl From<sending::LaneState> for LaneState {
    fn from(state: sending::LaneState) -> Self {
        match state {
            sending::LaneState::Idle => Self::Idle,
            sending::LaneState::Waiting => Self::Waiting,
            sending::LaneState::Reading => Self::Reading,
            sending::LaneState::Streaming => Self::Streaming,
            sending::LaneState::Stalled(stall) => match stall {
                Stall::Paused => Self::Paused,
                Stall::Held(hold) => hold.into(),
                Stall::NeedsSync(_) => Self::NeedsSync,
                Stall::LifeSuspected => Self::LifeSuspected,
                Stall::UpgradeNeeded { .. } => Self::UpgradeNeeded,
            },
        }
    }
}

impl From<Hold> for LaneState {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::Clock => Self::Clock,
            Hold::UnknownLineage => Self::UnknownLineage,
            Hold::OlderLife => Self::OlderLife,
            Hold::LogNotWritable => Self::LogNotWritable,
            Hold::LogFull => Self::LogFull,
            Hold::UpgradeNeeded => Self::UpgradeNeeded,
            Hold::Starting => Self::Starting,
            Hold::Other(_) => Self::HeldBack,
        }
    }
}

impl From<&follow::Phase> for ShardPhase {
    fn from(phase: &follow::Phase) -> Self {
        match phase {
            follow::Phase::CatchingUp => Self::CatchingUp,
            follow::Phase::Serving => Self::Serving,
            follow::Phase::NewLife => Self::NewLife,
            follow::Phase::UpgradeNeeded { .. } => Self::UpgradeNeeded,
            follow::Phase::NeedsSync(_) | follow::Phase::LostBefore => Self::NeedsSync,
            follow::Phase::Unreadable(_) => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_a_lane_has_its_published_label() {
        let held = |hold| sending::LaneState::Stalled(Stall::Held(hold));
        for (state, label) in [
            (sending::LaneState::Idle, "idle"),
            (sending::LaneState::Waiting, "waiting"),
            (sending::LaneState::Reading, "reading"),
            (sending::LaneState::Streaming, "streaming"),
            (sending::LaneState::Stalled(Stall::Paused), "paused"),
            (
                sending::LaneState::Stalled(Stall::LifeSuspected),
                "life_suspected",
            ),
            (held(Hold::Clock), "clock"),
            (held(Hold::UnknownLineage), "unknown_lineage"),
            (held(Hold::OlderLife), "older_life"),
            (held(Hold::LogNotWritable), "log_not_writable"),
            (held(Hold::LogFull), "log_full"),
            (held(Hold::UpgradeNeeded), "upgrade_needed"),
            (held(Hold::Starting), "starting"),
            (held(Hold::Other(9)), "other"),
        ] {
            assert_eq!(LaneState::from(state).label(), label);
        }
    }

    #[test]
    fn a_label_of_a_newer_version_is_kept() -> Result<(), serde_json::Error> {
        let states: Vec<MaybeKnown<LinkState>> = serde_json::from_str(r#"["paused","dreaming"]"#)?;
        assert_eq!(states[0], LinkState::Paused);
        assert_eq!(states[1], MaybeKnown::Other("dreaming".to_owned()));
        assert_eq!(serde_json::to_string(&states)?, r#"["paused","dreaming"]"#);
        assert!(serde_json::from_str::<MaybeKnown<LinkState>>(r#""two words""#).is_err());
        Ok(())
    }
}
