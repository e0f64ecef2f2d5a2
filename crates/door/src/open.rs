//! A door as its settings describe it: bound, with its certificate watched and its callers loaded.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use isthmus_runtime::Process;
use isthmus_runtime::metrics::Gauge;
use isthmus_runtime::open_files::Connections;
use isthmus_runtime::settings::{DoorSettings, Role, Settings};
use isthmus_runtime::supervise::{SpawnRefused, TaskKind};
use prometheus_client::registry::Unit;

use crate::access::{Gate, Rights};
use crate::certificates::{self, Ends, OfDoor};
use crate::held::HeldBytes;
use crate::operators::for_operators;
use crate::refusals::Refusals;
use crate::serve::{Door, Limits};

/// The shared parts of a process's doors.
#[derive(Debug)]
pub struct Doors {
    /// Their refusals.
    pub refusals: Refusals,
    /// The expiry of certificates.
    pub ends: Ends,
    /// The bytes they hold, by name of the door.
    held: Arc<Mutex<Vec<(&'static str, HeldBytes)>>>,
}

impl Doors {
    /// Call it once for a process: it registers metrics.
    #[must_use]
    pub fn new<S>(process: &Process<S>) -> Self {
        let held: Arc<Mutex<Vec<(&'static str, HeldBytes)>>> = Arc::default();
        let doors = Arc::clone(&held);
        process.metrics.sampled(move || {
            let help = "Bytes that a door holds for its callers: arriving bodies, unread responses";
            let mut gauge = Gauge::new("door_held", help, Some(Unit::Bytes));
            for (name, held) in &*doors.lock().unwrap_or_else(PoisonError::into_inner) {
                gauge.sample(vec![("door", (*name).to_owned())], Some(held.held() as f64));
            }
            vec![gauge]
        });
        Self {
            refusals: Refusals::new(process),
            ends: Ends::new(process),
            held,
        }
    }

    fn show(&self, name: &'static str, held: HeldBytes) {
        let mut doors = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        doors.push((name, held));
    }
}

/// A bound door and its access control.
#[derive(Debug)]
pub struct OpenDoor<R> {
    /// The name of the door in events, metrics and logs.
    name: &'static str,
    door: Door,
    gate: Gate<R>,
}

impl<R: Rights + Clone> OpenDoor<R> {
    /// Binds the door that `settings` select from the settings of the process, and updates its
    /// callers whenever the settings are reloaded. `within` is the path of keys to its key `tls`.
    ///
    /// # Errors
    /// If its files or its address can't be used.
    pub async fn bind<S: Settings>(
        process: &Process<S>,
        name: &'static str,
        within: &[&str],
        settings: fn(&S) -> &DoorSettings<R>,
        doors: &Doors,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let document = &process.settings.process().document;
        let settings_of = settings(&process.settings);
        let tls = certificates::load(document, within, settings_of)?;
        let door = Door::bind(name, settings_of, tls.clone()).await?;
        let door = door.telling(name, doors.refusals.clone()).within(limits);
        doors.show(name, door.held());
        if let Some(tls) = &tls {
            certificates::keep(process, &doors.ends, name, tls)?;
        }
        let gate = Gate::new(name, tls, settings_of, doors.refusals.clone());
        let guarded = gate.clone();
        let take = move |settings_of: &S| guarded.replace(&settings(settings_of).callers);
        process.on_reload(format!("callers of the {name} door"), take)?;
        Ok(Self { name, door, gate })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// Its access control.
    #[must_use]
    pub fn gate(&self) -> &Gate<R> {
        &self.gate
    }

    /// Its name and its TLS, if it has TLS.
    #[must_use]
    pub fn tls(&self) -> Option<OfDoor> {
        Some((self.name, self.door.tls()?))
    }

    /// Serves `router`, which asks the gate, as a task of this kind.
    ///
    /// # Errors
    /// If the task could not be started.
    pub fn serve<S>(self, process: &Process<S>, kind: TaskKind, router: Router) -> Result<(), SpawnRefused> {
        let Self { name, door, .. } = self;
        process
            .supervisor
            .spawn(kind, format!("{name} door"), |stop| door.serve(router, stop))
    }
}

/// The admin listener of a process.
///
/// # Errors
/// As [`OpenDoor::bind`].
pub async fn bind_admin<S: Settings>(
    process: &Process<S>,
    doors: &Doors,
    connections: &Connections,
) -> anyhow::Result<OpenDoor<Role>> {
    let limits = Limits::of_operators(connections);
    OpenDoor::bind(
        process,
        "admin",
        &["admin"],
        |settings_of| &settings_of.process().admin,
        doors,
        limits,
    )
    .await
}

/// Serves `router` to operators until everything else has stopped.
///
/// # Errors
/// If the task could not be started.
pub fn serve_admin<S>(
    process: &Process<S>,
    door: OpenDoor<Role>,
    router: Router,
) -> Result<(), SpawnRefused> {
    let router = for_operators(router, door.gate.clone(), process.events.clone());
    door.serve(process, TaskKind::Work, router)
}
