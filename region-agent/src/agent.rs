//! How an agent is assembled: listeners early, NATS, shards, the region's tasks, doors late.

use std::sync::Arc;

use isthmus_door::History;
use isthmus_door::history::Teller;
use isthmus_log::nats::{Connection, ConnectionSettings};
use isthmus_log::{EnsureError, LogSettings, RegionNames, Role, ServerClock};
use isthmus_replication::lease::Holder;
use isthmus_runtime::settings::AgentSettings;
use isthmus_runtime::supervise::TaskKind;
use isthmus_runtime::{Process, random};
use tokio::net::TcpListener;

use crate::admin::{self, Assembled};
use crate::door;
use crate::memory::Memory;
use crate::metrics::AgentMetrics;
use crate::operation::{Core, Policy};
use crate::peers::Peers;
use crate::region::{self, Region};
use crate::servers;
use crate::shard::{self, Context};

/// Starts everything; returns once the doors are open.
///
/// # Errors
/// What the process can't start with.
pub async fn assemble(process: Process<AgentSettings>) -> anyhow::Result<()> {
    let settings = Arc::clone(&process.settings);
    let admin = isthmus_door::bind_loopback("admin", settings.process.admin).await?;
    let door = isthmus_door::bind_loopback("http", settings.listen).await?;
    let (admin_at, door_at) = (admin.local_addr()?, door.local_addr()?);
    let assembled = Assembled::default();
    let teller = Teller {
        region: settings.process.region.to_string(),
        role: Role::Agent.as_str(),
        process: settings.process.name.to_string(),
    };
    let history = History::new(&process, teller)?;
    let admin_routes = admin::router(&process, &assembled, history.clone());
    let stops_last = TaskKind::Work;
    process.supervisor.spawn(stops_last, "admin door", |stop| {
        isthmus_door::serve(admin, admin_routes, stop)
    })?;

    let context = context(&process).await?;
    let journal = Arc::clone(&context.ports.journal);
    process
        .supervisor
        .spawn(TaskKind::Work, "events", |stop| history.carry(journal, stop))?;
    let mut shards = Vec::new();
    for shard in settings.process.set.shards_for(&settings.process.region) {
        shards.push(shard::spawn(context.clone(), &shard).await?);
    }
    let policy = Policy::new(Arc::clone(&settings.process.set), settings.process.region.clone());
    let core = Arc::new(Core::new(context, policy, shards, Arc::new(Peers::default())));
    let clock = process.clock.clone();
    let region = Region::new(Arc::clone(&core), ServerClock::new(Arc::new(move || clock.now())));
    assembled.set(region.clone()).ok();
    spawn_region(&process, &region, door_at, admin_at)?;
    open_door(&process, door, core)
}

fn open_door(process: &Process<AgentSettings>, door: TcpListener, core: Arc<Core>) -> anyhow::Result<()> {
    let routes = door::router(core);
    process.supervisor.spawn(TaskKind::Door, "http door", |stop| {
        isthmus_door::serve(door, routes, stop)
    })?;
    Ok(())
}

/// Connects, and makes sure that the region's streams and leases are what they must be.
async fn context(process: &Process<AgentSettings>) -> anyhow::Result<Context> {
    let settings = &process.settings.process;
    let connection = Connection::open(ConnectionSettings {
        servers: servers::urls(&settings.nats.servers).await?,
        credentials: settings.nats.credentials.clone(),
        domain: settings.nats.domain.clone(),
        role: Role::Agent,
        process: settings.name.to_string(),
        names: RegionNames {
            set: settings.set.name.clone(),
            region: settings.region.clone(),
        },
    })
    .await?;
    let nats = process
        .health
        .condition("nats", &[isthmus_runtime::health::Probe::Read]);
    nats.unmet("the region's NATS has not answered yet");
    connection.connected().await;
    let ports = connection.ports();
    if let Some(max_payload) = ports.log.max_message_bytes() {
        settings.set.check_max_payload(max_payload as u64)?;
    }
    let wanted = LogSettings {
        create: settings.log.create,
        replicas: settings.log.replicas,
        max_bytes: settings.log.max_bytes.0,
    };
    let shards = settings.set.shards_for(&settings.region);
    let waits = |error: &EnsureError| nats.unmet(error.to_string());
    let ensured = ports.ensure(&shards, &wanted, waits).await;
    ensured.map_err(|error| settings.at_log(error.setting(), error))?;
    nats.met();
    let (aside, waiting) = isthmus_door::aside::queue(process);
    let journal = Arc::clone(&ports.journal);
    process
        .supervisor
        .spawn(TaskKind::Work, "aside", |stop| waiting.append(journal, stop))?;
    Ok(Context {
        aside,
        metrics: AgentMetrics::new(&process.metrics),
        memory: Arc::new(Memory::new(process.settings.memory)),
        run: random::writer_id()?,
        connection: connection.state(),
        process: process.clone(),
        ports,
    })
}

fn spawn_region(
    process: &Process<AgentSettings>,
    region: &Region,
    http: std::net::SocketAddr,
    admin: std::net::SocketAddr,
) -> anyhow::Result<()> {
    let supervisor = &process.supervisor;
    let own = Holder {
        process: process.settings.process.name.clone(),
        run: region.core.context().run,
    };
    let each = || region.clone();
    supervisor.spawn(TaskKind::Work, "member lease", |stop| {
        region::keep_member(each(), http, admin, stop)
    })?;
    supervisor.spawn(TaskKind::Work, "members", |stop| {
        region::watch_members(each(), stop)
    })?;
    supervisor.spawn(TaskKind::Work, "positions", |stop| {
        region::tell_positions(each(), stop)
    })?;
    supervisor.spawn(TaskKind::Work, "cursors", |stop| {
        region::hear_cursors(each(), stop)
    })?;
    supervisor.spawn(TaskKind::Work, "doubts", |stop| region::hear_doubts(each(), stop))?;
    supervisor.spawn(TaskKind::Work, "logs", |stop| region::watch_logs(each(), stop))?;
    supervisor.spawn(TaskKind::Work, "candidacy", |stop| {
        region::stand(each(), own, stop)
    })?;
    supervisor.spawn(TaskKind::Work, "steward", |stop| region::steward(each(), stop))?;
    Ok(())
}
