//! `isthmus chaos`: three regions of real processes under writes and reads, with faults drawn from
//! a seed, and a check of the history.

mod inject;
pub(crate) mod kind;
mod schedule;
mod summary;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::fleet::ports::PortChoice;
use crate::fleet::{self, Fleet};
use crate::folder::PORT_BASE;
use crate::folder::init;
use crate::history::{record, verdict};
use crate::output::note_lines;
use crate::recording::Recording;
use kind::Kind;
use schedule::Planned;
pub(crate) use summary::Summary;

const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// How long all agents may take to become equal after the last write.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);
const BUCKET: &str = "chaos";
/// Few keys, so that writes of all regions meet.
const KEYS: u64 = 400;
const WRITERS: u64 = 4;
const READERS: u64 = 2;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// A new or empty folder.
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    /// How long writes run.
    pub(crate) writes: Duration,
    /// The enabled kinds of faults; each must happen.
    pub(crate) kinds: Vec<Kind>,
}

/// Running regions and their planned faults.
pub(crate) struct Chaos {
    fleet: Fleet,
    order: Order,
    schedule: Vec<Planned>,
}

impl Chaos {
    /// Draws the faults, writes the folder and starts all processes.
    pub(crate) async fn start(order: Order) -> Result<Self, Failure> {
        let names = REGIONS.map(str::to_owned);
        let schedule = schedule::draw(order.seed, order.writes, &order.kinds, &names);
        let missing = |kind: &&Kind| !schedule.iter().any(|planned| planned.kind == **kind);
        if let Some(kind) = order.kinds.iter().find(missing) {
            return Err(Failure::settings(format!(
                "{} s are too short for {} kinds of faults: {kind} is not drawn; use more --seconds or fewer --only",
                order.writes.as_secs(),
                order.kinds.len()
            )));
        }
        write_folder(&order.folder)?;
        let up = fleet::Order {
            folder: order.folder.clone(),
            ports: PortChoice::Auto,
            round_trip: ROUND_TRIP,
        };
        let fleet = Fleet::start(&up, &|line| note_lines(line)).await?;
        Ok(Self {
            fleet,
            order,
            schedule,
        })
    }

    /// Runs writes, reads and faults until the time is over, then checks the history.
    pub(crate) async fn run(&mut self) -> Result<Summary, Failure> {
        let run = self.fleet.run_file();
        let recording = Recording {
            file: self.order.folder.join("history.ndjson"),
            bucket: BUCKET.to_owned(),
            lasts: self.order.writes,
            keys: KEYS,
            writers: WRITERS,
            readers: READERS,
            settle: SETTLES_WITHIN,
        };
        let faults = inject::put_all(&self.order.folder, Instant::now(), &self.schedule);
        let work = async { tokio::join!(recording.record(&run), faults) };
        tokio::pin!(work);
        let (recorded, fates) = loop {
            tokio::select! {
                event = self.fleet.next_event() => note_lines(format_args!("           {event}")),
                done = &mut work => break done,
            }
        };
        let recorded = recorded?;
        let history = std::fs::File::open(&recording.file).map_err(Failure::environment)?;
        let history = record::read(history).map_err(Failure::environment)?;
        Ok(Summary::new(
            (self.order.seed, self.order.writes),
            &self.order.kinds,
            &fates,
            &recorded,
            verdict::judge(&history),
        ))
    }

    pub(crate) async fn stop(self) {
        self.fleet.stop().await;
    }
}

fn write_folder(folder: &Path) -> Result<(), Failure> {
    let names = REGIONS.iter().map(|name| name.parse());
    let plan = init::Plan {
        set: "chaos".parse().map_err(Failure::environment)?,
        trust_domain: "isthmus.local".to_owned(),
        regions: names.collect::<Result<_, _>>().map_err(Failure::environment)?,
        port_base: PORT_BASE,
    };
    init::write(folder, &plan)?;
    Ok(())
}
