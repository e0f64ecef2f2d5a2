//! Which events are kept apart, so that none pushes out those that matter more, and how often each is told.

/// Events that are kept together. Each class has a ring of its own in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What happens to this process and its region: who leads, who comes and goes, settings, lives.
    Process,
    /// What operators did.
    Operators,
    /// Whom the doors refused.
    Refusals,
    /// What other regions, strangers or a fault that lasts can bring about again and again.
    Recurring,
}

/// How a kind of event is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) class: Class,
    /// How many of one source are told within a minute; as many as there are where none is said.
    pub(super) a_minute: Option<u32>,
}

/// What is told more often than once a minute is told at least so often where nobody in particular brought it about: it stands for
/// all shards and peers.
pub(super) const OF_NOBODY: u32 = 64;

/// Each is told: the news is that it happens.
const EACH: u32 = 8;

impl Class {
    pub(super) const ALL: [Self; 4] = [Self::Process, Self::Operators, Self::Refusals, Self::Recurring];

    /// How many of its events are kept.
    #[must_use]
    pub const fn kept(self) -> usize {
        match self {
            Self::Process => 1024,
            Self::Recurring => 512,
            Self::Operators | Self::Refusals => 256,
        }
    }

    /// Its name in those of the journal's entries, if its events take each other's places there too, so that a run of a process never
    /// has more of them in the journal than [`Class::kept`]. Stored: never renamed.
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
            // Tells how often by itself.
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
    fn every_kind_that_is_treated_apart_is_one_that_the_page_describes() {
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
