//! A process's connection to its region's NATS.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, ContextBuilder};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use super::slots::{Readers, Slots};
use crate::unguessable::Unguessable;
use crate::{ConnectError, RegionNames, Role};

/// Time limit for the answer to a JetStream request.
const ANSWER: Duration = Duration::from_secs(5);
/// Time limit for the answer to an append or to a request on a lease.
const APPEND_ANSWER: Duration = Duration::from_secs(2);
/// Maximum number of appends in flight on one connection.
const APPENDS_IN_FLIGHT: usize = 4096;
/// A connection that receives nothing for two of these intervals is replaced.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// The maximum pause between two attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The servers of a region's NATS and the identity of the process that connects.
#[derive(Debug, Clone)]
pub struct ConnectionSettings {
    /// `nats://host:port` or `tls://host:port`, at least one.
    pub servers: Vec<String>,
    /// A NATS credentials file, or a file with the seed of an nkey.
    pub credentials: Option<PathBuf>,
    /// The CAs (PEM) that sign the servers' certificates; if set, every connection uses TLS. The
    /// file is read at each connection.
    pub ca: Option<PathBuf>,
    /// The JetStream domain, if the region has one.
    pub domain: Option<String>,
    /// The role of the process, which determines the prefix of its inboxes; `None` for an
    /// operator's command.
    pub role: Option<Role>,
    /// The name of the process. NATS shows the connection under this name, and the process's slots
    /// are named after it.
    pub process: String,
    /// The consumers through which the process reads streams.
    pub readers: Readers,
    /// Set and region.
    pub names: RegionNames,
}

/// Whether the connection is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionState {
    /// Whether it is up.
    pub connected: bool,
    /// How often it was established. A different number means that it broke in between.
    pub epoch: u64,
}

/// A process's connection to its region's NATS. Clones share the connection; it closes when the
/// last clone is dropped.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    client: Client,
    requests: jetstream::Context,
    appends: jetstream::Context,
    names: RegionNames,
    role: Option<Role>,
    slots: Option<Slots>,
    state: watch::Receiver<ConnectionState>,
}

impl Connection {
    /// Sets up the connection. It is established in the background and re-established for ever.
    ///
    /// # Errors
    /// [`ConnectError`] for settings that can never work.
    pub async fn open(settings: ConnectionSettings) -> Result<Self, ConnectError> {
        let servers = addresses(&settings.servers)?;
        let (teller, state) = watch::channel(ConnectionState::default());
        let process = Unguessable::draw().map_err(ConnectError::NoRandomness)?;
        let mut options = ConnectOptions::new()
            .name(&settings.process)
            .custom_inbox_prefix(settings.names.inbox(settings.role, &process))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(reconnect_pause)
            .ping_interval(PING_INTERVAL)
            .event_callback(move |event| {
                note(&teller, &event);
                async {}
            });
        if let Some(path) = settings.credentials {
            options = identified(options, &path)
                .await
                .map_err(|source| ConnectError::Credentials { path, source })?;
        }
        if let Some(path) = settings.ca {
            options = trusting(options, path).await?;
        }
        let client = options
            .connect(servers)
            .await
            .map_err(|error| ConnectError::Options(error.to_string()))?;
        let domain = settings.domain.as_deref();
        Ok(Self(Arc::new(Inner {
            requests: context(domain, ANSWER).build(client.clone()),
            appends: context(domain, APPEND_ANSWER)
                .max_ack_inflight(APPENDS_IN_FLIGHT)
                .backpressure_on_inflight(true)
                .build(client.clone()),
            client,
            names: settings.names,
            role: settings.role,
            slots: match settings.readers {
                Readers::Own => None,
                Readers::Slots { each } => Some(Slots::new(&settings.process, each)),
            },
            state,
        })))
    }

    /// The state of the connection, to be watched.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.0.state.clone()
    }

    /// Waits until the connection is up. Cancel safe.
    pub async fn connected(&self) -> ConnectionState {
        let mut state = self.state();
        let reached = state.wait_for(|state| state.connected).await.map(|state| *state);
        match reached {
            Ok(state) => state,
            Err(_closed) => std::future::pending().await,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0.state.borrow().connected
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(crate) fn requests(&self) -> &jetstream::Context {
        &self.0.requests
    }

    pub(crate) fn appends(&self) -> &jetstream::Context {
        &self.0.appends
    }

    pub(crate) fn names(&self) -> &RegionNames {
        &self.0.names
    }

    /// A new inbox for the answer of processes of the role `of` to one request.
    pub(super) fn answer_inbox(&self, of: Role) -> Result<String, getrandom::Error> {
        let question = Unguessable::draw()?;
        Ok(self.0.names.answer_inbox(self.0.role, of, &question))
    }

    /// The slots of the process, if it reads through slots.
    pub(super) fn slots(&self) -> Option<&Slots> {
        self.0.slots.as_ref()
    }

    /// The server's max_payload; `None` before the first connection.
    pub(crate) fn max_payload(&self) -> Option<usize> {
        self.0.client.try_server_info().map(|server| server.max_payload)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("region", &self.0.names.region)
            .field("state", &*self.0.state.borrow())
            .finish_non_exhaustive()
    }
}

/// Sets the identity. The seed of a user's nkey starts with `SU`, and its file contains nothing
/// else.
async fn identified(options: ConnectOptions, path: &Path) -> io::Result<ConnectOptions> {
    let text = tokio::fs::read_to_string(path).await?;
    match text.trim() {
        seed if seed.starts_with("SU") && !seed.contains(char::is_whitespace) => {
            nkeys::KeyPair::from_seed(seed).map_err(io::Error::other)?;
            Ok(options.nkey(seed.to_owned()))
        }
        credentials => options.credentials(credentials),
    }
}

/// Sets the CAs. A file without certificates is rejected here; otherwise it would only fail at the
/// first connection, with a TLS error.
async fn trusting(options: ConnectOptions, path: PathBuf) -> Result<ConnectOptions, ConnectError> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    match tokio::fs::read(&path).await {
        Err(source) => return Err(ConnectError::Unreadable { path, source }),
        Ok(bytes) if !bytes.windows(BEGIN.len()).any(|part| part == BEGIN) => {
            return Err(ConnectError::Authorities { path });
        }
        Ok(_) => {}
    }
    Ok(options.add_root_certificates(path).require_tls(true))
}

fn addresses(servers: &[String]) -> Result<Vec<ServerAddr>, ConnectError> {
    servers
        .iter()
        .map(|server| {
            server.parse().map_err(|_| ConnectError::Address {
                server: server.clone(),
            })
        })
        .collect()
}

fn context(domain: Option<&str>, timeout: Duration) -> ContextBuilder<jetstream::context::No> {
    let prefix = domain.map_or_else(|| "$JS.API".to_owned(), |domain| format!("$JS.{domain}.API"));
    ContextBuilder::new().timeout(timeout).api_prefix(prefix)
}

/// 50 ms after the first failure, then doubling.
fn reconnect_pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).min(8)).unwrap_or(8);
    Duration::from_millis(50 << doublings).min(RECONNECT_PAUSE)
}

fn note(state: &watch::Sender<ConnectionState>, event: &Event) {
    match event {
        Event::Connected => {
            tracing::info!("connected to NATS");
            state.send_modify(|state| {
                state.connected = true;
                state.epoch += 1;
            });
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!("the connection to NATS was lost; reconnecting");
            state.send_modify(|state| state.connected = false);
        }
        Event::SlowConsumer(_) => tracing::warn!("a subscription is too slow and missed messages"),
        Event::ServerError(error) => tracing::warn!(%error, "NATS reported an error"),
        // The client does not report the cause.
        Event::ClientError(error) => tracing::warn!(
            %error,
            "the connection to NATS failed: check nats.servers, nats.ca if they use TLS, and the servers' log"
        ),
        Event::LameDuckMode | Event::Draining => tracing::info!(%event, "the NATS server is shutting down"),
    }
}
