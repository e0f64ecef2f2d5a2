//! Logs that lose an acknowledged tail. The lost tail is one of:
//!
//! - what all agents have applied;
//! - what nobody has read;
//! - what no agent has read and another region already has;
//! - what stopped agents hold beyond what another region has (an earlier copy of NATS' files was
//!   restored while they were stopped);
//! - the whole log (NATS lost its disk, or the stream was deleted).

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_log::memory::Servers;
use isthmus_replication::cell::CellId;
use isthmus_replication::coordinates::{Sequence, Shard};
use isthmus_replication::version::Version;

use super::{cut_off, say};
use crate::node::Role;
use crate::oracle::LogId;
use crate::plan::Fault;
use crate::world::{Slot, World};

/// How long the processes of a region are left alone after an applied tail is lost: the agents must
/// first restore what they hold.
const PROTECTED: Duration = Duration::from_secs(20);
/// How long the agents that have not read a tail stay down, so that another region receives it.
const AWAY: Duration = Duration::from_secs(4);
/// After NATS' files were copied, other regions receive the messages that follow for this long.
/// Then only the agents do, for this long again.
const COPIED: Duration = Duration::from_secs(2);
/// How long it takes until a deleted stream is created again.
const MISSED: Duration = Duration::from_secs(30);
/// How long agents stay stopped after other regions can reach the region again: those must notice
/// the loss first.
const STOPPED: Duration = Duration::from_secs(9);

/// What is to be lost as soon as it exists.
#[derive(Debug)]
enum Wanted {
    /// Messages that nobody has read.
    Unread,
    /// Messages that no agent has read and that another region is to have.
    Forwarded,
    /// The agents are down, and the messages after `keep_through`, up to `through`, are on their
    /// way to the other regions.
    UnderWay {
        id: LogId,
        keep_through: Sequence,
        through: Sequence,
        until: Duration,
    },
}

/// A region whose NATS is restored from an earlier copy.
#[derive(Debug)]
struct Restore {
    site: usize,
    /// The last sequence of each log in the copy.
    copied: BTreeMap<Shard, Sequence>,
    phase: Phase,
    until: Duration,
}

/// The phase of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Messages after the copy reach the other regions.
    Forwarded,
    /// Messages reach only the region's agents: the region is cut off.
    CutOff,
    /// The agents are stopped during the loss, and the other regions can reach the region again.
    Stopped,
}

/// The tails that are being lost.
#[derive(Debug, Default)]
pub(super) struct Tails {
    protected: BTreeMap<usize, Duration>,
    wanted: Option<Wanted>,
    restore: Option<Restore>,
}

impl Tails {
    /// Whether the region's processes are left alone.
    pub(super) fn protects(&self, site: usize, now: Duration) -> bool {
        self.protected.get(&site).is_some_and(|until| *until > now)
    }

    /// Draws a loss. Returns whether it happened at once.
    pub(super) fn begin(&mut self, world: &mut World) -> bool {
        let wanted = match world.random.u32(0..3) {
            0 => return self.lose_applied(world),
            1 => Wanted::Unread,
            _ => Wanted::Forwarded,
        };
        self.wanted.get_or_insert(wanted);
        false
    }

    /// Copies the files of a region's NATS, to restore them later. Never a loss at once, so it
    /// returns false.
    pub(super) fn begin_restore(&mut self, world: &mut World) -> bool {
        let site = world.random.usize(0..world.sites.len());
        if self.restore.is_none() && self.is_whole(world, site) {
            let span = |shard: &Shard| world.sites[site].nats.with_log(shard, |log| log.span().1);
            let copied = world
                .shards
                .iter()
                .filter_map(|shard| Some((shard.clone(), span(shard)?)));
            self.restore = Some(Restore {
                site,
                copied: copied.collect(),
                phase: Phase::Forwarded,
                until: world.time.now() + COPIED,
            });
            self.protected
                .insert(site, world.time.now() + 3 * COPIED + STOPPED + PROTECTED);
        }
        false
    }

    fn step_restore(&mut self, world: &mut World) -> bool {
        let now = world.time.now();
        let Some(restore) = self.restore.as_mut().filter(|restore| restore.until <= now) else {
            return false;
        };
        let site = restore.site;
        match restore.phase {
            Phase::Forwarded => {
                (restore.phase, restore.until) = (Phase::CutOff, now + COPIED);
                cut_off(world, site, true);
                false
            }
            Phase::CutOff => {
                (restore.phase, restore.until) = (Phase::Stopped, now + STOPPED);
                let copied = restore.copied.clone();
                let silence = Duration::from_millis(world.random.u64(0..8_000));
                world.sites[site].nats.silence_readers(STOPPED + silence);
                stop_agents(world, site);
                for (shard, keep_through) in copied {
                    lose(world, Fault::TornRestore, &(site, shard), keep_through);
                }
                cut_off(world, site, false);
                true
            }
            Phase::Stopped => {
                self.restore = None;
                wake_agents(world, site);
                false
            }
        }
    }

    /// Loses everything that a region's NATS holds. In half of the cases its agents are killed with
    /// it.
    pub(super) fn lose_disk(&mut self, world: &mut World) -> bool {
        let site = world.random.usize(0..world.sites.len());
        if !self.is_whole(world, site) {
            return false;
        }
        self.protected.insert(site, world.time.now() + PROTECTED);
        let silence = Duration::from_millis(world.random.u64(0..8_000));
        world.sites[site].nats.silence_readers(silence);
        world.sites[site].nats.lose_disk();
        let checkpointed = checkpointed(world, site);
        if world.random.bool() {
            let down = Duration::from_millis(world.random.u64(100..4_000));
            kill_agents(world, site, down);
        }
        for (shard, through) in checkpointed {
            lose_under(world, Fault::DiskLost, &(site, shard), Sequence::NONE, through);
        }
        true
    }

    /// Deletes a region's streams of leases and journals, and in half of the cases those of its
    /// logs.
    pub(super) fn delete_streams(&mut self, world: &mut World) -> bool {
        let site = world.random.usize(0..world.sites.len());
        if !self.is_whole(world, site) {
            return false;
        }
        let with_logs = world.random.bool();
        self.protected.insert(site, world.time.now() + MISSED + PROTECTED);
        world.sites[site].nats.delete_streams(with_logs);
        let logs = if with_logs {
            world.shards.clone()
        } else {
            Vec::new()
        };
        let text = format!(
            "{}: leases, journals and {} logs",
            world.sites[site].name,
            logs.len()
        );
        say(world, Fault::StreamsDeleted, &text);
        for shard in logs {
            lose(world, Fault::StreamsDeleted, &(site, shard), Sequence::NONE);
        }
        true
    }

    /// Ends the losses in progress.
    pub(super) fn heal(&mut self, world: &mut World) {
        if let Some(restore) = self.restore.take() {
            cut_off(world, restore.site, false);
            wake_agents(world, restore.site);
        }
        *self = Self::default();
    }

    /// Loses the wanted tail if it exists. Returns the fault that happened.
    pub(super) fn step(&mut self, world: &mut World) -> Option<Fault> {
        if self.step_restore(world) {
            return Some(Fault::TornRestore);
        }
        self.lose_wanted(world).then_some(Fault::LostTail)
    }

    fn lose_wanted(&mut self, world: &mut World) -> bool {
        let Some(wanted) = self.wanted.take() else {
            return false;
        };
        match wanted {
            Wanted::Unread => {
                let Some((id, read, _)) = self.unread(world) else {
                    self.wanted = Some(Wanted::Unread);
                    return false;
                };
                lose(world, Fault::LostTail, &id, read);
                true
            }
            Wanted::Forwarded => {
                self.wanted = Some(match self.unread(world) {
                    Some((id, keep_through, through)) => {
                        kill_agents(world, id.0, AWAY);
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
                    lose(world, Fault::LostTail, id, keep_through);
                    return true;
                }
                if world.time.now() < until {
                    self.wanted = Some(wanted);
                }
                false
            }
        }
    }

    /// A log with messages that nobody has read: the last sequence read, and the last sequence.
    fn unread(&self, world: &mut World) -> Option<(LogId, Sequence, Sequence)> {
        let id = any_log(world);
        let site = id.0;
        let read = world.oracle.last(&id);
        let last = world.sites[site].nats.with_log(&id.1, |log| log.span().1)?;
        let free = !world.oracle.is_disturbed(&id) && !self.protects(site, world.time.now());
        (last > read && free).then_some((id, read, last))
    }

    /// Loses a part that the agents of the log have applied.
    fn lose_applied(&mut self, world: &mut World) -> bool {
        let id = any_log(world);
        let site = id.0;
        if !self.is_whole(world, site) {
            return false;
        }
        let last = world.oracle.last(&id);
        let lost = world.random.u64(1..20);
        if last.0 <= lost + 4 {
            return false;
        }
        self.protected.insert(site, world.time.now() + PROTECTED);
        lose(world, Fault::LostTail, &id, Sequence(last.0 - lost));
        true
    }

    /// Whether all agents of a region serve, and its logs are undisturbed.
    fn is_whole(&self, world: &World, site: usize) -> bool {
        let agents = world
            .slots
            .iter()
            .filter(|slot| slot.machine.site == site && slot.machine.role == Role::Agent);
        let serves = |slot: &Slot| {
            let agent = slot.run.as_ref()?.agent()?;
            let all = agent
                .core
                .shards()
                .all(|handle| handle.served().refusal().is_none());
            (!slot.paused && all).then_some(())
        };
        let all_serve = agents.into_iter().all(|slot| serves(slot).is_some());
        let mut shards = world.shards.iter();
        let disturbed = shards.any(|shard| world.oracle.is_disturbed(&(site, shard.clone())));
        all_serve
            && !disturbed
            && !self.protects(site, world.time.now())
            && world.sites[site].nats.servers() == Servers::Answer
    }
}

fn any_log(world: &mut World) -> LogId {
    let site = world.random.usize(0..world.sites.len());
    let shard = world.shards[world.random.usize(0..world.shards.len())].clone();
    (site, shard)
}

/// Kills all running agents of a region. They stay down for `down`.
fn kill_agents(world: &mut World, site: usize, down: Duration) {
    for slot in 0..world.slots.len() {
        let machine = &world.slots[slot].machine;
        if machine.site == site && machine.role == Role::Agent && world.slots[slot].run.is_some() {
            world.kill(slot, down);
        }
    }
}

/// Stops the agents of a region, as SIGSTOP does.
fn stop_agents(world: &mut World, site: usize) {
    for slot in &mut world.slots {
        slot.paused |= slot.machine.site == site && slot.machine.role == Role::Agent;
    }
}

fn wake_agents(world: &mut World, site: usize) {
    for slot in &mut world.slots {
        if slot.machine.site == site
            && slot.machine.role == Role::Agent
            && std::mem::replace(&mut slot.paused, false)
            && let Some(run) = &slot.run
        {
            run.wake(&world.time);
        }
    }
}

/// Through which sequence the checkpoints of a region's agents hold each log.
fn checkpointed(world: &World, site: usize) -> BTreeMap<Shard, Sequence> {
    let mut through = BTreeMap::new();
    for (_, _, handle) in world.handles().iter().filter(|(_, index, _)| *index == site) {
        let held: &mut Sequence = through.entry(handle.shard().clone()).or_default();
        *held = handle.served().checkpointed.max(*held);
    }
    through
}

fn lose(world: &mut World, fault: Fault, id: &LogId, keep_through: Sequence) {
    lose_under(world, fault, id, keep_through, Sequence::NONE);
}

/// Loses a tail. If no agent runs, checkpoints hold what was lost through `checkpointed`.
fn lose_under(world: &mut World, fault: Fault, id: &LogId, keep_through: Sequence, checkpointed: Sequence) {
    let (site, shard) = id;
    let last = world.sites[*site]
        .nats
        .with_log(shard, |log| log.span().1)
        .unwrap_or_default();
    let text = format!(
        "{} {shard} after {keep_through} of {last}",
        world.sites[*site].name
    );
    say(world, fault, &text);
    world.sites[*site].nats.lose_tail(shard, keep_through);
    let handles = world.handles();
    let agents_run = handles.iter().any(|(_, index, _)| index == site);
    let held = |cell: &CellId, version: &Version, at: Sequence| {
        let of_site = handles
            .iter()
            .filter(|(_, index, handle)| index == site && handle.shard() == shard);
        let mut versions =
            of_site.filter_map(|(_, _, handle)| Some(handle.served().store.held(cell)?.cell.version.clone()));
        versions.any(|held| held >= *version) || !agents_run && at <= checkpointed
    };
    world.oracle.lost_tail(id, keep_through, agents_run, held);
}
