//! How far the agents of this region have applied every log, as they report it (design.md section
//! 7).

use std::collections::BTreeMap;

use isthmus_replication::coordinates::{AppliedThrough, Shard};
use isthmus_replication::names::{ProcessName, RegionName};
use isthmus_replication::peer::{APPLIED_HEARTBEAT, AppliedPositions, OriginApplied};
use isthmus_replication::time::Mono;

/// An agent that reports nothing for this long is ignored (crate `isthmus-replication`, `peer`).
const SILENCE: std::time::Duration = APPLIED_HEARTBEAT.saturating_mul(3);
/// At most this many agents are tracked per shard.
const AGENTS: usize = 1024;

/// The latest reports of the region's agents.
#[derive(Debug, Default)]
pub struct AppliedTable {
    agents: BTreeMap<(Shard, ProcessName), AgentPositions>,
}

/// The latest report of one agent on one shard.
#[derive(Debug, Clone)]
pub struct AgentPositions {
    /// The reported positions.
    pub positions: AppliedPositions,
    /// When the report arrived.
    pub heard: Mono,
}

impl AppliedTable {
    /// Records an agent's report. A new agent is ignored if the shard already has the most agents
    /// that are tracked.
    pub fn note(&mut self, now: Mono, positions: AppliedPositions) {
        let key = (positions.shard.clone(), positions.agent.clone());
        self.agents
            .retain(|_, agent| now.since(agent.heard) < SILENCE * 20);
        let agents = self.agents.keys().filter(|(shard, _)| *shard == key.0).count();
        if agents < AGENTS || self.agents.contains_key(&key) {
            self.agents.insert(
                key,
                AgentPositions {
                    positions,
                    heard: now,
                },
            );
        }
    }

    /// The position through which every live agent has applied `origin`'s log of `shard`. None if a
    /// live agent has applied nothing of it, or if no agent is live. An agent that needs sync
    /// answers no reads and is skipped.
    #[must_use]
    pub fn least(&self, now: Mono, origin: &RegionName, shard: &Shard) -> Option<AppliedThrough> {
        let mut least: Option<AppliedThrough> = None;
        for agent in self.live(now, shard).filter(|agent| !agent.positions.needs_sync) {
            let applied = of_origin(agent, origin)?.applied;
            least = Some(match least {
                Some(held) if order(held) <= order(applied) => held,
                _ => applied,
            });
        }
        least
    }

    /// What the live agent furthest behind in `origin`'s log of `shard` has applied. Agents that
    /// need sync are skipped.
    #[must_use]
    pub fn furthest_behind(&self, now: Mono, origin: &RegionName, shard: &Shard) -> Option<&OriginApplied> {
        self.live(now, shard)
            .filter(|agent| !agent.positions.needs_sync)
            .filter_map(|agent| of_origin(agent, origin))
            .min_by_key(|of| order(of.applied))
    }

    /// The reports of live agents on `shard`, ordered by agent name.
    pub fn live(&self, now: Mono, shard: &Shard) -> impl Iterator<Item = &AgentPositions> {
        self.agents
            .iter()
            .filter(move |((of, _), agent)| of == shard && now.since(agent.heard) < SILENCE)
            .map(|(_, agent)| agent)
    }

    /// The reports of live agents on every shard, by agent.
    #[must_use]
    pub fn by_agent(&self, now: Mono) -> BTreeMap<ProcessName, Vec<&AppliedPositions>> {
        let mut agents: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((_, name), agent) in &self.agents {
            if now.since(agent.heard) < SILENCE {
                agents.entry(name.clone()).or_default().push(&agent.positions);
            }
        }
        agents
    }
}

fn of_origin<'a>(agent: &'a AgentPositions, origin: &RegionName) -> Option<&'a OriginApplied> {
    agent.positions.origins.iter().find(|of| of.origin == *origin)
}

/// A position of an older life is behind every position of a newer one.
fn order(applied: AppliedThrough) -> (isthmus_replication::coordinates::Life, u64) {
    (applied.0.life, applied.0.sequence.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use isthmus_replication::coordinates::{Life, Position, Sequence, WriterId};
    use isthmus_replication::names::GroupName;
    use isthmus_replication::time::Wall;

    use super::*;

    fn shard() -> Shard {
        Shard {
            group: GroupName::parse("default").unwrap(),
            partition: 0,
        }
    }

    fn us() -> RegionName {
        RegionName::parse("us").unwrap()
    }

    fn positions(agent: &str, life: u64, sequence: u64, needs_sync: bool) -> AppliedPositions {
        let applied = AppliedThrough(Position {
            life: Life {
                number: life,
                nonce: 1,
            },
            sequence: Sequence(sequence),
        });
        AppliedPositions {
            shard: shard(),
            agent: ProcessName::parse(agent).unwrap(),
            run: WriterId(1),
            own: None,
            checkpointed: Sequence::NONE,
            needs_sync,
            origins: vec![OriginApplied {
                origin: us(),
                applied,
                appended: Wall::default(),
                delay: None,
            }],
            runways: Vec::new(),
        }
    }

    fn at(millis: u64) -> Mono {
        Mono::default().after(Duration::from_millis(millis))
    }

    fn least(table: &AppliedTable, now: Mono) -> Option<u64> {
        table
            .least(now, &us(), &shard())
            .map(|applied| applied.0.sequence.0)
    }

    #[test]
    fn the_least_counts_among_the_live_agents_that_answer_reads() {
        let mut table = AppliedTable::default();
        assert_eq!(least(&table, at(0)), None);
        table.note(at(0), positions("agent-1", 1, 7, false));
        table.note(at(0), positions("agent-2", 1, 5, false));
        table.note(at(0), positions("agent-3", 1, 2, true));
        assert_eq!(least(&table, at(10)), Some(5));
        table.note(at(2900), positions("agent-1", 1, 9, false));
        assert_eq!(least(&table, at(2950)), Some(5), "agent-2 is not silent yet");
        assert_eq!(least(&table, at(3100)), Some(9), "agent-2 is silent");
        assert_eq!(least(&table, at(9000)), None);
    }

    #[test]
    fn an_older_life_is_behind_and_a_missing_origin_holds_all() {
        let mut table = AppliedTable::default();
        table.note(at(0), positions("agent-1", 2, 3, false));
        table.note(at(0), positions("agent-2", 1, 50, false));
        let applied = table.least(at(1), &us(), &shard()).unwrap();
        assert_eq!(applied.0.life.number, 1);
        let mut empty = positions("agent-4", 1, 1, false);
        empty.origins.clear();
        table.note(at(0), empty);
        assert_eq!(table.least(at(1), &us(), &shard()), None);
    }
}
