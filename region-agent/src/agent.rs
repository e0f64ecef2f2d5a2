//! Assembly of an agent: the listeners are bound first, then come NATS, the shards and the region's
//! tasks, and the doors open last.

use std::sync::Arc;

use isthmus_door::history::Teller;
use isthmus_door::names::SystemNames;
use isthmus_door::region::{Client, check_region, connect_region, log_settings};
use isthmus_door::{Doors, History, Limits, OpenDoor};
use isthmus_log::nats::{Connection, ConnectionState};
use isthmus_log::{Ports, Role, ServerClock};
use isthmus_replication::coordinates::WriterId;
use isthmus_replication::lease::Holder;
use isthmus_replication::planted::{self, Planted};
use isthmus_runtime::health::Probe;
use isthmus_runtime::settings::{AgentSettings, BucketRights};
use isthmus_runtime::supervise::TaskKind;
use isthmus_runtime::{Process, open_files, random};
use tokio::sync::watch;

use crate::admin::{self, Assembled};
use crate::doctor::Doctor;
use crate::door;
use crate::memory::Memory;
use crate::metrics::{AgentMetrics, gauges};
use crate::operation::{Core, Policy};
use crate::peers::Peers;
use crate::region::{self, Region};
use crate::shard::{self, Context};
use crate::traced::TracedChanges;

/// Starts everything, and returns once the doors are open.
///
/// # Errors
/// When the process can't start.
pub async fn assemble(process: Process<AgentSettings>) -> anyhow::Result<()> {
    let settings = Arc::clone(&process.settings);
    let doors = Doors::new(&process);
    let shards = settings.process.set.shards_for(&settings.process.region).len();
    let connections = open_files::share(open_files::limit(), shards as u64, true)?;
    connections.tell();
    let admin = isthmus_door::bind_admin(&process, &doors, &connections).await?;
    let limits = Limits::of_applications(&connections);
    let door = OpenDoor::bind(&process, "http", &[], |settings| &settings.door, &doors, limits).await?;
    let (admin_at, door_at) = (admin.address(), door.address());
    let assembled = Assembled::default();
    let teller = Teller {
        region: settings.process.region.to_string(),
        role: Role::Agent,
        process: settings.process.name.to_string(),
    };
    let history = History::new(&process, teller)?;
    let connected = Arc::default();
    let doctor = Doctor {
        settings: Arc::clone(&settings),
        connection: Arc::clone(&connected),
        assembled: Arc::clone(&assembled),
        doors: [admin.tls(), door.tls()].into_iter().flatten().collect(),
        connections,
        clock: process.clock.clone(),
    };
    let examine = move || doctor.clone().examine();
    let admin_routes = admin::router(&process, &assembled, history.clone())
        .merge(isthmus_door::doctor::router(history.teller(), examine));
    isthmus_door::serve_admin(&process, admin, admin_routes)?;

    let connection = connect(&process).await?;
    connected.set(connection.clone()).ok();
    let region = start(&process, connection.ports(), connection.state(), history).await?;
    assembled.set(region.clone()).ok();
    keep_member(&process, &region, door_at, admin_at)?;
    open_door(&process, door, Arc::clone(&region.core))
}

/// Starts the shards and tasks of an agent of the region behind `ports`, once the region's NATS
/// answers and has the streams that they need.
///
/// # Errors
/// When the log differs from the settings, a checkpoint can't be used, or a task can't be started.
pub async fn start(
    process: &Process<AgentSettings>,
    ports: Ports,
    connection: watch::Receiver<ConnectionState>,
    history: History,
) -> anyhow::Result<Region> {
    let settings = &process.settings.process;
    let context = context(process, ports, connection).await?;
    let (journal, ports) = (Arc::clone(&context.ports.journal), context.ports.clone());
    let carried = history.clone();
    process
        .supervisor
        .spawn(TaskKind::Work, "events", |stop| carried.carry(journal, stop))?;
    let mut shards = Vec::new();
    for shard in settings.set.shards_for(&settings.region) {
        shards.push(shard::spawn(context.clone(), &shard).await?);
    }
    let policy = Policy::new(Arc::clone(&settings.set), settings.region.clone());
    let core = Arc::new(Core::new(context, policy, shards, Arc::new(Peers::default())));
    let region = Region::new(core);
    let shown = region.clone();
    process.metrics.sampled(move || gauges::of_region(&shown));
    spawn_region(process, &region)?;
    let held = settings.set.shards_for(&settings.region);
    let missing = region.missing_streams.clone();
    isthmus_door::streams::watch(process, ports, held, log_settings(settings), missing, history)?;
    Ok(region)
}

fn open_door(
    process: &Process<AgentSettings>,
    door: OpenDoor<BucketRights>,
    core: Arc<Core>,
) -> anyhow::Result<()> {
    let gate = door.gate().clone();
    let routes = isthmus_door::no_foreign_pages(door::router(core, gate.clone()), gate);
    door.serve(process, TaskKind::Door, routes)?;
    Ok(())
}

async fn connect(process: &Process<AgentSettings>) -> anyhow::Result<Connection> {
    let settings = &process.settings.process;
    let client = Client::of_process(settings, Role::Agent);
    Ok(connect_region(settings, client, &SystemNames::default()).await?)
}

/// Waits for the region's NATS, and checks its streams and leases.
async fn context(
    process: &Process<AgentSettings>,
    ports: Ports,
    mut connection: watch::Receiver<ConnectionState>,
) -> anyhow::Result<Context> {
    let settings = &process.settings.process;
    let nats = process.health.condition("nats", &[Probe::Read, Probe::Write]);
    check_region(settings, &ports, &mut connection, &nats).await?;
    let (aside, waiting) = isthmus_door::aside::queue(process);
    let journal = Arc::clone(&ports.journal);
    process
        .supervisor
        .spawn(TaskKind::Work, "aside", |stop| waiting.append(journal, stop))?;
    let clock = process.clock.clone();
    let memory = Arc::new(Memory::new(process.settings.memory));
    let limited = Arc::clone(&memory);
    process.on_reload("memory limits".to_owned(), move |settings| {
        limited.limit(settings.memory)
    })?;
    Ok(Context {
        server_clock: ServerClock::new(Arc::new(move || clock.now())),
        aside,
        metrics: AgentMetrics::new(&process.metrics),
        traced: TracedChanges::default(),
        memory,
        run: if planted::is(Planted::WriterReused) {
            WriterId(1)
        } else {
            random::writer_id()?
        },
        connection,
        other_agents: watch::Sender::default(),
        process: process.clone(),
        ports,
    })
}

/// Keeps the lease that announces this agent and its addresses to the region's processes.
///
/// # Errors
/// When a task can't be started.
pub fn keep_member(
    process: &Process<AgentSettings>,
    region: &Region,
    http: std::net::SocketAddr,
    admin: std::net::SocketAddr,
) -> anyhow::Result<()> {
    let region = region.clone();
    process.supervisor.spawn(TaskKind::Work, "member lease", |stop| {
        region::keep_member(region, http, admin, stop)
    })?;
    Ok(())
}

fn spawn_region(process: &Process<AgentSettings>, region: &Region) -> anyhow::Result<()> {
    let supervisor = &process.supervisor;
    let own = Holder {
        process: process.settings.process.name.clone(),
        run: region.core.context().run,
    };
    let each = || region.clone();
    supervisor.spawn(TaskKind::Work, "members", |stop| {
        region::watch_members(each(), stop)
    })?;
    supervisor.spawn_until_stopped(TaskKind::Work, "positions", region::tell_positions(each()))?;
    supervisor.spawn_until_stopped(TaskKind::Work, "digests", region::tell_digests(each()))?;
    supervisor.spawn_until_stopped(TaskKind::Work, "cursors", region::hear_cursors(each()))?;
    supervisor.spawn_until_stopped(TaskKind::Work, "images", region::serve_images(each()))?;
    supervisor.spawn_until_stopped(TaskKind::Work, "sources", region::serve_sources(each()))?;
    supervisor.spawn_until_stopped(TaskKind::Work, "doubts", region::hear_peer_doubt(each()))?;
    supervisor.spawn(TaskKind::Work, "logs", |stop| region::watch_logs(each(), stop))?;
    supervisor.spawn(TaskKind::Work, "candidacy", |stop| {
        region::stand(each(), own, stop)
    })?;
    supervisor.spawn(TaskKind::Work, "steward", |stop| region::steward(each(), stop))?;
    Ok(())
}
