//! Starts and heals the faults of a world.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use isthmus_log::memory::Servers;

mod tails;

use self::tails::Tails;
use crate::network::Path;
use crate::node::{Machine, Role};
use crate::plan::{Fault, LOSSES, Plan};
use crate::site::Site;
use crate::trace;
use crate::world::World;

const HOURS: i64 = 8 * 3_600_000_000;

/// The heal that ends a fault.
#[derive(Debug, Clone)]
enum Heal {
    Wake(usize),
    Path(usize, usize),
    Narrow(usize, usize),
    Servers(usize),
    Disk(usize),
    Clock(usize),
    NatsClock(usize),
}

/// The faults of one world.
pub struct Faults {
    enabled: BTreeSet<Fault>,
    /// Those of them that are drawn here.
    drawn: Vec<Fault>,
    pace: Duration,
    next: Duration,
    heals: Vec<(Duration, Heal)>,
    fired: BTreeMap<Fault, u64>,
    tails: Tails,
}

impl Faults {
    /// The faults that `plan` enables, the first one after `calm`.
    pub fn new(plan: &Plan, calm: Duration) -> Self {
        let drawn_elsewhere = [
            Fault::LateAppend,
            Fault::LostAnswer,
            Fault::DoubleAppend,
            Fault::SmallLog,
        ];
        let enabled: BTreeSet<Fault> = plan.faults.iter().copied().collect();
        let drawn = plan
            .faults
            .iter()
            .copied()
            .filter(|fault| !drawn_elsewhere.contains(fault));
        let mut fired = BTreeMap::new();
        if plan.has(Fault::SmallLog) {
            fired.insert(Fault::SmallLog, 1);
        }
        Self {
            enabled,
            drawn: drawn.collect(),
            pace: plan.pace,
            next: calm,
            heals: Vec::new(),
            fired,
            tails: Tails::default(),
        }
    }

    /// Heals the faults that are due and starts the one that is drawn.
    pub fn step(&mut self, world: &mut World) {
        let now = world.time.now();
        let (due, later) = std::mem::take(&mut self.heals)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.heals = later;
        for (_, heal) in due {
            self.heal(world, &heal);
        }
        if let Some(fault) = self.tails.step(world) {
            *self.fired.entry(fault).or_default() += 1;
        }
        self.note_garbled(world);
        if now < self.next || self.drawn.is_empty() {
            return;
        }
        self.next = now + self.pace.mul_f64(2.0 * world.random.f64());
        let fault = self.drawn[world.random.usize(0..self.drawn.len())];
        if self.begin(world, fault) {
            *self.fired.entry(fault).or_default() += 1;
        }
    }

    /// Heals every fault.
    pub fn heal_all(&mut self, world: &mut World) {
        for (_, heal) in std::mem::take(&mut self.heals) {
            self.heal(world, &heal);
        }
        self.tails.heal(world);
        world.network.garble_nothing();
        self.note_garbled(world);
        let soon = world.time.now();
        for slot in &mut world.slots {
            slot.machine.clock.drift(0);
            if slot.run.is_none() {
                slot.starts_at = Some(slot.starts_at.map_or(soon, |at| at.min(soon)));
            }
        }
    }

    fn note_garbled(&mut self, world: &mut World) {
        for garbled in world.network.take_garbled() {
            let text = format!("{} of {}", garbled.range.through.sequence, garbled.range.origin);
            say(world, Fault::Garble, &text);
            *self.fired.entry(Fault::Garble).or_default() += 1;
        }
    }

    fn begin(&mut self, world: &mut World, fault: Fault) -> bool {
        let millis = |world: &mut World, range| Duration::from_millis(world.random.u64(range));
        match fault {
            Fault::Kill | Fault::Vanish => {
                let Some(slot) = self.any_slot(world, None) else {
                    return false;
                };
                if fault == Fault::Vanish {
                    world.network.vanish(world.slots[slot].machine.number);
                }
                let down = millis(world, 50..8_000);
                say(world, fault, &world.slots[slot].machine.name.clone());
                world.kill(slot, down);
            }
            Fault::BitFlip => {
                let Some(slot) = self.any_slot(world, Some(Role::Agent)) else {
                    return false;
                };
                let down = millis(world, 50..2_000);
                world.kill(slot, down);
                return flip(world, slot);
            }
            Fault::Wipe => {
                let Some(slot) = self.any_slot(world, Some(Role::Agent)) else {
                    return false;
                };
                if !world.has_another_server(slot) {
                    return false;
                }
                say(world, fault, &world.slots[slot].machine.name.clone());
                let down = millis(world, 50..2_000);
                world.kill(slot, down);
                return std::fs::remove_dir_all(data_of(&world.slots[slot].machine)).is_ok();
            }
            Fault::Pause => {
                let Some(slot) = self.any_slot(world, None) else {
                    return false;
                };
                let lasts = millis(world, 300..12_000);
                say(
                    world,
                    fault,
                    &format!("{} for {lasts:?}", world.slots[slot].machine.name),
                );
                world.slots[slot].paused = true;
                self.until(world, lasts, Heal::Wake(slot));
            }
            Fault::Cut | Fault::OneWayCut => {
                let (one, other) = pair(world);
                let lasts = millis(world, 200..20_000);
                say(
                    world,
                    fault,
                    &format!(
                        "{} to {} for {lasts:?}",
                        world.sites[one].name, world.sites[other].name
                    ),
                );
                change_path(world, one, other, |path| path.cut = true);
                self.until(world, lasts, Heal::Path(one, other));
                if fault == Fault::Cut {
                    change_path(world, other, one, |path| path.cut = true);
                    self.until(world, lasts, Heal::Path(other, one));
                }
            }
            Fault::Narrow => {
                let (one, other) = pair(world);
                let (rate, lasts) = (world.random.u32(1_000..12_000), millis(world, 1_000..20_000));
                let (from, to) = (&world.sites[one].name, &world.sites[other].name);
                say(
                    world,
                    fault,
                    &format!("{from} to {to}: {rate} bytes/s for {lasts:?}"),
                );
                change_path(world, one, other, |path| path.bytes_per_second = Some(rate));
                self.until(world, lasts, Heal::Narrow(one, other));
            }
            Fault::Garble => {
                let (one, other) = pair(world);
                change_path(world, one, other, |path| path.garble = true);
                return false;
            }
            Fault::Break => {
                let (one, other) = pair(world);
                let broken = world
                    .network
                    .break_streams(&world.sites[one].name, &world.sites[other].name);
                say(world, fault, &format!("{broken} directions"));
                return broken > 0;
            }
            Fault::NatsAway | Fault::Election | Fault::NotWritable => {
                let site = world.random.usize(0..world.sites.len());
                if world.sites[site].nats.servers() != Servers::Answer || self.is_protected(world, site) {
                    return false;
                }
                let (servers, lasts) = match fault {
                    Fault::NatsAway => (Servers::Away, millis(world, 200..8_000)),
                    Fault::Election => (Servers::Elect, millis(world, 4_000..9_000)),
                    _ => (Servers::TakeNoAppends, millis(world, 2_000..12_000)),
                };
                say(world, fault, &format!("{} for {lasts:?}", world.sites[site].name));
                world.sites[site].set_servers(servers);
                self.until(world, lasts, Heal::Servers(site));
            }
            Fault::LostTail => return self.tails.begin(world),
            Fault::TornRestore => return self.tails.begin_restore(world),
            Fault::DiskLost => return self.tails.lose_disk(world),
            Fault::StreamsDeleted => return self.tails.delete_streams(world),
            Fault::DiskFull => {
                let Some(slot) = self.any_slot(world, Some(Role::Agent)) else {
                    return false;
                };
                let lasts = millis(world, 3_000..15_000);
                say(
                    world,
                    fault,
                    &format!("{} for {lasts:?}", world.slots[slot].machine.name),
                );
                world.slots[slot].disk_full = true;
                self.until(world, lasts, Heal::Disk(slot));
            }
            Fault::ClockStep | Fault::ClockAhead => {
                let Some(slot) = self.any_slot(world, None) else {
                    return false;
                };
                let micros = match fault {
                    Fault::ClockAhead => HOURS,
                    _ => world.random.i64(-4_000_000..=450_000),
                };
                say(
                    world,
                    fault,
                    &format!("{} by {micros} us", world.slots[slot].machine.name),
                );
                world.slots[slot].machine.clock.correct();
                world.slots[slot].machine.clock.step(micros);
                let lasts = millis(world, 500..10_000);
                self.until(world, lasts, Heal::Clock(slot));
            }
            Fault::ClockDrift => {
                let slot = world.random.usize(0..world.slots.len());
                let ppm = world.random.i64(-20_000..=10_000);
                world.slots[slot].machine.clock.drift(ppm);
                say(
                    world,
                    fault,
                    &format!("{} by {ppm} ppm", world.slots[slot].machine.name),
                );
            }
            Fault::NatsClockStep => {
                let site = world.random.usize(0..world.sites.len());
                let micros = world.random.i64(-2_000_000..=1_500_000);
                say(
                    world,
                    fault,
                    &format!("{} by {micros} us", world.sites[site].name),
                );
                step_nats_clock(world, site, Some(micros));
                let lasts = millis(world, 500..10_000);
                self.until(world, lasts, Heal::NatsClock(site));
            }
            Fault::NatsClockDrift => {
                let site = world.random.usize(0..world.sites.len());
                let ppm = world.random.i64(-20_000..=20_000);
                say(world, fault, &format!("{} by {ppm} ppm", world.sites[site].name));
                world.sites[site].clock.drift(ppm);
                let lasts = millis(world, 2_000..20_000);
                self.until(world, lasts, Heal::NatsClock(site));
            }
            Fault::LateAppend | Fault::LostAnswer | Fault::DoubleAppend | Fault::SmallLog => return false,
        }
        true
    }

    fn until(&mut self, world: &World, lasts: Duration, heal: Heal) {
        self.heals.push((world.time.now() + lasts, heal));
    }

    fn heal(&mut self, world: &mut World, heal: &Heal) {
        match *heal {
            Heal::Wake(slot) => {
                let slot = &mut world.slots[slot];
                if std::mem::replace(&mut slot.paused, false)
                    && let Some(run) = &slot.run
                {
                    run.wake(&world.time);
                }
            }
            Heal::Path(from, to) => change_path(world, from, to, |path| path.cut = false),
            Heal::Narrow(from, to) => change_path(world, from, to, |path| path.bytes_per_second = None),
            Heal::Servers(site) => world.sites[site].set_servers(Servers::Answer),
            Heal::Disk(slot) => world.slots[slot].disk_full = false,
            Heal::Clock(slot) => world.slots[slot].machine.clock.correct(),
            Heal::NatsClock(site) => step_nats_clock(world, site, None),
        }
    }

    /// A machine whose process runs and is not paused, and whose region may be disturbed.
    fn any_slot(&self, world: &mut World, role: Option<Role>) -> Option<usize> {
        let candidates: Vec<usize> = (0..world.slots.len())
            .filter(|index| {
                let slot = &world.slots[*index];
                let fits = role.is_none_or(|role| slot.machine.role == role);
                fits && slot.run.is_some() && !slot.paused && !self.is_protected(world, slot.machine.site)
            })
            .collect();
        (!candidates.is_empty()).then(|| candidates[world.random.usize(0..candidates.len())])
    }

    fn is_protected(&self, world: &World, site: usize) -> bool {
        self.tails.protects(site, world.time.now())
    }

    /// How often each enabled fault happened.
    pub fn fired(&self, sites: &[Site]) -> BTreeMap<Fault, u64> {
        let mut fired = self.fired.clone();
        for fates in sites.iter().map(Site::fates) {
            for (fault, times) in [
                (Fault::LateAppend, fates.late),
                (Fault::LostAnswer, fates.unanswered),
                (Fault::DoubleAppend, fates.twice),
            ] {
                if times > 0 {
                    *fired.entry(fault).or_default() += times;
                }
            }
        }
        fired
    }

    /// Alarms that no enabled fault explains.
    pub fn unexpected_alarms(&self) -> Vec<String> {
        let has = |fault| self.enabled.contains(&fault);
        let loses_logs = LOSSES.into_iter().any(has);
        let disks_lost = self.fired.get(&Fault::DiskLost).copied().unwrap_or(0);
        let explained = |kind: &str| match kind {
            "log_not_writable" => [
                Fault::NatsAway,
                Fault::Election,
                Fault::NotWritable,
                Fault::LateAppend,
                Fault::LostAnswer,
                Fault::Pause,
                Fault::StreamsDeleted,
            ]
            .into_iter()
            .any(has),
            "checkpoint_discarded" => has(Fault::BitFlip) || has(Fault::SmallLog) || loses_logs,
            "new_life" | "tail_lost" | "life_suspected" | "tail_held_by_peer" | "peer_lost_tail"
            | "regions_differ" => loses_logs,
            // Agents that were killed together with the disk come back without the lives that peers
            // know.
            "log_made_anew" => disks_lost >= 1,
            // What a region lost with its disk may remain with one agent of another region that
            // lost its own disk.
            "agents_differ" => disks_lost >= 2,
            // Several elections in a row may last longer than one alone.
            "stream_missing" => has(Fault::Election) || has(Fault::StreamsDeleted),
            "log_unreadable" => has(Fault::StreamsDeleted),
            "checkpoint_failed" => has(Fault::DiskFull),
            "needs_sync" => has(Fault::Wipe) || has(Fault::SmallLog),
            "peer_needs_sync" => has(Fault::SmallLog),
            "sync_without_source" => has(Fault::SmallLog) || has(Fault::Garble),
            "undecodable" | "changes_missing" => has(Fault::Garble),
            // A step alone is within what is allowed, and so is drift alone.
            "clock_ahead" | "lane_held" => {
                let alone = [Fault::ClockAhead, Fault::NatsClockStep, Fault::NatsClockDrift];
                alone.into_iter().any(has) || has(Fault::ClockStep) && has(Fault::ClockDrift)
            }
            _ => false,
        };
        let alarms = trace::alarms().into_iter();
        alarms
            .filter(|(kind, _)| !explained(kind))
            .flat_map(|(kind, texts)| {
                texts
                    .into_iter()
                    .take(3)
                    .map(move |text| format!("alarm {kind}: {text}"))
            })
            .collect()
    }
}

fn say(world: &World, fault: Fault, text: &str) {
    trace::world(&world.time, &format!("FAULT {fault}: {text}"));
}

fn pair(world: &mut World) -> (usize, usize) {
    let one = world.random.usize(0..world.sites.len());
    let other = (one + world.random.usize(1..world.sites.len())) % world.sites.len();
    (one, other)
}

/// Cuts or heals every path from and to a region.
fn cut_off(world: &World, site: usize, cut: bool) {
    for other in (0..world.sites.len()).filter(|other| *other != site) {
        change_path(world, site, other, |path| path.cut = cut);
        change_path(world, other, site, |path| path.cut = cut);
    }
}

/// Changes one direction between two regions.
fn change_path(world: &World, from: usize, to: usize, change: impl FnOnce(&mut Path)) {
    let (from, to) = (&world.sites[from].name, &world.sites[to].name);
    world.network.change(from, to, change);
}

fn step_nats_clock(world: &World, site: usize, micros: Option<i64>) {
    match micros {
        Some(micros) => world.sites[site].clock.step(micros),
        None => world.sites[site].clock.correct(),
    }
    for shard in &world.shards {
        world.sites[site].nats.elect(shard);
    }
}

/// The folder of an agent's checkpoints.
fn data_of(machine: &Machine) -> PathBuf {
    machine.settings.with_file_name(format!("data-{}", machine.name))
}

/// Flips one bit in the checkpoint of an agent that is down.
fn flip(world: &mut World, slot: usize) -> bool {
    let machine = &world.slots[slot].machine;
    let shard = &world.shards[0];
    let path = data_of(machine).join(format!("{}-{}.redb", shard.group, shard.partition));
    let Ok(mut bytes) = std::fs::read(&path) else {
        return false;
    };
    let at = world.random.usize(0..bytes.len().max(1));
    let Some(byte) = bytes.get_mut(at) else {
        return false;
    };
    *byte ^= 1 << world.random.u32(0..8);
    let name = world.slots[slot].machine.name.to_string();
    say(
        world,
        Fault::BitFlip,
        &format!("byte {at} of a checkpoint of {name}"),
    );
    std::fs::write(&path, bytes).is_ok()
}
