//! A simulated machine with one process: the real tasks of an agent or a gateway on their own
//! runtime, whose time the world advances.
//!
//! Dropping the runtime is a kill: every task ends between two of its steps, and no peer is
//! notified. A machine that is not stepped is paused; when it continues, its time jumps, as after
//! SIGSTOP.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use isthmus_door::History;
use isthmus_door::history::Teller;
use isthmus_door::names::{LookupError, Names};
use isthmus_gateway::Gateway;
use isthmus_gateway::shared::Shared;
use isthmus_log::Ports;
use isthmus_log::nats::ConnectionState;
use isthmus_region_agent::agent;
use isthmus_region_agent::region::Region;
use isthmus_replication::names::RegionName;
use isthmus_runtime::Process;
use isthmus_runtime::clock::Clock;
use isthmus_runtime::metrics::Metrics;
use isthmus_runtime::settings::{AgentSettings, Environment, GatewaySettings, Settings};
use isthmus_runtime::telemetry::Tracer;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::network::Network;
use crate::time::{MachineClock, Time};
use crate::trace;

/// The process that a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A region agent.
    Agent,
    /// A gateway.
    Gateway,
}

/// What remains of a machine when its process ends.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Unique in the world.
    pub number: usize,
    /// Its name in the trace.
    pub name: Arc<str>,
    /// The process that it runs.
    pub role: Role,
    /// The index of its region.
    pub site: usize,
    /// Its region.
    pub region: RegionName,
    /// Its settings file.
    pub settings: PathBuf,
    /// Its clock.
    pub clock: MachineClock,
}

/// One run of a machine's process.
pub struct Run {
    machine: Machine,
    runtime: Runtime,
    origin: Instant,
    born: Duration,
    process: Handles,
    failure: Arc<OnceLock<String>>,
}

enum Handles {
    Agent(Arc<OnceLock<Region>>),
    Gateway(Arc<OnceLock<Shared>>),
}

impl Run {
    /// Starts the process of `machine`.
    ///
    /// # Errors
    /// When the settings cannot be loaded, or the runtime or the gateway cannot be built.
    pub fn start(
        machine: &Machine,
        time: &Time,
        ports: Ports,
        connection: watch::Receiver<ConnectionState>,
        network: &Network,
    ) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let _within = trace::enter(&machine.name, time);
        let born = time.now();
        let failure = Arc::new(OnceLock::new());
        let (origin, process) = {
            let _runtime = runtime.enter();
            let origin = Instant::now();
            let clock = machine_clock(machine.clock.clone(), origin, born);
            let environment = Environment::empty();
            let process = match machine.role {
                Role::Agent => {
                    let settings = AgentSettings::load(&machine.settings, &environment)?;
                    let process = process_of("agent", settings, clock);
                    let assembled = Arc::default();
                    runtime.spawn(run_agent(
                        process,
                        ports,
                        connection,
                        Arc::clone(&assembled),
                        Arc::clone(&failure),
                    ));
                    Handles::Agent(assembled)
                }
                Role::Gateway => {
                    let settings = GatewaySettings::load(&machine.settings, &environment)?;
                    let process = process_of("gateway", settings, clock);
                    let links = network.machine(&machine.region, machine.number);
                    let listener = Box::new(links.listen(process.settings.link.listen));
                    let assembled: Arc<OnceLock<Shared>> = Arc::default();
                    let gateway = Gateway::new(&process, ports, Arc::new(links))?;
                    let shown = Arc::clone(&assembled);
                    let failed = Arc::clone(&failure);
                    runtime.spawn(async move {
                        shown.set(gateway.shared.clone()).ok();
                        let supervisor = process.supervisor.clone();
                        let failure = match gateway.start(connection, listener, Arc::new(NoNames)).await {
                            Ok(()) => supervisor.failed().await.to_string(),
                            Err(error) => format!("{error:#}"),
                        };
                        failed.set(failure).ok();
                    });
                    Handles::Gateway(assembled)
                }
            };
            (origin, process)
        };
        Ok(Self {
            machine: machine.clone(),
            runtime,
            origin,
            born,
            process,
            failure,
        })
    }

    /// Runs everything that is due up to `now`.
    pub fn step(&self, time: &Time) {
        let _within = trace::enter(&self.machine.name, time);
        let until = self.origin + (time.now() - self.born);
        self.runtime.block_on(async { sleep_until(until).await });
    }

    /// Continues after a pause: time jumps to `now`.
    pub fn wake(&self, time: &Time) {
        let _within = trace::enter(&self.machine.name, time);
        let until = self.origin + (time.now() - self.born);
        self.runtime.block_on(async {
            let behind = until.saturating_duration_since(Instant::now());
            tokio::time::advance(behind).await;
        });
    }

    /// Why the process failed; `None` while it runs.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The agent, once it is assembled.
    pub fn agent(&self) -> Option<&Region> {
        match &self.process {
            Handles::Agent(region) => region.get(),
            Handles::Gateway(_) => None,
        }
    }

    /// The gateway, once it is assembled.
    pub fn gateway(&self) -> Option<&Shared> {
        match &self.process {
            Handles::Gateway(shared) => shared.get(),
            Handles::Agent(_) => None,
        }
    }

    /// Adds a task to the process.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }
}

async fn run_agent(
    process: Process<AgentSettings>,
    ports: Ports,
    connection: watch::Receiver<ConnectionState>,
    assembled: Arc<OnceLock<Region>>,
    failure: Arc<OnceLock<String>>,
) {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let settings = &process.settings.process;
    let teller = Teller {
        region: settings.region.to_string(),
        role: isthmus_log::Role::Agent,
        process: settings.name.to_string(),
    };
    let started = async {
        let history = History::new(&process, teller)?;
        let region = agent::start(&process, ports, connection, history).await?;
        agent::keep_member(&process, &region, nowhere, nowhere)?;
        anyhow::Ok(region)
    };
    let started = started.await;
    let settings = match started {
        Ok(region) => {
            assembled.set(region).ok();
            process.supervisor.failed().await.to_string()
        }
        Err(error) => format!("{error:#}"),
    };
    failure.set(settings).ok();
}

fn process_of<S>(name: &str, settings: S, clock: Clock) -> Process<S> {
    Process::new(settings, clock, Metrics::new(name, "simulated"), Tracer::off())
}

/// A machine's wall clock: its runtime's time plus the clock's error.
fn machine_clock(clock: MachineClock, origin: Instant, born: Duration) -> Clock {
    Clock::with_wall(move || clock.wall(born + Instant::now().saturating_duration_since(origin)))
}

/// Finds nothing: simulated gateways have addresses, not names.
struct NoNames;

impl Names for NoNames {
    fn hosts<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Vec<std::net::IpAddr>, LookupError>> {
        Box::pin(async { Err(LookupError::Empty) })
    }

    fn services<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Vec<(String, u16)>, LookupError>> {
        Box::pin(async { Err(LookupError::Empty) })
    }
}
