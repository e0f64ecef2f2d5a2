//! What a seed decides before anything happens: the shape of the set, the load, and which faults are on.

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
    /// A machine vanishes without a word, and starts again later.
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
    /// The streams between two regions break and lose what is under way.
    Break,
    /// A region's NATS is away.
    NatsAway,
    /// A region's NATS elects: no stream is found.
    Election,
    /// A region's NATS answers no appends.
    NotWritable,
    /// Appends land long after their publisher gave up.
    LateAppend,
    /// Appends land and the answer is lost.
    LostAnswer,
    /// Appends land twice.
    DoubleAppend,
    /// A log loses an acknowledged tail.
    LostTail,
    /// A region's NATS is put back to an earlier copy while its agents are stopped and its peers have some of what is lost.
    TornRestore,
    /// A region's NATS loses its disk, and its streams are made again.
    DiskLost,
    /// The streams of a region's leases and journals are deleted, and at times those of its logs.
    StreamsDeleted,
    /// The disk of an agent takes nothing more for a while.
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
    /// A checkpoint's file is changed by the disk.
    BitFlip,
    /// A log has little room.
    SmallLog,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 26] = [
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
    ];

    /// Reads a name.
    ///
    /// # Errors
    /// The names that there are.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        found.ok_or_else(|| format!("use one of: {}", Self::ALL.map(Self::name).join(", ")))
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
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The faults after which a log may lack what it acknowledged.
pub const LOSSES: [Fault; 4] = [
    Fault::LostTail,
    Fault::TornRestore,
    Fault::DiskLost,
    Fault::StreamsDeleted,
];

/// How appends fare while there is trouble.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    /// Until when.
    pub until: Duration,
    /// Some land late.
    pub late_appends: bool,
    /// Some answers are lost.
    pub lost_answers: bool,
    /// Some land twice.
    pub double_appends: bool,
}

/// What a seed decides.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The regions.
    pub regions: Vec<RegionName>,
    /// Agents of each region.
    pub agents: usize,
    /// Gateways of each region.
    pub gateways: usize,
    /// Partitions of the one group.
    pub partitions: u16,
    /// Keys that are written.
    pub keys: u32,
    /// Clients in all regions together.
    pub clients: usize,
    /// Operations a second in all regions together.
    pub rate: u32,
    /// While faults happen.
    pub trouble: Duration,
    /// Between two faults on average.
    pub pace: Duration,
    /// The faults that are on.
    pub faults: BTreeSet<Fault>,
    /// Size of a log.
    pub log_kib: u32,
    /// What a log is trimmed to.
    pub retention_kib: u32,
    /// Values are at least so long.
    pub value_bytes: usize,
}

/// What is given instead of drawn.
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
    /// As arguments of the command line.
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

/// Clients of each region.
pub const CLIENTS: usize = 3;
/// Cloud regions with the round trips between them in milliseconds, as measured between AWS regions and rounded.
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
            // What a trimmed log no longer has must come by sync.
            faults.retain(|fault| {
                matches!(
                    fault,
                    Fault::SmallLog | Fault::Break | Fault::ClockStep | Fault::LostAnswer
                )
            });
        }
        // What is written must be more than gets through.
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

    /// Whether a log may lose what it acknowledged.
    pub fn loses_logs(&self) -> bool {
        LOSSES.into_iter().any(|fault| self.has(fault))
    }

    /// Whether `fault` is on.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// How appends fare.
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

    /// The paths between its regions.
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
