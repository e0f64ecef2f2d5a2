//! What the seed determines before the simulation starts: the shape of the set, the load, and the
//! enabled faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use isthmus_replication::names::RegionName;

use crate::network::Path;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process is killed, and starts again later.
    Kill,
    /// A machine vanishes without closing its connections, and starts again later.
    Vanish,
    /// A process is paused beyond its lease.
    Pause,
    /// Nothing gets through between two regions.
    Cut,
    /// Nothing gets through one way.
    OneWayCut,
    /// Little gets through between two regions.
    Narrow,
    /// The body of a range is not what its sender sealed.
    Garble,
    /// The streams between two regions break and lose the bytes in flight.
    Break,
    /// A region's NATS is unreachable.
    NatsAway,
    /// A region's NATS is in an election: no stream is found.
    Election,
    /// A region's NATS does not answer appends.
    NotWritable,
    /// Appends land long after their publisher gave up.
    LateAppend,
    /// Appends land and the answer is lost.
    LostAnswer,
    /// Appends land twice.
    DoubleAppend,
    /// A log loses an acknowledged tail.
    LostTail,
    /// A region's NATS is restored from an earlier copy while its agents are stopped and its peers
    /// have some of the lost part.
    TornRestore,
    /// A region's NATS loses its disk, and its streams are created again.
    DiskLost,
    /// The streams of a region's leases and journals are deleted, and sometimes those of its logs.
    StreamsDeleted,
    /// The disk of an agent is full for a while.
    DiskFull,
    /// A machine's clock steps.
    ClockStep,
    /// A machine's clock drifts.
    ClockDrift,
    /// A machine's clock is hours ahead.
    ClockAhead,
    /// The clock that stamps a log steps, back or ahead.
    NatsClockStep,
    /// The clock that stamps a log drifts.
    NatsClockDrift,
    /// One bit of a checkpoint's file is flipped.
    BitFlip,
    /// A log has little room.
    SmallLog,
    /// An agent is killed and loses its disk, while another agent of its region serves.
    Wipe,
}

/// A fault has no such name.
#[derive(Debug, thiserror::Error)]
#[error("use one of: {0}")]
pub struct UnknownName(String);

impl UnknownName {
    /// With the names that there are.
    pub(crate) fn of(names: &[&str]) -> Self {
        Self(names.join(", "))
    }
}

impl Fault {
    /// All kinds of faults.
    pub const ALL: [Self; 27] = [
        Self::Kill,
        Self::Vanish,
        Self::Pause,
        Self::Cut,
        Self::OneWayCut,
        Self::Narrow,
        Self::Garble,
        Self::Break,
        Self::NatsAway,
        Self::Election,
        Self::NotWritable,
        Self::LateAppend,
        Self::LostAnswer,
        Self::DoubleAppend,
        Self::LostTail,
        Self::TornRestore,
        Self::DiskLost,
        Self::StreamsDeleted,
        Self::DiskFull,
        Self::ClockStep,
        Self::ClockDrift,
        Self::ClockAhead,
        Self::NatsClockStep,
        Self::NatsClockDrift,
        Self::BitFlip,
        Self::SmallLog,
        Self::Wipe,
    ];

    /// Parses a name.
    ///
    /// # Errors
    /// When the name is unknown; the text lists all names.
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        found.ok_or_else(|| UnknownName::of(&Self::ALL.map(Self::name)))
    }

    /// Its name in traces and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Vanish => "vanish",
            Self::Pause => "pause",
            Self::Cut => "cut",
            Self::OneWayCut => "one-way-cut",
            Self::Narrow => "narrow",
            Self::Garble => "garble",
            Self::Break => "break",
            Self::NatsAway => "nats-away",
            Self::Election => "election",
            Self::NotWritable => "not-writable",
            Self::LateAppend => "late-append",
            Self::LostAnswer => "lost-answer",
            Self::DoubleAppend => "double-append",
            Self::LostTail => "lost-tail",
            Self::TornRestore => "torn-restore",
            Self::DiskLost => "disk-lost",
            Self::StreamsDeleted => "streams-deleted",
            Self::DiskFull => "disk-full",
            Self::ClockStep => "clock-step",
            Self::ClockDrift => "clock-drift",
            Self::ClockAhead => "clock-ahead",
            Self::NatsClockStep => "nats-clock-step",
            Self::NatsClockDrift => "nats-clock-drift",
            Self::BitFlip => "bit-flip",
            Self::SmallLog => "small-log",
            Self::Wipe => "wipe",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The faults after which a log may lack acknowledged messages.
pub const LOSSES: [Fault; 4] = [
    Fault::LostTail,
    Fault::TornRestore,
    Fault::DiskLost,
    Fault::StreamsDeleted,
];

/// What happens to appends during the trouble.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    /// When the trouble ends.
    pub until: Duration,
    /// Whether some appends land late.
    pub late_appends: bool,
    /// Whether some answers are lost.
    pub lost_answers: bool,
    /// Whether some appends land twice.
    pub double_appends: bool,
}

/// What the seed determines.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The regions.
    pub regions: Vec<RegionName>,
    /// The number of agents in each region.
    pub agents: usize,
    /// The number of gateways in each region.
    pub gateways: usize,
    /// The number of partitions of the one group.
    pub partitions: u16,
    /// The number of keys that are written.
    pub keys: u32,
    /// The number of clients in all regions together.
    pub clients: usize,
    /// Operations per second in all regions together.
    pub rate: u32,
    /// How long faults happen.
    pub trouble: Duration,
    /// The average time between two faults.
    pub pace: Duration,
    /// The enabled faults.
    pub faults: BTreeSet<Fault>,
    /// The size of a log, in KiB.
    pub log_kib: u32,
    /// The size that a log is trimmed to, in KiB.
    pub retention_kib: u32,
    /// The least length of a value, in bytes.
    pub value_bytes: usize,
}

/// Choices that replace drawn ones.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Given {
    /// These faults are on, and no other
    #[arg(long, value_delimiter = ',', value_parser = Fault::parse)]
    pub faults: Option<Vec<Fault>>,
    /// So many regions, 2 to 5
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=5))]
    pub regions: Option<u8>,
    /// So many keys
    #[arg(long)]
    pub keys: Option<u32>,
    /// So many clients in all; one alone writes nothing that has not seen everything before it
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    pub clients: Option<u8>,
}

impl Given {
    /// The choices as command line arguments.
    pub fn arguments(&self) -> Vec<String> {
        let faults = self.faults.as_ref().map(|faults| {
            let names: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
            format!("--faults={}", names.join(","))
        });
        let regions = self.regions.map(|regions| format!("--regions={regions}"));
        let keys = self.keys.map(|keys| format!("--keys={keys}"));
        let clients = self.clients.map(|clients| format!("--clients={clients}"));
        [faults, regions, keys, clients].into_iter().flatten().collect()
    }
}

/// The number of clients in each region, by default.
pub const CLIENTS: usize = 3;
/// Cloud regions with the round trips between them in milliseconds, as measured between AWS regions
/// and rounded.
const REGIONS: [&str; 5] = ["eu-west", "us-east", "ap-southeast", "sa-east", "us-west"];
const ROUND_TRIPS: [[u64; 5]; 5] = [
    [0, 70, 180, 180, 130],
    [70, 0, 220, 115, 65],
    [180, 220, 0, 320, 170],
    [180, 115, 320, 0, 175],
    [130, 65, 170, 175, 0],
];

impl Plan {
    /// The plan of a seed.
    pub fn draw(random: &mut fastrand::Rng, given: &Given) -> Self {
        let drawn = [2, 3, 3, 3, 3, 3, 4, 5][random.usize(0..8)];
        let count = given.regions.map_or(drawn, usize::from);
        let regions = REGIONS[..count]
            .iter()
            .filter_map(|name| RegionName::parse(name).ok())
            .collect();
        let likely = [0.0, 0.15, 0.15, 0.3, 0.5][random.usize(0..5)];
        let mut faults: BTreeSet<Fault> = Fault::ALL.into_iter().filter(|_| random.f64() < likely).collect();
        if random.u32(0..4) > 0 {
            faults.insert(Fault::ALL[random.usize(0..Fault::ALL.len())]);
        }
        if let Some(given) = &given.faults {
            faults = given.iter().copied().collect();
        }
        let small = faults.contains(&Fault::SmallLog);
        if small {
            // The agents of a region must not all be behind their trimmed log.
            let small = [
                Fault::SmallLog,
                Fault::Cut,
                Fault::OneWayCut,
                Fault::Garble,
                Fault::Election,
                Fault::Break,
                Fault::ClockStep,
                Fault::LostAnswer,
                Fault::Wipe,
            ];
            faults.retain(|fault| small.contains(fault));
        }
        // More must be written than gets through.
        let narrow = faults.contains(&Fault::Narrow);
        Self {
            regions,
            agents: 2 + usize::from(random.u32(0..4) == 0),
            gateways: 1 + usize::from(random.u32(0..4) > 0),
            partitions: 1 + u16::from(random.u32(0..3) == 0),
            clients: given.clients.map_or(CLIENTS * count, usize::from),
            keys: given.keys.unwrap_or([3, 10, 40, 400][random.usize(0..4)]),
            rate: if small {
                20
            } else if narrow {
                150
            } else {
                [20, 60, 150][random.usize(0..3)]
            },
            trouble: Duration::from_secs(random.u64(10..30)),
            pace: Duration::from_millis(random.u64(400..4_000)),
            faults,
            log_kib: if small { 1024 } else { 65_536 },
            retention_kib: if small { 384 } else { 16_384 },
            value_bytes: if small {
                3_000
            } else if narrow {
                400
            } else {
                0
            },
        }
    }

    /// Whether a log may lose acknowledged messages.
    pub fn loses_logs(&self) -> bool {
        LOSSES.into_iter().any(|fault| self.has(fault))
    }

    /// Whether `fault` is enabled.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// What happens to appends.
    pub fn trouble(&self) -> Trouble {
        Trouble {
            until: self.trouble,
            late_appends: self.has(Fault::LateAppend),
            lost_answers: self.has(Fault::LostAnswer),
            double_appends: self.has(Fault::DoubleAppend),
        }
    }

    /// The round trip from a region to another one.
    pub fn round_trip(&self, from: usize, to: &RegionName) -> Duration {
        let to = self
            .regions
            .iter()
            .position(|region| region == to)
            .unwrap_or(from);
        Duration::from_millis(ROUND_TRIPS[from][to])
    }

    /// The paths between the regions.
    pub fn paths(&self) -> BTreeMap<(RegionName, RegionName), Path> {
        let mut paths = BTreeMap::new();
        for (i, from) in self.regions.iter().enumerate() {
            for (j, to) in self.regions.iter().enumerate() {
                let one_way = Duration::from_millis(ROUND_TRIPS[i][j] / 2);
                let path = Path::new(one_way, one_way / 8);
                paths.insert((from.clone(), to.clone()), path);
            }
        }
        paths
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<&str> = self.faults.iter().map(|fault| fault.name()).collect();
        write!(
            f,
            "{} regions of {} agents and {} gateways, {} partitions, {} keys, {} operations/s, {} s of trouble: {}",
            self.regions.len(),
            self.agents,
            self.gateways,
            self.partitions,
            self.keys,
            self.rate,
            self.trouble.as_secs(),
            if faults.is_empty() {
                "no faults".to_owned()
            } else {
                faults.join(" ")
            }
        )
    }
}
