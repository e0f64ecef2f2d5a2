//! Logs that lose an acknowledged tail: one that all agents have applied, one that nobody has read, or one that no agent has
//! read and another region has already.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_log::memory::Servers;
use isthmus_replication::cell::CellId;
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::version::Version;

use super::say;
use crate::node::Role;
use crate::oracle::LogId;
use crate::plan::Fault;
use crate::world::World;

/// After an applied tail is lost the processes of its region are left alone so long: what they hold must be given back first.
const PROTECTED: Duration = Duration::from_secs(20);
/// The agents that have not read a tail stay away so long, for another region to have it.
const AWAY: Duration = Duration::from_secs(4);

/// What is to be lost as soon as it is there.
#[derive(Debug)]
enum Wanted {
    /// What nobody has read.
    Unread,
    /// What no agent has read, for another region.
    Forwarded,
    /// The agents are away, and what follows `keep_through` is on its way to the other regions, through `through`.
    UnderWay {
        id: LogId,
        keep_through: Sequence,
        through: Sequence,
        until: Duration,
    },
}

/// The tails that are being lost.
#[derive(Debug, Default)]
pub(super) struct Tails {
    protected: BTreeMap<usize, Duration>,
    wanted: Option<Wanted>,
}

impl Tails {
    /// Whether the region's processes are left alone.
    pub(super) fn protects(&self, site: usize, now: Duration) -> bool {
        self.protected.get(&site).is_some_and(|until| *until > now)
    }

    /// Draws a loss; whether it happened at once.
    pub(super) fn begin(&mut self, world: &mut World) -> bool {
        let wanted = match world.random.u32(0..3) {
            0 => return self.lose_applied(world),
            1 => Wanted::Unread,
            _ => Wanted::Forwarded,
        };
        self.wanted.get_or_insert(wanted);
        false
    }

    /// Loses what is wanted if it is there; whether it was.
    pub(super) fn step(&mut self, world: &mut World) -> bool {
        let Some(wanted) = self.wanted.take() else {
            return false;
        };
        match wanted {
            Wanted::Unread => {
                let Some((id, read, _)) = self.unread(world) else {
                    self.wanted = Some(Wanted::Unread);
                    return false;
                };
                lose(world, &id, read);
                true
            }
            Wanted::Forwarded => {
                self.wanted = Some(match self.unread(world) {
                    Some((id, keep_through, through)) => {
                        take_agents_away(world, id.0);
                        Wanted::UnderWay {
                            id,
                            keep_through,
                            through,
                            until: world.time.now() + AWAY,
                        }
                    }
                    None => Wanted::Forwarded,
                });
                false
            }
            Wanted::UnderWay {
                ref id,
                keep_through,
                through,
                until,
            } => {
                if world.oracle.is_held_elsewhere(id, through) {
                    lose(world, id, keep_through);
                    return true;
                }
                if world.time.now() < until {
                    self.wanted = Some(wanted);
                }
                false
            }
        }
    }

    /// A log with messages that nobody has read: through where it was read, and its end.
    fn unread(&self, world: &mut World) -> Option<(LogId, Sequence, Sequence)> {
        let id = any_log(world);
        let site = id.0;
        let read = world.oracle.last(&id);
        let last = world.sites[site].nats.look(&id.1, |log| log.span().1)?;
        let free = !world.oracle.is_disturbed(&id) && !self.protects(site, world.time.now());
        (last > read && free).then_some((id, read, last))
    }

    /// Loses a part that the agents of the log have applied.
    fn lose_applied(&mut self, world: &mut World) -> bool {
        let id = any_log(world);
        let site = id.0;
        let agents = world
            .slots
            .iter()
            .filter(|slot| slot.machine.site == site && slot.machine.role == Role::Agent);
        let serves = |slot: &crate::world::Slot| {
            let handle = slot.run.as_ref()?.agent()?.core.handle(&id.1).ok()?;
            let served = handle.served();
            (!slot.paused && served.refusal().is_none()).then_some(())
        };
        let all_serve = agents.into_iter().all(|slot| serves(slot).is_some());
        if !all_serve || world.oracle.is_disturbed(&id) || world.sites[site].nats.servers() != Servers::Answer
        {
            return false;
        }
        let last = world.oracle.last(&id);
        let lost = world.random.u64(1..20);
        if last.0 <= lost + 4 {
            return false;
        }
        self.protected.insert(site, world.time.now() + PROTECTED);
        lose(world, &id, Sequence(last.0 - lost));
        true
    }
}

fn any_log(world: &mut World) -> LogId {
    let site = world.random.usize(0..world.sites.len());
    let shard = world.shards[world.random.usize(0..world.shards.len())].clone();
    (site, shard)
}

/// Kills the agents of a region at once.
fn take_agents_away(world: &mut World, site: usize) {
    for slot in 0..world.slots.len() {
        let machine = &world.slots[slot].machine;
        if machine.site == site && machine.role == Role::Agent && world.slots[slot].run.is_some() {
            world.kill(slot, AWAY);
        }
    }
}

fn lose(world: &mut World, id: &LogId, keep_through: Sequence) {
    let (site, shard) = id;
    let last = world.sites[*site]
        .nats
        .look(shard, |log| log.span().1)
        .unwrap_or_default();
    let text = format!(
        "{} {shard} after {keep_through} of {last}",
        world.sites[*site].name
    );
    say(world, Fault::LostTail, &text);
    world.sites[*site].nats.lose_tail(shard, keep_through);
    let handles = world.handles();
    let held = |cell: &CellId, version: &Version| {
        let of_site = handles
            .iter()
            .filter(|(_, index, handle)| index == site && handle.shard() == shard);
        let mut versions =
            of_site.filter_map(|(_, _, handle)| Some(handle.served().store.held(cell)?.cell.version.clone()));
        versions.any(|held| held >= *version)
    };
    let is_read = handles.iter().any(|(_, index, _)| index == site);
    world.oracle.lost_tail(id, keep_through, is_read, held);
}
