//! Faults as they begin and end.

use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_log::memory::Servers;
use isthmus_replication::coordinates::Sequence;

use crate::node::Role;
use crate::plan::{Fault, Plan};
use crate::site::Site;
use crate::trace;
use crate::world::World;

/// After a lost tail the processes of its region are left alone so long: what they hold must be given back first.
const PROTECTED: Duration = Duration::from_secs(20);
const HOURS: i64 = 8 * 3_600_000_000;

/// What ends a fault.
#[derive(Debug, Clone)]
enum Heal {
    Wake(usize),
    Path(usize, usize),
    Servers(usize),
    Clock(usize),
    NatsClock(usize),
}

/// The faults of one world.
pub struct Faults {
    on: Vec<Fault>,
    pace: Duration,
    next: Duration,
    heals: Vec<(Duration, Heal)>,
    fired: BTreeMap<Fault, u64>,
    protected: BTreeMap<usize, Duration>,
    wants_unread_loss: bool,
}

impl Faults {
    /// The faults that `plan` lets happen, the first one after `calm`.
    pub fn new(plan: &Plan, calm: Duration) -> Self {
        let drawn_elsewhere = [Fault::LateAppend, Fault::LostAnswer, Fault::SmallLog];
        let on = plan
            .faults
            .iter()
            .copied()
            .filter(|fault| !drawn_elsewhere.contains(fault));
        let mut fired = BTreeMap::new();
        if plan.has(Fault::SmallLog) {
            fired.insert(Fault::SmallLog, 1);
        }
        Self {
            on: on.collect(),
            pace: plan.pace,
            next: calm,
            heals: Vec::new(),
            fired,
            protected: BTreeMap::new(),
            wants_unread_loss: false,
        }
    }

    /// Ends what is due and begins what is drawn.
    pub fn step(&mut self, world: &mut World) {
        let now = world.time.now();
        let (due, later) = std::mem::take(&mut self.heals)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.heals = later;
        for (_, heal) in due {
            self.heal(world, &heal);
        }
        if self.wants_unread_loss && self.lose_unread(world) {
            self.wants_unread_loss = false;
        }
        if now < self.next || self.on.is_empty() {
            return;
        }
        self.next = now + self.pace.mul_f64(2.0 * world.random.f64());
        let fault = self.on[world.random.usize(0..self.on.len())];
        if self.begin(world, fault) {
            *self.fired.entry(fault).or_default() += 1;
        }
    }

    /// Ends every fault.
    pub fn heal_all(&mut self, world: &mut World) {
        for (_, heal) in std::mem::take(&mut self.heals) {
            self.heal(world, &heal);
        }
        self.wants_unread_loss = false;
        let soon = world.time.now();
        for slot in &mut world.slots {
            slot.machine.clock.drift(0);
            if slot.run.is_none() {
                slot.starts_at = Some(slot.starts_at.map_or(soon, |at| at.min(soon)));
            }
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
                set_cut(world, one, other, true);
                self.until(world, lasts, Heal::Path(one, other));
                if fault == Fault::Cut {
                    set_cut(world, other, one, true);
                    self.until(world, lasts, Heal::Path(other, one));
                }
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
            Fault::LostTail => return self.lose_tail(world),
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
            Fault::LateAppend | Fault::LostAnswer | Fault::SmallLog => return false,
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
            Heal::Path(from, to) => set_cut(world, from, to, false),
            Heal::Servers(site) => world.sites[site].set_servers(Servers::Answer),
            Heal::Clock(slot) => world.slots[slot].machine.clock.correct(),
            Heal::NatsClock(site) => step_nats_clock(world, site, None),
        }
    }

    /// A machine whose process runs, is not paused, and whose region may be disturbed.
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
        self.protected
            .get(&site)
            .is_some_and(|until| *until > world.time.now())
    }

    /// Lets a log lose its tail: either what nobody has read, as soon as there is such, or a part that its agents have applied.
    fn lose_tail(&mut self, world: &mut World) -> bool {
        if world.random.bool() {
            self.wants_unread_loss = true;
            return false;
        }
        let site = world.random.usize(0..world.sites.len());
        let shard = world.shards[world.random.usize(0..world.shards.len())].clone();
        let id = (site, shard);
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

    /// Loses what nobody has read, if there is any.
    fn lose_unread(&mut self, world: &mut World) -> bool {
        let site = world.random.usize(0..world.sites.len());
        let shard = world.shards[world.random.usize(0..world.shards.len())].clone();
        let id = (site, shard);
        let read = world.oracle.last(&id);
        let last = world.sites[site].nats.look(&id.1, |log| log.span().1);
        if last.is_none_or(|last| last <= read) || world.oracle.is_disturbed(&id) {
            return false;
        }
        lose(world, &id, read);
        *self.fired.entry(Fault::LostTail).or_default() += 1;
        true
    }

    /// How often each fault that was on happened.
    pub fn fired(&self, sites: &[Site]) -> BTreeMap<Fault, u64> {
        let mut fired = self.fired.clone();
        for fates in sites.iter().map(Site::fates) {
            for (fault, times) in [
                (Fault::LateAppend, fates.late),
                (Fault::LostAnswer, fates.unanswered),
            ] {
                if times > 0 {
                    *fired.entry(fault).or_default() += times;
                }
            }
        }
        fired
    }

    /// Alarms that no fault explains.
    pub fn unexpected_alarms(&self) -> Vec<String> {
        let has = |fault| self.fired.contains_key(&fault) || self.on.contains(&fault);
        let explained = |kind: &str| match kind {
            "log_not_writable" => [
                Fault::NatsAway,
                Fault::Election,
                Fault::NotWritable,
                Fault::LateAppend,
                Fault::LostAnswer,
                Fault::Pause,
            ]
            .into_iter()
            .any(has),
            "checkpoint_discarded" => has(Fault::BitFlip) || has(Fault::LostTail) || has(Fault::SmallLog),
            "new_life" | "tail_lost" | "life_suspected" => has(Fault::LostTail),
            "clock_ahead" | "lane_held" => has(Fault::ClockAhead) || has(Fault::NatsClockStep),
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

fn set_cut(world: &World, from: usize, to: usize, cut: bool) {
    let (from, to) = (&world.sites[from].name, &world.sites[to].name);
    world.network.change(from, to, |path| path.cut = cut);
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

fn lose(world: &mut World, id: &crate::oracle::LogId, keep_through: Sequence) {
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
    let held = |cell: &isthmus_replication::cell::CellId, version: &isthmus_replication::version::Version| {
        let of_site = handles
            .iter()
            .filter(|(_, index, handle)| index == site && handle.shard() == shard);
        let mut versions =
            of_site.filter_map(|(_, _, handle)| Some(handle.served().store.held(cell)?.cell.version.clone()));
        versions.any(|held| held >= *version)
    };
    world.oracle.lost_tail(id, keep_through, held);
}

/// Changes one byte of the checkpoint of an agent that is down.
fn flip(world: &mut World, slot: usize) -> bool {
    let machine = &world.slots[slot].machine;
    let shard = &world.shards[0];
    let folder = machine.settings.with_file_name(format!("data-{}", machine.name));
    let path = folder.join(format!("{}-{}.redb", shard.group, shard.partition));
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
