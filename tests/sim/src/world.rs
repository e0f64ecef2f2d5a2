//! The world: regions, machines, clients and time, advanced step by step.
//!
//! A step advances time by [`crate::time::TICK`], delivers what is due in the network and in every
//! NATS, starts and heals faults, steps every machine in order, checks everything, and lets clients
//! send operations. First there is trouble. Then everything heals, and the world must come to rest,
//! with every agent of every region equal, within `BUDGET`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use isthmus_region_agent::shard::ShardHandle;
use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::{GroupName, Key, RegionName, SetName};
use tempfile::TempDir;

use crate::clients::{self, Answers, Asked, Client};
use crate::disk;
use crate::faults::Faults;
use crate::folder;
use crate::lag;
use crate::network::Network;
use crate::node::{Machine, Role, Run};
use crate::oracle::Oracle;
use crate::plan::{CLIENTS, Fault, Given, Plan};
use crate::site::Site;
use crate::time::{MachineClock, Time};
use crate::trace;

/// The world must be at rest this long after everything has healed.
const BUDGET: Duration = Duration::from_secs(120);
/// The time before trouble starts, for a first mark and a leader.
const CALM: Duration = Duration::from_secs(3);
/// How often the world is checked for rest.
const LOOK: Duration = Duration::from_millis(250);
/// A failed process starts again after this.
const RESTART: Duration = Duration::from_millis(500);

/// A machine and its process.
pub struct Slot {
    /// The machine.
    pub machine: Machine,
    /// Its process, unless it is down.
    pub run: Option<Run>,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether its disk is full.
    pub disk_full: bool,
    /// The number of this run of its process, among all runs in the world.
    pub number: usize,
    /// When a process that is down starts again.
    pub starts_at: Option<Duration>,
}

/// Everything that is simulated.
pub struct World {
    /// Its time.
    pub time: Time,
    /// What the seed determines.
    pub plan: Plan,
    /// The random numbers that the world draws as it runs.
    pub random: fastrand::Rng,
    /// The regions.
    pub sites: Vec<Site>,
    /// The machines.
    pub slots: Vec<Slot>,
    /// The network between regions.
    pub network: Network,
    /// The shards.
    pub shards: Vec<Shard>,
    /// The checks of what must hold.
    pub oracle: Oracle,
    /// The expected error of reported lag.
    pub expected_lag: lag::Expected,
    folder: TempDir,
    clients: Vec<Client>,
    answers: Answers,
    asked: u64,
    next_operation: Duration,
    runs: usize,
}

/// The result of a simulation.
#[derive(Debug)]
pub struct Report {
    /// The checks that failed; empty if all passed.
    pub violations: Vec<String>,
    /// How often each enabled fault happened.
    pub fired: BTreeMap<Fault, u64>,
    /// The simulated time.
    pub lasted: Duration,
    /// The answers to clients.
    pub outcomes: crate::oracle::ClientOutcomes,
    /// Ranges that stand for more changes than they bring.
    pub conflated: u64,
    /// How often a reported lag was compared with the true one.
    pub lags: u64,
    /// How often a part of two regions' stores had to be equal.
    pub compared: u64,
    /// Writes that were overwritten unseen.
    pub conflicts: u64,
}

impl World {
    /// A world before its first step.
    ///
    /// # Errors
    /// When there is no folder, or a file cannot be written.
    pub fn new(seed: u64, given: &Given) -> anyhow::Result<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = Plan::draw(&mut random, given);
        let time = Time::default();
        let folder = folder::scratch()?;
        trace::leave_out(folder.path());
        let set = SetName::parse("sim")?;
        let sites: Vec<Site> = (0..plan.regions.len())
            .map(|index| {
                let gateways = (0..plan.gateways)
                    .map(|gateway| address(index, gateway))
                    .collect();
                let (name, seed) = (&plan.regions[index], random.u64(..));
                Site::new(&set, name, &time, plan.trouble(), seed, gateways)
            })
            .collect();
        let regions: Vec<(RegionName, Vec<SocketAddr>)> = sites
            .iter()
            .map(|site| (site.name.clone(), site.gateways.clone()))
            .collect();
        folder::write_set(folder.path(), &plan, &regions)?;
        let network = Network::new(time.clone(), random.u64(..), plan.paths());
        let group = GroupName::parse("default")?;
        let shards: Vec<Shard> = (0..plan.partitions)
            .map(|partition| Shard {
                group: group.clone(),
                partition,
            })
            .collect();
        let oracle = Oracle::new(&sites, &shards);
        let clients = (0..plan.clients).map(|_| Client::default()).collect();
        let mut world = Self {
            expected_lag: lag::Expected::of(&plan),
            time,
            plan,
            random,
            sites,
            slots: Vec::new(),
            network,
            shards,
            oracle,
            folder,
            clients,
            answers: Answers::default(),
            asked: 0,
            next_operation: CALM,
            runs: 0,
        };
        world.make_machines()?;
        Ok(world)
    }

    fn make_machines(&mut self) -> anyhow::Result<()> {
        for site in 0..self.sites.len() {
            let agents = (0..self.plan.agents).map(|index| (Role::Agent, index));
            let gateways = (0..self.plan.gateways).map(|index| (Role::Gateway, index));
            for (role, index) in agents.chain(gateways) {
                let region = self.sites[site].name.clone();
                let name = match role {
                    Role::Agent => format!("{region}-a{index}"),
                    Role::Gateway => format!("{region}-g{index}"),
                };
                let listen = address(site, index);
                let settings =
                    folder::write_process(self.folder.path(), &self.plan, role, &region, &name, listen)?;
                let machine = Machine {
                    number: self.slots.len(),
                    name: name.into(),
                    role,
                    site,
                    region,
                    settings,
                    clock: MachineClock::default(),
                };
                self.slots.push(Slot {
                    machine,
                    run: None,
                    paused: false,
                    disk_full: false,
                    number: 0,
                    starts_at: Some(Duration::ZERO),
                });
            }
        }
        Ok(())
    }

    /// Runs the simulation to its end.
    ///
    /// # Errors
    /// When the simulation itself fails: settings, files.
    pub fn run(mut self) -> anyhow::Result<Report> {
        trace::world(&self.time, &self.plan.to_string());
        let mut faults = Faults::new(&self.plan, CALM);
        while self.time.now() < CALM + self.plan.trouble && self.oracle.violations.is_empty() {
            self.step(|world| faults.step(world))?;
            self.clients();
        }
        faults.heal_all(&mut self);
        trace::world(&self.time, "everything heals");
        self.rest()?;
        let handles = self.handles();
        if self.oracle.violations.is_empty() {
            self.oracle.check_end(&handles);
        }
        let mut violations = std::mem::take(&mut self.oracle.violations);
        violations.extend(faults.unexpected_alarms());
        violations.extend(self.faultless_troubles());
        for violation in &violations {
            trace::world(&self.time, &format!("VIOLATION {violation}"));
        }
        Ok(Report {
            violations,
            fired: faults.fired(&self.sites),
            lasted: self.time.now(),
            outcomes: self.oracle.outcomes,
            conflated: self.oracle.conflated,
            lags: self.oracle.lags,
            compared: self.oracle.compared_parts(),
            conflicts: self.oracle.conflicts(),
        })
    }

    /// Without any fault, no operation may be refused or left open, and nothing may be warned of.
    fn faultless_troubles(&self) -> Vec<String> {
        if !self.plan.faults.is_empty() {
            return Vec::new();
        }
        let outcomes = self.oracle.outcomes;
        let open = (outcomes.refused + outcomes.unknown > 0)
            .then(|| format!("without any fault clients got {outcomes:?}"));
        let warnings = trace::warnings()
            .into_iter()
            .map(|text| format!("without any fault: {text}"));
        open.into_iter().chain(warnings).collect()
    }

    /// Runs until the world is at rest.
    fn rest(&mut self) -> anyhow::Result<()> {
        let end = self.time.now() + BUDGET;
        let mut why = None;
        while self.oracle.violations.is_empty() {
            self.step(|_| {})?;
            self.take_answers();
            if !self.time.now().as_millis().is_multiple_of(LOOK.as_millis()) {
                continue;
            }
            why = self.not_at_rest();
            if why.is_none() {
                return Ok(());
            }
            if self.time.now() >= end {
                break;
            }
        }
        if let Some(why) = why.filter(|_| self.oracle.violations.is_empty()) {
            self.oracle
                .violations
                .push(format!("no rest within {BUDGET:?}: {why}"));
        }
        Ok(())
    }

    fn not_at_rest(&self) -> Option<String> {
        let down = self.slots.iter().find(|slot| {
            slot.run
                .as_ref()
                .is_none_or(|run| run.agent().is_none() && run.gateway().is_none())
        });
        if let Some(slot) = down {
            return Some(format!("{} is down", slot.machine.name));
        }
        let differs = self.oracle.differs(&self.handles());
        differs.or_else(|| self.aside_differs())
    }

    /// Compares the writes set aside, unless logs lose messages: a log that is read again over a
    /// store with newer writes can name a conflict that was none. What an agent has not stored when
    /// it ends is not set aside (docs/known-gaps.md).
    fn aside_differs(&self) -> Option<String> {
        if self.plan.loses_logs() {
            return None;
        }
        let ends = [Fault::Kill, Fault::Vanish, Fault::BitFlip];
        let all = !ends.into_iter().any(|fault| self.plan.has(fault));
        self.oracle.aside_differs(&self.sites, all)
    }

    /// Advances time by one step.
    fn step(&mut self, faults: impl FnOnce(&mut Self)) -> anyhow::Result<()> {
        self.time.tick();
        self.network.advance();
        for site in &self.sites {
            site.nats.advance();
        }
        faults(self);
        self.restart()?;
        for slot in self.slots.iter().filter(|slot| !slot.paused) {
            if let Some(run) = &slot.run {
                let _full = slot.disk_full.then(disk::fill);
                run.step(&self.time);
            }
        }
        self.oracle.read_logs(&self.sites);
        for slot in &self.slots {
            let Some(region) = slot.run.as_ref().and_then(Run::agent) else {
                continue;
            };
            for handle in region.core.shards() {
                self.oracle
                    .observe(&slot.machine.name, slot.number, slot.machine.site, handle);
            }
        }
        if self.time.now().as_millis().is_multiple_of(lag::LOOK.as_millis()) {
            let (lies, compared) = lag::lies(self);
            self.oracle.violations.extend(lies);
            self.oracle.lags += compared;
            let handles = self.handles();
            self.oracle.compare(&handles);
        }
        if self.oracle.any_disturbed() {
            let handles = self.handles();
            self.oracle.settle(&handles);
        }
        Ok(())
    }

    /// Starts the processes that are due, and ends the ones that failed, to start again later.
    fn restart(&mut self) -> anyhow::Result<()> {
        let now = self.time.now();
        for slot in &mut self.slots {
            let failure = slot.run.as_ref().and_then(|run| run.failure().map(str::to_owned));
            if let Some(failure) = failure {
                trace::world(&self.time, &format!("{} ended: {failure}", slot.machine.name));
                slot.run = None;
                slot.starts_at = Some(now + RESTART);
            }
            if slot.starts_at.is_some_and(|at| at <= now) {
                slot.starts_at = None;
                self.runs += 1;
                slot.number = self.runs;
                let site = &self.sites[slot.machine.site];
                slot.run = Some(Run::start(
                    &slot.machine,
                    &self.time,
                    site.nats.ports(),
                    site.connection(),
                    &self.network,
                )?);
            }
        }
        Ok(())
    }

    /// Kills the process of a machine.
    pub fn kill(&mut self, slot: usize, starts_again_after: Duration) {
        let starts_at = self.time.now() + starts_again_after;
        let slot = &mut self.slots[slot];
        self.network.stop_listening(slot.machine.number);
        slot.run = None;
        slot.paused = false;
        slot.starts_at = Some(starts_at);
    }

    /// Takes answers, and sends the operations that are due.
    fn clients(&mut self) {
        self.take_answers();
        while self.next_operation <= self.time.now() {
            let between = 2_000_000 / u64::from(self.plan.rate);
            self.next_operation += Duration::from_micros(self.random.u64(0..=between));
            self.ask();
        }
    }

    fn ask(&mut self) {
        let index = self.random.usize(0..self.clients.len());
        let home = index / CLIENTS % self.sites.len();
        let site = if self.random.u32(0..8) == 0 {
            self.random.usize(0..self.sites.len())
        } else {
            home
        };
        let agents: Vec<usize> = (0..self.slots.len())
            .filter(|slot| {
                let slot = &self.slots[*slot];
                slot.machine.site == site && slot.machine.role == Role::Agent
            })
            .collect();
        let slot = &self.slots[agents[self.random.usize(0..agents.len())]];
        let key = self.random.u32(0..self.plan.keys);
        let Ok(key) = Key::parse(&format!("key/{key}")) else {
            return;
        };
        let (Some(run), false) = (&slot.run, self.clients[index].busy) else {
            return;
        };
        let Some(region) = run.agent() else {
            return;
        };
        self.asked += 1;
        let writes = match self.random.u32(0..10) {
            0..4 => None,
            4 => Some(None),
            _ => Some(Some(
                format!("value {:0>1$}", self.asked, self.plan.value_bytes).into(),
            )),
        };
        let asked = Asked {
            number: self.asked,
            client: index,
            site,
            key,
            writes,
        };
        let client = &mut self.clients[index];
        clients::ask(&mut self.random, client, &asked, region, run, &self.answers);
    }

    fn take_answers(&mut self) {
        let now = MachineClock::default().wall(self.time.now());
        for answered in self.answers.take() {
            let client = &mut self.clients[answered.asked.client];
            self.oracle.answered(client, &answered, now);
        }
    }

    /// Whether another agent of the region serves every shard.
    pub fn has_another_server(&self, slot: usize) -> bool {
        let site = self.slots[slot].machine.site;
        let mut others = self.slots.iter().enumerate().filter(|(index, other)| {
            *index != slot && other.machine.site == site && !other.paused && other.run.is_some()
        });
        others.any(|(_, other)| {
            let region = other.run.as_ref().and_then(Run::agent);
            region.is_some_and(|region| {
                region
                    .core
                    .shards()
                    .all(|shard| shard.served().refusal().is_none())
            })
        })
    }

    /// The shards of every running agent.
    pub fn handles(&self) -> Vec<(String, usize, ShardHandle)> {
        let mut handles = Vec::new();
        for slot in &self.slots {
            let Some(region) = slot.run.as_ref().and_then(Run::agent) else {
                continue;
            };
            for handle in region.core.shards() {
                handles.push((slot.machine.name.to_string(), slot.machine.site, handle.clone()));
            }
        }
        handles
    }
}

fn address(site: usize, gateway: usize) -> SocketAddr {
    let [site, gateway] = [site, gateway].map(|index| u8::try_from(index + 1).unwrap_or(u8::MAX));
    (Ipv4Addr::new(10, site, 0, gateway), 7443).into()
}
