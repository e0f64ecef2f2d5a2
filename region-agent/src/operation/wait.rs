//! Waiting, always bounded: for the regions that must have a write, and for what a session has
//! seen.

use isthmus_replication::coordinates::{Position, Shard};
use isthmus_replication::header::Lineage;
use isthmus_replication::names::RegionName;
use isthmus_replication::session_token::{Behind, Check, Frontier, SessionToken};
use isthmus_replication::time::Mono;
use tokio::time::timeout_at;

use super::{Consistency, Core, Refusal};
use crate::shard::{Accepted, ShardHandle};

impl Core {
    /// Refuses a write, before anything is written, if too few regions are known to be reachable.
    pub(super) fn check_reachable(&self, shard: &Shard, consistency: Consistency) -> Result<(), Refusal> {
        if consistency == Consistency::Region {
            return Ok(());
        }
        let now = self.context.now().mono;
        let members = self.members(shard);
        let needed = consistency.needed(members.len());
        let unreachable: Vec<RegionName> = members
            .iter()
            .filter(|region| *region != self.policy.region() && !self.peers.reachable(now, shard, region))
            .cloned()
            .collect();
        if members.len() - unreachable.len() >= needed {
            return Ok(());
        }
        Err(Refusal::RegionsUnreachable { unreachable, needed })
    }

    /// Waits until enough regions have a write in their logs, and returns those regions.
    pub(super) async fn await_regions(
        &self,
        shard: &Shard,
        consistency: Consistency,
        accepted: &Accepted,
        deadline: Mono,
    ) -> Result<Vec<RegionName>, Refusal> {
        let own = self.policy.region();
        if consistency == Consistency::Region {
            return Ok(vec![own.clone()]);
        }
        let members = self.members(shard);
        let needed = consistency.needed(members.len());
        let until = self.context.process.clock.instant(deadline);
        let mut changes = self.peers.changes();
        loop {
            changes.borrow_and_update();
            let lineage = self.handle(shard)?.served().fold.lineage().clone();
            let holding = self.holding(shard, &members, accepted.position, &lineage);
            if holding.len() >= needed {
                return Ok(holding);
            }
            if !matches!(timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
                let missing = members
                    .into_iter()
                    .filter(|region| !holding.contains(region))
                    .collect();
                return Err(Refusal::RegionsUnconfirmed {
                    version: accepted.version.clone(),
                    regions: holding,
                    missing,
                });
            }
        }
    }

    /// Waits until the store has what `session` has seen of this shard.
    pub(super) async fn await_session(
        &self,
        handle: &ShardHandle,
        session: Option<&SessionToken>,
        deadline: Mono,
    ) -> Result<(), Refusal> {
        let Some(session) = session.filter(|session| !session.is_empty()) else {
            return Ok(());
        };
        let until = self.context.process.clock.instant(deadline);
        let mut moved = handle.moved();
        loop {
            moved.borrow_and_update();
            let behind = match session.satisfied_by(&Frontier::of(&handle.served().fold)) {
                Check::Satisfied => return Ok(()),
                Check::Behind(behind) => behind,
                Check::NeedsSync { origin, want, .. } => return Err(Refusal::NeedsSync { origin, want }),
            };
            if !matches!(timeout_at(until, moved.changed()).await, Ok(Ok(()))) {
                return Err(stale(behind));
            }
        }
    }

    /// The regions that count for `shard`: those that hold its group and are not fenced.
    fn members(&self, shard: &Shard) -> Vec<RegionName> {
        let fenced = self.handle(shard).map_or_else(
            |_| Vec::new(),
            |handle| {
                handle
                    .served()
                    .fold
                    .membership()
                    .map_or_else(Vec::new, |membership| membership.fenced.clone())
            },
        );
        let regions = self.policy.regions(shard).into_iter();
        regions.filter(|region| !fenced.contains(region)).collect()
    }

    fn holding(
        &self,
        shard: &Shard,
        members: &[RegionName],
        write: Position,
        lineage: &Lineage,
    ) -> Vec<RegionName> {
        let own = self.policy.region();
        let holds = |region: &&RegionName| *region == own || self.peers.holds(shard, region, write, lineage);
        members.iter().filter(holds).cloned().collect()
    }
}

/// Names the log that is furthest behind.
fn stale(behind: Vec<Behind>) -> Refusal {
    let worst = behind
        .into_iter()
        .max_by_key(|behind| behind.distance().unwrap_or(u64::MAX));
    worst.map_or(Refusal::Internal("behind nothing"), |worst| Refusal::Stale {
        origin: worst.origin,
        have: worst.have,
        want: worst.want,
    })
}
