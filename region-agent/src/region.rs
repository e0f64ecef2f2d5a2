//! What an agent does with the region's other processes: membership, positions, stewardship.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isthmus_log::{ClockOffset, Member, Members, MissingStreams};
use isthmus_replication::names::ProcessName;

use crate::operation::Core;
use crate::shard::Context;

mod candidacy;
mod digests;
mod images;
mod logs;
mod members;
mod payload;
mod positions;
mod sources;
mod steward;

pub use candidacy::stand;
pub use digests::tell_digests;
pub use images::serve_images;
pub use logs::watch_logs;
pub use members::{keep_member, watch_members};
pub use payload::MemberPayload;
pub use positions::{hear_cursors, hear_peer_doubt, tell_positions};
pub use sources::serve_sources;
pub use steward::steward;

/// The state that the region's tasks share. Clones share it.
#[derive(Debug, Clone)]
pub struct Region {
    /// The operation core, with the shards.
    pub core: Arc<Core>,
    /// The streams of the region that are missing.
    pub missing_streams: MissingStreams,
    roster: Arc<Mutex<Roster>>,
}

#[derive(Debug, Default)]
struct Roster {
    members: Members,
    steward: Option<ProcessName>,
    stewards: bool,
}

impl Region {
    /// Creates the state, with nothing known yet.
    #[must_use]
    pub fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            missing_streams: MissingStreams::default(),
            roster: Arc::default(),
        }
    }

    fn context(&self) -> &Context {
        self.core.context()
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The steward, as far as is known.
    #[must_use]
    pub fn steward_name(&self) -> Option<ProcessName> {
        self.roster().steward.clone()
    }

    /// The live members with what each wrote into its lease.
    #[must_use]
    pub fn members(&self) -> BTreeMap<Member, Option<MemberPayload>> {
        let roster = self.roster();
        let known = roster.members.iter();
        known
            .map(|(member, payload)| (member.clone(), MemberPayload::decode(payload)))
            .collect()
    }

    /// The log's clock less this process's.
    #[must_use]
    pub fn clock_offset(&self) -> Option<ClockOffset> {
        self.context().server_clock.offset()
    }

    /// Whether this process's clock is so far ahead that everything it stamps is void.
    fn clock_is_ahead(&self) -> bool {
        let limit = self.context().process.settings.process.set.clock.max_ahead;
        let limit = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
        self.clock_offset().is_some_and(|offset| offset.micros < -limit)
    }
}
