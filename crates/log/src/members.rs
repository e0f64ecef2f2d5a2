//! Members: the live processes of a region, according to their leases (design.md section 7).

use std::collections::BTreeMap;

use bytes::Bytes;
use isthmus_replication::names::ProcessName;
use serde::Deserialize;

use crate::{Ended, LeaseEvent, LeaseName};

/// The kind of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A region agent.
    Agent,
    /// A gateway.
    Gateway,
}

impl Role {
    /// The role as it appears in names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Gateway => "gateway",
        }
    }

    fn parse(role: &str) -> Option<Self> {
        [Self::Agent, Self::Gateway]
            .into_iter()
            .find(|known| known.as_str() == role)
    }
}

/// One process of the region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Its role.
    pub role: Role,
    /// Its name.
    pub process: ProcessName,
}

impl Member {
    /// The lease that shows that it is alive: `member.<role>.<process>`.
    #[must_use]
    pub fn lease(&self) -> LeaseName {
        LeaseName::member(format_args!("{}.{}", self.role.as_str(), self.process))
    }

    /// Parses the name of a member's lease; `None` for another lease.
    #[must_use]
    pub fn parse(name: &LeaseName) -> Option<Self> {
        let (role, process) = name.as_str().strip_prefix("member.")?.split_once('.')?;
        Some(Self {
            role: Role::parse(role)?,
            process: ProcessName::parse(process).ok()?,
        })
    }
}

/// A change of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// `node_up`: the member is new; with its payload.
    Up(Member, Bytes),
    /// The member wrote a different payload.
    Announced(Member),
    /// `node_down`, with the reason and the last payload.
    Down(Member, Ended, Bytes),
}

impl MemberChange {
    /// A name of the member's start or end that is the same for every process that observes it:
    /// role, name, run and term of the member. `None` if the payload does not contain them, and for
    /// a member that only wrote a different payload.
    #[must_use]
    pub fn fact(&self) -> Option<String> {
        let (Self::Up(member, payload) | Self::Down(member, _, payload)) = self else {
            return None;
        };
        let announced: Announced = serde_json::from_slice(payload).ok()?;
        let role = member.role.as_str();
        Some(format!(
            "{role}-{}-{}-{}",
            member.process, announced.run, announced.term
        ))
    }
}

/// The fields that every member's payload contains.
#[derive(Deserialize)]
struct Announced {
    run: String,
    term: u64,
}

/// The members of a region according to its leases.
#[derive(Debug, Default)]
pub struct Members(BTreeMap<Member, Bytes>);

impl Members {
    /// Applies an event of a [`crate::LeaseWatch`] and returns the resulting changes. A renewal
    /// with the same payload causes none.
    pub fn note(&mut self, event: &LeaseEvent) -> Vec<MemberChange> {
        match event {
            LeaseEvent::Snapshot(held) => self.replace(held),
            LeaseEvent::Held { name, payload, .. } => Member::parse(name)
                .and_then(|member| self.held(member, payload))
                .into_iter()
                .collect(),
            LeaseEvent::Ended { name, reason, .. } => {
                let gone = Member::parse(name).and_then(|member| self.0.remove_entry(&member));
                gone.map(|(member, payload)| MemberChange::Down(member, *reason, payload))
                    .into_iter()
                    .collect()
            }
        }
    }

    /// The live members and their payloads, agents first, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Member, &Bytes)> {
        self.0.iter()
    }

    /// The live members of `role` and their payloads.
    pub fn of(&self, role: Role) -> impl Iterator<Item = (&ProcessName, &Bytes)> {
        self.0
            .iter()
            .filter(move |(member, _)| member.role == role)
            .map(|(member, payload)| (&member.process, payload))
    }

    fn replace(&mut self, held: &[(LeaseName, crate::Revision, Bytes)]) -> Vec<MemberChange> {
        let present: BTreeMap<Member, &Bytes> = held
            .iter()
            .filter_map(|(name, _, payload)| Some((Member::parse(name)?, payload)))
            .collect();
        let gone: Vec<Member> = self
            .0
            .keys()
            .filter(|member| !present.contains_key(member))
            .cloned()
            .collect();
        let mut changes = Vec::new();
        for member in gone {
            let payload = self.0.remove(&member).unwrap_or_default();
            changes.push(MemberChange::Down(member, Ended::Expired, payload));
        }
        changes.extend(
            present
                .into_iter()
                .filter_map(|(member, payload)| self.held(member, payload)),
        );
        changes
    }

    fn held(&mut self, member: Member, payload: &Bytes) -> Option<MemberChange> {
        match self.0.insert(member.clone(), payload.clone()) {
            None => Some(MemberChange::Up(member, payload.clone())),
            Some(before) if before != *payload => Some(MemberChange::Announced(member)),
            Some(_) => None,
        }
    }
}
