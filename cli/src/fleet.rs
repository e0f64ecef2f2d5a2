//! A folder's processes on this machine: one nats-server, two agents and two gateways per region,
//! and the network between the regions. The processes are real and read the folder's own files.
//! `ISTHMUS_*` variables carry the settings that differ between processes with the same file.

use crate::output::note;
pub mod binaries;
pub mod child;
pub mod exec_child;
mod last_words;
pub mod plan;
pub mod ports;
mod ready;
pub mod restarts;
pub mod run_state;
pub mod spawner;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use isthmus_wan::{Shape, Wan};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::folder::control_secret::{self, ControlSecretError};
use crate::folder::run_file::{LinkRun, RunFile, RunFileError, WanRun};
use crate::folder::{Folder, FolderError};
use binaries::{Binaries, BinaryError};
use child::{Child, Event, Stage};
use plan::Plan;
use ports::{PortChoice, PortError, Ports};
use ready::{Awaited, NotReady};
use run_state::RunState;
use spawner::Spawner;

const EVENTS: usize = 256;
const NATS_READY_WITHIN: Duration = Duration::from_secs(30);
const READY_WITHIN: Duration = Duration::from_secs(90);

/// What to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The folder.
    pub folder: PathBuf,
    /// Which ports to use.
    pub ports: PortChoice,
    /// The round trip between any two regions.
    pub round_trip: Duration,
}

/// Running processes. Dropping it kills them; [`Fleet::stop`] stops them in order.
pub struct Fleet {
    run_state: Arc<RunState>,
    stage: watch::Sender<Stage>,
    servers: JoinSet<()>,
    processes: JoinSet<()>,
    events: mpsc::Receiver<Event>,
    _wan: Wan,
    spawner: Spawner,
    _guard: TcpListener,
}

/// Why a folder could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be opened.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder runs already.
    #[error("{folder} is already running, in process {pid}; stop it first")]
    Running {
        /// The folder.
        folder: PathBuf,
        /// The process that runs it.
        pid: u32,
    },
    /// A program is missing.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// A port is taken.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A proxy could not listen.
    #[error("the network from {from} to {to} could not open its listener")]
    Network {
        /// The region that dials.
        from: String,
        /// The region that is dialled.
        to: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The network's control door could not listen.
    #[error("the control door of the network could not open its listener")]
    Control(#[source] std::io::Error),
    /// The secret of the control door could not be written.
    #[error(transparent)]
    Secret(#[from] ControlSecretError),
    /// The faults of an earlier run could not be cleared.
    #[error("what an earlier run left in {folder} could not be removed")]
    Leftovers {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The thread that starts processes could not be started.
    #[error("the thread that starts processes could not be started")]
    Thread(#[source] std::io::Error),
    /// `run.json` could not be written.
    #[error(transparent)]
    RunFile(#[from] RunFileError),
    /// A process ended or did not become ready.
    #[error(transparent)]
    NotReady(#[from] NotReady),
}

impl Fleet {
    /// Starts all processes and waits until they are ready. Reports each step to `progress` as one
    /// line. Stops everything again on failure.
    pub async fn start(order: &Order, progress: &(dyn Fn(&str) + Sync)) -> Result<Self, StartError> {
        let folder = Folder::open(&order.folder)?;
        if let Ok(run) = RunFile::of_running(&folder.root) {
            return Err(StartError::Running {
                folder: folder.root,
                pid: run.pid,
            });
        }
        let ports = ports::claim(order.ports, &folder.regions)?;
        let binaries = Binaries::find()?;
        let wan = Wan::new(Shape::of_round_trip(order.round_trip));
        let links = open_links(&wan, &folder, &ports).await?;
        let secret = control_secret::draw(&folder.root)?;
        let control = wan
            .serve_control(loopback(0), secret)
            .await
            .map_err(StartError::Control)?;
        let network = WanRun {
            control: Some(control),
            rtt_ms: order.round_trip.as_millis() as u64,
        };
        let plan = Plan::new(&folder, &binaries, &ports, &links);
        let root = folder.root.clone();
        plan.clear_faults()
            .map_err(|source| StartError::Leftovers { folder: root, source })?;
        let run_state = Arc::new(RunState::open(&folder, plan.run_file(network, links))?);
        let (events_in, events) = mpsc::channel(EVENTS);
        let mut fleet = Self {
            run_state,
            stage: watch::Sender::new(Stage::Running),
            servers: JoinSet::new(),
            processes: JoinSet::new(),
            events,
            _wan: wan,
            spawner: Spawner::start().map_err(StartError::Thread)?,
            _guard: ports.guard,
        };
        match fleet.bring_up(plan, &events_in, progress).await {
            Ok(()) => Ok(fleet),
            Err(error) => {
                fleet.stop().await;
                Err(error)
            }
        }
    }

    async fn bring_up(
        &mut self,
        plan: Plan,
        events: &mpsc::Sender<Event>,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<(), StartError> {
        let (awaited, servers) = plan.servers();
        for child in servers {
            self.servers.spawn(self.supervised(child, Stage::Ended, events));
        }
        self.await_ready(awaited, NATS_READY_WITHIN, progress).await?;
        let (awaited, processes) = plan.processes();
        for child in processes {
            self.processes
                .spawn(self.supervised(child, Stage::Ending, events));
        }
        self.await_ready(awaited, READY_WITHIN, progress).await?;
        self.run_state.mark_ready()?;
        Ok(())
    }

    fn supervised(
        &self,
        child: Child,
        ends_at: Stage,
        events: &mpsc::Sender<Event>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let supervision = child::Supervision {
            spawner: self.spawner.clone(),
            run_state: Arc::clone(&self.run_state),
            events: events.clone(),
            stage: self.stage.subscribe(),
            ends_at,
        };
        child.supervise(supervision)
    }

    async fn await_ready(
        &mut self,
        awaited: Vec<Awaited>,
        within: Duration,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<(), NotReady> {
        ready::wait(awaited, within, &mut self.events, progress).await
    }

    /// The running processes, as written in `run.json`.
    pub fn run_file(&self) -> RunFile {
        self.run_state.snapshot()
    }

    /// The next event of a process. Pending until there is one.
    pub async fn next_event(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Stops agents and gateways, then the NATS servers, each within its bound, and removes
    /// `run.json`.
    pub async fn stop(mut self) {
        self.stage.send_replace(Stage::Ending);
        while self.processes.join_next().await.is_some() {}
        self.stage.send_replace(Stage::Ended);
        while self.servers.join_next().await.is_some() {}
        if let Err(error) = self.run_state.close() {
            note(format_args!("isthmus: {error}"));
        }
    }
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

async fn open_links(wan: &Wan, folder: &Folder, ports: &Ports) -> Result<Vec<LinkRun>, StartError> {
    let mut listeners = ports.wan.iter();
    let mut links = Vec::new();
    for from in &folder.regions {
        for (to, target) in folder
            .regions
            .iter()
            .zip(&ports.regions)
            .filter(|(to, _)| *to != from)
        {
            for (gateway, pair) in target.gateways.iter().enumerate() {
                let listen = loopback(listeners.next().copied().unwrap_or(0));
                let failed = |source| StartError::Network {
                    from: from.to_string(),
                    to: to.to_string(),
                    source,
                };
                let link = wan
                    .link(from.as_str(), to.as_str(), listen, loopback(pair.0))
                    .await
                    .map_err(failed)?;
                links.push(LinkRun {
                    from: link.from,
                    to: link.to,
                    gateway: format!("gateway-{}", gateway + 1),
                    proxy: link.proxy,
                });
            }
        }
    }
    Ok(links)
}
