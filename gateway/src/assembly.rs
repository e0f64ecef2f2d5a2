//! From settings to running tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isthmus_door::aside::Waiting;
use isthmus_door::history::Teller;
use isthmus_door::names::{Names, SystemNames};
use isthmus_door::region::{Client, check_region, connect_region, log_settings};
use isthmus_door::{Doors, History};
use isthmus_link::LinkLimits;
use isthmus_link::{Accepts, Links};
use isthmus_log::nats::ConnectionState;
use isthmus_log::{Ports, Role, ServerClock};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::RegionName;
use isthmus_runtime::Process;
use isthmus_runtime::health::{Condition, Probe};
use isthmus_runtime::metrics::Labels;
use isthmus_runtime::settings::GatewaySettings;
use isthmus_runtime::supervise::TaskKind;
use isthmus_runtime::{open_files, random};
use tokio::sync::watch;

use crate::cursors::PeerCursorTable;
use crate::doctor::Doctor;
use crate::leader;
use crate::live::Live;
use crate::metrics::GatewayMetrics;
use crate::shared::{Shared, shared_shards};
use crate::tables::{Known, Tables};
use crate::view::StatusView;
use crate::{admin, credentials, inbound, outbound, region};

/// How often the log's clock is sampled. A step of this machine's clock goes unnoticed for at most
/// this long.
const CLOCK_INTERVAL: Duration = Duration::from_millis(500);

/// Starts a gateway.
///
/// # Errors
/// When the process can't start: bad credentials, a listener that can't be bound, or a log that
/// differs from the settings.
pub async fn assemble(process: Process<GatewaySettings>) -> anyhow::Result<()> {
    let settings = Arc::clone(&process.settings);
    let credentials = credentials::load(&settings)?;
    let doors = Doors::new(&process);
    let connections = open_files::share(open_files::limit(), links(&settings), false)?;
    connections.tell();
    let admin_door = isthmus_door::bind_admin(&process, &doors, &connections).await?;
    let listener = inbound::bind(&settings, &credentials).await?;
    let names: Arc<dyn Names> = Arc::new(SystemNames::default());
    let client = Client::of_process(&settings.process, Role::Gateway);
    let connection = connect_region(&settings.process, client, &*names).await?;
    let gateway = Gateway::new(&process, connection.ports(), Arc::clone(&credentials) as _)?;
    let live = Live::default();
    let doctor = Doctor {
        shared: gateway.shared.clone(),
        connection: connection.clone(),
        credentials: Arc::clone(&credentials),
        admin: admin_door.tls(),
        connections,
    };
    let examine = move || doctor.clone().examine();
    let router = admin::router(&gateway.shared, gateway.history.clone(), live.clone())
        .merge(isthmus_door::doctor::router(gateway.history.teller(), examine));
    isthmus_door::serve_admin(&process, admin_door, router)?;
    let shown = gateway.shared.clone();
    process
        .supervisor
        .spawn(TaskKind::Work, "page", move |stop| live.follow(shown, stop))?;
    credentials::watch(&process, &credentials, &doors.ends)?;
    let shared = gateway.shared.clone();
    doors.ends.add(move || shared.with_known(of_peers));
    gateway.start(connection.state(), Box::new(listener), names).await
}

/// The most files that links use: for each peer the links that it opens and the one that this
/// gateway opens, plus the handshakes.
fn links(settings: &GatewaySettings) -> u64 {
    let peers = settings.process.set.regions.len().saturating_sub(1);
    let each = inbound::LINKS_AT_ONCE + 1;
    (peers * each + LinkLimits::default().handshakes) as u64
}

/// When the certificate of each peer expires, for the metric: the earliest of its gateways.
fn of_peers(known: Known<'_>) -> Vec<(Labels, u64)> {
    let labels = |peer: &RegionName| vec![("of", "peer".to_owned()), ("peer", peer.to_string())];
    let mut earliest = BTreeMap::new();
    for ((peer, _), ends) in known.peer_certificates() {
        let held = earliest.entry(peer).or_insert(ends);
        *held = ends.min(*held);
    }
    earliest
        .into_iter()
        .map(|(peer, ends)| (labels(peer), ends))
        .collect()
}

/// A gateway with its ports, before it starts.
pub struct Gateway {
    /// The state that its tasks share.
    pub shared: Shared,
    /// The events of the region's processes.
    pub history: History,
    leading: watch::Sender<bool>,
    set_aside: Waiting,
}

impl Gateway {
    /// Creates a gateway of the region behind `ports` that links to other regions through `links`.
    ///
    /// # Errors
    /// When there is no randomness for the identifier of this run.
    pub fn new(
        process: &Process<GatewaySettings>,
        ports: Ports,
        links: Arc<dyn Links>,
    ) -> anyhow::Result<Self> {
        let (leading, leads) = watch::channel(false);
        let (view, tables) = (StatusView::default(), Tables::default());
        let clock = process.clock.clone();
        let server_clock = ServerClock::new(Arc::new(move || clock.now()));
        let settings = &process.settings.process;
        let heads = settings.set.shards_for(&settings.region);
        let (aside, set_aside) = isthmus_door::aside::queue(process);
        let teller = Teller {
            region: settings.region.to_string(),
            role: Role::Gateway,
            process: settings.name.to_string(),
        };
        let history = History::new(process, teller)?;
        let shared = Shared {
            ports,
            links,
            run: random::writer_id()?,
            aside,
            metrics: GatewayMetrics::register(process, &view, &tables, &server_clock),
            server_clock,
            cursors: Arc::new(PeerCursorTable::new(&shared_shards(
                &settings.set,
                &settings.region,
            ))),
            leading: leads,
            applied: watch::Sender::new(0),
            paused: watch::Sender::default(),
            sync_routes: Arc::default(),
            folds: Arc::new(each(&heads)),
            stored: Arc::new(each(&heads)),
            view,
            tables,
            process: process.clone(),
        };
        Ok(Self {
            shared,
            history,
            leading,
            set_aside,
        })
    }

    /// Starts the tasks once the region's NATS answers and has the streams that they need.
    ///
    /// # Errors
    /// When the log differs from the settings, or a task can't be started.
    pub async fn start(
        self,
        mut connection: watch::Receiver<ConnectionState>,
        listener: Box<dyn Accepts>,
        names: Arc<dyn Names>,
    ) -> anyhow::Result<()> {
        let Self {
            shared,
            history,
            leading,
            set_aside,
        } = self;
        let log = shared
            .process
            .health
            .condition("log", &[Probe::Read, Probe::Write]);
        check_region(shared.settings(), &shared.ports, &mut connection, &log).await?;
        let wanted = log_settings(shared.settings());
        let supervisor = &shared.process.supervisor;
        let journal = Arc::clone(&shared.ports.journal);
        let carried = history.clone();
        supervisor.spawn(TaskKind::Work, "events", |stop| carried.carry(journal, stop))?;
        let journal = Arc::clone(&shared.ports.journal);
        supervisor.spawn(TaskKind::Work, "aside", |stop| set_aside.append(journal, stop))?;
        watch_connection(&shared, connection, log)?;
        let (ports, missing) = (shared.ports.clone(), shared.view.lock().missing_streams.clone());
        isthmus_door::streams::watch(&shared.process, ports, shared.shards(), wanted, missing, history)?;
        region::start(&shared)?;
        follow_server_clock(&shared)?;
        let caught_up = inbound::start(&shared, listener)?;
        outbound::start(&shared, &names)?;
        stand_for_leader(&shared, leading, caught_up)?;
        Ok(())
    }
}

fn watch_connection(
    shared: &Shared,
    mut state: watch::Receiver<ConnectionState>,
    log: Condition,
) -> anyhow::Result<()> {
    let follow = async move {
        loop {
            if state.borrow_and_update().connected {
                log.met();
            } else {
                log.unmet("the region's NATS is unreachable");
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let supervisor = &shared.process.supervisor;
    supervisor.spawn_until_stopped(TaskKind::Work, "NATS connection", follow)?;
    Ok(())
}

fn follow_server_clock(shared: &Shared) -> anyhow::Result<()> {
    let (clock, view) = (shared.server_clock.clone(), shared.view.clone());
    let ports: Ports = shared.ports.clone();
    let Some(shard) = shared.shards().into_iter().next() else {
        return Ok(());
    };
    let follow = async move {
        if let Err(error) = clock.settle(&*ports.log, &shard).await {
            tracing::debug!(%error, "the log's clock did not answer");
        }
        loop {
            if let Err(error) = clock.sample(&*ports.log, &shard).await {
                tracing::debug!(%error, "the log's clock did not answer");
            }
            view.lock().clock = clock.offset();
            tokio::time::sleep(CLOCK_INTERVAL).await;
        }
    };
    let supervisor = &shared.process.supervisor;
    supervisor.spawn_until_stopped(TaskKind::Work, "server clock", follow)?;
    Ok(())
}

/// A gateway reads every log up to its head before it may lead.
fn stand_for_leader(
    shared: &Shared,
    leading: watch::Sender<bool>,
    mut caught_up: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let candidate = shared.clone();
    let supervisor = &shared.process.supervisor;
    supervisor.spawn(TaskKind::Work, "candidacy", |stop| async move {
        tokio::select! {
            _ = caught_up.wait_for(|caught_up| *caught_up) => {}
            () = stop.cancelled() => return Ok(()),
        }
        leader::stand(candidate, leading, stop).await
    })?;
    Ok(())
}

/// A watch channel for each shard, empty at first.
fn each<T>(shards: &[Shard]) -> BTreeMap<Shard, watch::Sender<Option<T>>> {
    let nothing = |shard: &Shard| (shard.clone(), watch::Sender::new(None));
    shards.iter().map(nothing).collect()
}
