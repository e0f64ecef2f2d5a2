//! Classes of events that are stored separately, so that none pushes out more important ones, and
//! the rate at which each kind is recorded.

/// A class of events. Each class has its own ring in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Changes of this process and its region: leadership, members, settings, lives.
    Process,
    /// Actions of operators.
    Operators,
    /// Refusals of the doors.
    Refusals,
    /// Events that other regions, strangers or a persistent fault can cause repeatedly.
    Recurring,
}

/// How a kind of event is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) class: Class,
    /// Maximum number of events per minute from one source; `None` if there is no limit.
    pub(super) a_minute: Option<u32>,
}

/// Minimum limit for events without a particular source, if the kind's limit is above one per
/// minute: they come from all shards and peers.
pub(super) const OF_NOBODY: u32 = 64;

/// For kinds of which every event matters.
const EACH: u32 = 8;

impl Class {
    pub(super) const ALL: [Self; 4] = [Self::Process, Self::Operators, Self::Refusals, Self::Recurring];

    /// How many of its events are kept in memory.
    #[must_use]
    pub const fn kept(self) -> usize {
        match self {
            Self::Process => 1024,
            Self::Recurring => 512,
            Self::Operators | Self::Refusals => 256,
        }
    }

    /// The class's part of the names of its entries in the journal, if its events replace each
    /// other there too, so that a run of a process never has more than [`Class::kept`] of them in
    /// the journal. Stored: never renamed.
    #[must_use]
    pub const fn journal_slots(self) -> Option<&'static str> {
        match self {
            Self::Process | Self::Operators => None,
            Self::Refusals => Some("refusals"),
            Self::Recurring => Some("recurring"),
        }
    }
}

impl Policy {
    pub(super) fn of(kind: &str) -> Self {
        let (class, a_minute) = match kind {
            "operator_act" => (Class::Operators, None),
            "access_refused" | "link_refused" => (Class::Refusals, Some(1)),
            // Limits its rate itself.
            "aside" => (Class::Recurring, None),
            "report_refused" | "set_differs" | "lane_refused" | "name_taken" => (Class::Recurring, Some(1)),
            "changes_missing"
            | "checkpoint_failed"
            | "clock_ahead"
            | "lane_goes_on"
            | "lane_held"
            | "lane_without_progress"
            | "leader_lost"
            | "leader_taken"
            | "life_suspected"
            | "life_suspicion_ended"
            | "link_down"
            | "link_up"
            | "log_made_anew"
            | "log_not_writable"
            | "log_unreadable"
            | "log_writable"
            | "needs_sync"
            | "new_life"
            | "peer_lost_tail"
            | "peer_needs_sync"
            | "regions_agree"
            | "regions_differ"
            | "steward_lost"
            | "steward_taken"
            | "sync_completed"
            | "sync_interrupted"
            | "sync_started"
            | "sync_violation"
            | "tail_held_by_peer"
            | "told_by_peer"
            | "undecodable"
            | "version_clash"
            | "void_burst" => (Class::Recurring, Some(EACH)),
            _ => (Class::Process, None),
        };
        Self { class, a_minute }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_with_its_own_policy_is_described_on_the_page() {
        let page = include_str!("../../../../docs/events.md");
        let source = include_str!("class.rs");
        let table = source.split("fn of(").nth(1).unwrap_or_default();
        let table = table.split("#[cfg(test)]").next().unwrap_or_default();
        let kinds: Vec<&str> = table.split('"').skip(1).step_by(2).collect();
        assert!(kinds.len() > 20, "{kinds:?}");
        for kind in kinds {
            assert!(page.contains(&format!("| `{kind}` |")), "{kind}");
            assert_ne!(Policy::of(kind), Policy::of("any other"), "{kind}");
        }
    }
}
