//! Names of a region's streams, subjects and buckets (design.md section 5). All names contain set
//! and region: with bare names a leafnode stores every message twice, and in a supercluster all
//! regions share one stream.

use isthmus_replication::coordinates::Shard;
use isthmus_replication::fold::{LogName, SubjectToken};
use isthmus_replication::names::{RegionName, SetName};

use crate::unguessable::Unguessable;
use crate::{EntryName, JournalName, Role};

/// The names of one region of one set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionNames {
    /// The set.
    pub set: SetName,
    /// The region.
    pub region: RegionName,
}

impl RegionNames {
    /// The core's name of the log of `shard`.
    #[must_use]
    pub fn log(&self, shard: &Shard) -> LogName {
        LogName {
            set: self.set.clone(),
            region: self.region.clone(),
            shard: shard.clone(),
        }
    }

    /// `ISTHMUS_<set>_<region>_<group>_<partition>`.
    #[must_use]
    pub fn stream(&self, shard: &Shard) -> String {
        format!(
            "ISTHMUS_{}_{}_{}_{}",
            self.set, self.region, shard.group, shard.partition
        )
    }

    /// The subject of the messages of `token` in the log of `shard`.
    #[must_use]
    pub fn subject(&self, shard: &Shard, token: &SubjectToken) -> String {
        format!("{}.{}", self.log_subjects(shard), token.as_str())
    }

    /// The pattern of all subjects of the log of `shard`.
    #[must_use]
    pub fn subjects(&self, shard: &Shard) -> String {
        format!("{}.*", self.log_subjects(shard))
    }

    fn log_subjects(&self, shard: &Shard) -> String {
        format!(
            "isthmus.{}.{}.log.{}.{}",
            self.set, self.region, shard.group, shard.partition
        )
    }

    /// `ISTHMUS_<set>_<region>_LEASES`, a key-value bucket.
    #[must_use]
    pub fn lease_bucket(&self) -> String {
        format!("ISTHMUS_{}_{}_LEASES", self.set, self.region)
    }

    /// `ISTHMUS_<set>_<region>_EVENTS`, `ISTHMUS_<set>_<region>_ASIDE_<group>`.
    #[must_use]
    pub fn journal(&self, journal: &JournalName) -> String {
        let stream = format!("ISTHMUS_{}_{}", self.set, self.region);
        match journal {
            JournalName::Events => format!("{stream}_EVENTS"),
            JournalName::Aside(group) => format!("{stream}_ASIDE_{group}"),
        }
    }

    /// The prefix of the subjects of a journal's entries; an entry's name follows it.
    #[must_use]
    pub fn journal_prefix(&self, journal: &JournalName) -> String {
        let region = format!("isthmus.{}.{}", self.set, self.region);
        match journal {
            JournalName::Events => format!("{region}.events."),
            JournalName::Aside(group) => format!("{region}.aside.{group}."),
        }
    }

    /// The subject of a journal's entry.
    #[must_use]
    pub fn journal_subject(&self, journal: &JournalName, name: &EntryName) -> String {
        format!("{}{name}", self.journal_prefix(journal))
    }

    /// The pattern of all subjects of a journal.
    #[must_use]
    pub fn journal_subjects(&self, journal: &JournalName) -> String {
        format!("{}*", self.journal_prefix(journal))
    }

    /// The subject of messages between processes of the region; `suffix` may be a pattern.
    #[must_use]
    pub fn peer_subject(&self, suffix: &str) -> String {
        format!("isthmus.{}.{}.peer.{suffix}", self.set, self.region)
    }

    /// The prefix of the inboxes for answers from servers, of one process of a role or of an
    /// operator's command. Credentials that may subscribe to the prefix of one role can't overhear
    /// another role. No process needs the right to publish there.
    pub(crate) fn inbox(&self, role: Option<Role>, process: &Unguessable) -> String {
        format!("{}{}.{process}", self.inboxes(), who(role))
    }

    /// The inbox of a process of a role for the answer of processes of the role `of` to one
    /// request, separate from the answers of servers. Credentials that may answer one role can't
    /// answer in the place of another.
    pub(crate) fn answer_inbox(&self, role: Option<Role>, of: Role, question: &Unguessable) -> String {
        let answers = answers(role, of);
        format!("{}{}.{answers}.{question}", self.inboxes(), who(role))
    }

    /// Whether `subject` is an [`RegionNames::answer_inbox`] of this region. A request names the
    /// subject of its answer, and an answer to any other subject would be published with the rights
    /// of the answering process.
    pub(crate) fn is_answer_inbox(&self, subject: &str) -> bool {
        let Some(inbox) = subject.strip_prefix(&self.inboxes()) else {
            return false;
        };
        let roles = [None, Some(Role::Agent), Some(Role::Gateway)];
        let [whose, what, question] = inbox.split('.').collect::<Vec<_>>()[..] else {
            return false;
        };
        let is_of = |role: Option<Role>| {
            let mut answering = [Role::Agent, Role::Gateway].into_iter();
            who(role) == whose && answering.any(|of| answers(role, of) == what)
        };
        roles.into_iter().any(is_of) && Unguessable::is_one(question)
    }

    fn inboxes(&self) -> String {
        format!("_INBOX.isthmus.{}.{}.", self.set, self.region)
    }
}

/// The token of inboxes for the answers of the role `of`.
fn answers(role: Option<Role>, of: Role) -> &'static str {
    match (role, of) {
        (Some(Role::Agent), Role::Gateway) => "answer-gateway",
        (Some(Role::Gateway), Role::Agent) => "answer-agent",
        _ => "answer",
    }
}

fn who(role: Option<Role>) -> &'static str {
    role.map_or("operator", Role::as_str)
}

/// The token of a log subject; `None` if it is not an Isthmus token.
pub(crate) fn token(subject: &str) -> Option<SubjectToken> {
    subject.rsplit('.').next().and_then(SubjectToken::parse)
}

#[cfg(test)]
mod tests {
    use isthmus_replication::names::GroupName;

    use super::*;

    fn names() -> RegionNames {
        RegionNames {
            set: SetName::parse("shop").expect("a valid name"),
            region: RegionName::parse("eu-west").expect("a valid name"),
        }
    }

    #[test]
    fn answers_go_to_inboxes_for_answers_of_the_region_alone() {
        let names = names();
        let (one, other) = (Unguessable::draw(), Unguessable::draw());
        let (one, other) = (one.expect("randomness"), other.expect("randomness"));
        assert_ne!(one, other);
        let inbox = names.inbox(Some(Role::Agent), &one);
        assert_eq!(inbox, format!("_INBOX.isthmus.shop.eu-west.agent.{one}"));
        for role in [None, Some(Role::Agent), Some(Role::Gateway)] {
            for of in [Role::Agent, Role::Gateway] {
                assert!(names.is_answer_inbox(&names.answer_inbox(role, of, &one)));
            }
        }
        let subjects = [
            inbox,
            format!("_INBOX.isthmus.shop.eu-west.agent.{one}.answer.{one}"),
            format!("_INBOX.isthmus.shop.us-east.agent.answer.{one}"),
            format!("_INBOX.isthmus.shop.eu-west.nobody.answer.{one}"),
            format!("_INBOX.isthmus.shop.eu-west.agent.answer-agent.{one}"),
            "_INBOX.isthmus.shop.eu-west.gateway.answer.*".to_owned(),
            "$JS.API.STREAM.PURGE.ISTHMUS_shop_eu-west_default_0".to_owned(),
            "isthmus.shop.eu-west.log.default.0.us-east".to_owned(),
            "$KV.ISTHMUS_shop_eu-west_LEASES.leader".to_owned(),
        ];
        for subject in subjects {
            assert!(!names.is_answer_inbox(&subject), "{subject}");
        }
    }

    #[test]
    fn names_are_those_of_the_design() {
        let names = names();
        let shard = Shard {
            group: GroupName::parse("default").expect("a valid name"),
            partition: 3,
        };
        assert_eq!(names.stream(&shard), "ISTHMUS_shop_eu-west_default_3");
        assert_eq!(
            names.subject(&shard, &SubjectToken::Agent),
            "isthmus.shop.eu-west.log.default.3._agent"
        );
        assert_eq!(names.subjects(&shard), "isthmus.shop.eu-west.log.default.3.*");
        assert_eq!(names.lease_bucket(), "ISTHMUS_shop_eu-west_LEASES");
        let aside = JournalName::Aside(shard.group.clone());
        assert_eq!(names.journal(&JournalName::Events), "ISTHMUS_shop_eu-west_EVENTS");
        assert_eq!(names.journal(&aside), "ISTHMUS_shop_eu-west_ASIDE_default");
        let name = EntryName::parse("conflict-3").expect("a valid name");
        assert_eq!(
            names.journal_subject(&aside, &name),
            "isthmus.shop.eu-west.aside.default.conflict-3"
        );
        assert_eq!(
            names.journal_subjects(&JournalName::Events),
            "isthmus.shop.eu-west.events.*"
        );
        assert_eq!(
            names.peer_subject("beat.leader"),
            "isthmus.shop.eu-west.peer.beat.leader"
        );
        assert_eq!(
            token("isthmus.shop.eu-west.log.default.3._gateway"),
            Some(SubjectToken::Gateway)
        );
        assert_eq!(token("isthmus.shop.eu-west.log.default.3.NOT_OURS"), None);
    }
}
