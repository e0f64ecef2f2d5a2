//! Listeners: bound early, served late, with a bound on everything that a caller may hold:
//! connections, bytes, and the time for a handshake, for a request's head and for a response that
//! is not read.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use isthmus_link::{ClientCertificate, DoorTls};
use isthmus_replication::reminder::Reminder;
use isthmus_replication::time::Mono;
use isthmus_runtime::open_files::Connections;
use isthmus_runtime::settings::DoorSettings;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::held::{HeldBytes, hold_answer};
use crate::refusals::Refusals;

/// All bounds of a door. [`Limits::default`] is used in production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of connections, and so of requests: a connection has one at a time. More
    /// connections wait to be accepted.
    pub connections: usize,
    /// Time limit for the TLS handshake.
    pub handshake: Duration,
    /// Time limit for the whole head of a request, from the connection or from the previous
    /// request.
    pub head: Duration,
    /// Maximum size of a request's head, and of the part of a body that is buffered, in bytes; a
    /// head of twice this size is refused in any case.
    pub head_bytes: usize,
    /// A caller that reads nothing of a response for this long is disconnected.
    pub unread: Duration,
    /// Bytes of bodies and responses that all callers share beyond their
    /// [allowances](crate::held::ALLOWANCE).
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(75),
            head_bytes: 64 * 1024,
            unread: Duration::from_secs(30),
            held_bytes: 128 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// The limits of a door for operators: they are few, and their responses are small.
    #[must_use]
    pub fn of_operators(connections: &Connections) -> Self {
        Self {
            connections: connections.operators,
            held_bytes: 32 * 1024 * 1024,
            ..Self::default()
        }
    }

    /// The limits of a door for applications.
    #[must_use]
    pub fn of_applications(connections: &Connections) -> Self {
        Self {
            connections: connections.applications,
            ..Self::default()
        }
    }
}

/// Pause after the system failed to accept a connection (out of file descriptors).
const REST: Duration = Duration::from_millis(100);
/// Minimum interval between two log lines about this.
const REPORTED_EVERY: Duration = Duration::from_secs(60);

/// Why a door can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process uses the address.
    #[error("{address} is in use by another process; stop it, or listen elsewhere")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The machine does not allow it.
    #[error("can't listen on {address}: {source}; use an address of this machine and a port above 1023")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// The I/O error.
        source: io::Error,
    },
    /// Other machines could reach a door that has no TLS or admits everybody.
    #[error(
        "{address} can be reached from other machines, and this door lacks TLS or authentication; use 127.0.0.1"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
}

/// A bound listener. Connections wait until it is served.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<DoorTls>>,
    limits: Limits,
    held: HeldBytes,
    refusals: Option<(&'static str, Refusals)>,
}

/// The address that a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct From(pub SocketAddr);

impl Door {
    /// Listens on the address in `settings`; with port 0 the system chooses a free port. `tls`
    /// contains the credentials that [`crate::certificates::load`] read.
    ///
    /// # Errors
    /// [`BindError`]; the process exits with 1.
    pub async fn bind<R>(
        name: &'static str,
        settings: &DoorSettings<R>,
        tls: Option<Arc<DoorTls>>,
    ) -> Result<Self, BindError> {
        let address = settings.listen;
        if !address.ip().is_loopback() && (tls.is_none() || settings.callers.is_empty()) {
            return Err(BindError::Open { address });
        }
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => BindError::InUse { address },
                _ => BindError::Refused { address, source },
            })?;
        let bound = listener
            .local_addr()
            .map_err(|source| BindError::Refused { address, source })?;
        tracing::info!(door = name, address = %bound, tls = tls.is_some(), "listens");
        Ok(Self {
            listener,
            address: bound,
            tls,
            limits: Limits::default(),
            held: HeldBytes::new(Limits::default().held_bytes),
            refusals: None,
        })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its TLS, if it has TLS.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<DoorTls>> {
        self.tls.clone()
    }

    /// The same door, which reports failed handshakes to `refusals` under this name.
    #[must_use]
    pub fn telling(self, name: &'static str, refusals: Refusals) -> Self {
        Self {
            refusals: Some((name, refusals)),
            ..self
        }
    }

    /// The same door with other limits.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        let held = HeldBytes::new(limits.held_bytes);
        Self { limits, held, ..self }
    }

    /// The bytes it holds for its callers.
    #[must_use]
    pub fn held(&self) -> HeldBytes {
        self.held.clone()
    }

    /// Serves `router` until `stop`, then finishes the requests that have begun. Each request has
    /// the extension [`From`], and its caller's [`ClientCertificate`] if there is one.
    ///
    /// # Errors
    /// None at present: a failure affects only one connection.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> io::Result<()> {
        let Self {
            listener,
            tls,
            limits,
            held,
            refusals,
            ..
        } = self;
        let router = router.layer(from_fn_with_state(held, hold_answer));
        let mut accepting = Accepting::new(listener, limits.connections);
        let stopping = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => log_failure(ended),
                (permit, stream, from) = accepting.next() => {
                    let connection = Connection {
                        router: router.clone(),
                        tls: tls.clone(),
                        limits,
                        refusals: refusals.clone(),
                        from,
                        stop: stop.clone(),
                        stopping: stopping.watcher(),
                        _permit: permit,
                    };
                    connections.spawn(connection.run(stream));
                }
            }
        }
        drop(accepting);
        stopping.shutdown().await;
        while let Some(ended) = connections.join_next().await {
            log_failure(ended);
        }
        Ok(())
    }
}

fn log_failure(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection task panicked, which is a bug: report it");
    }
}

/// Accepts connections while there are permits and the system provides connections.
struct Accepting {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    rest_until: Option<Instant>,
    opened: Instant,
    refused: Reminder,
}

impl Accepting {
    fn new(listener: TcpListener, connections: usize) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(connections)),
            rest_until: None,
            opened: Instant::now(),
            refused: Reminder::every(REPORTED_EVERY),
        }
    }

    /// The next connection, once there is a permit for it. Cancel safe; a pause continues in the
    /// next call.
    async fn next(&mut self) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        loop {
            if let Some(until) = self.rest_until {
                sleep_until(until).await;
                self.rest_until = None;
            }
            match self.listener.accept().await {
                Ok((stream, from)) => return (permit, stream, from),
                Err(error) => self.rest(&error),
            }
        }
    }

    fn rest(&mut self, error: &io::Error) {
        self.rest_until = Some(Instant::now() + REST);
        if self.refused.take(Mono::default().after(self.opened.elapsed())) {
            tracing::warn!(%error, "the system can't accept connections: check the limit of open files");
        }
    }
}

/// The context of one connection.
struct Connection {
    router: Router,
    tls: Option<Arc<DoorTls>>,
    limits: Limits,
    refusals: Option<(&'static str, Refusals)>,
    from: SocketAddr,
    stop: CancellationToken,
    stopping: Watcher,
    _permit: Option<OwnedSemaphorePermit>,
}

/// A stream that ends if nothing that is written is read for too long.
type Stream = Pin<Box<TimeoutWriter<TcpStream>>>;

impl Connection {
    async fn run(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended right after it was accepted");
        }
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.limits.unread));
        let stream: Stream = Box::pin(stream);
        let Some(tls) = self.tls.clone() else {
            return self.speak(stream, None).await;
        };
        let handshake = tokio::time::timeout(self.limits.handshake, tls.accept(stream));
        let finished = tokio::select! {
            finished = handshake => finished,
            () = self.stop.cancelled() => return,
        };
        match finished {
            Ok(Ok((stream, certificate))) => self.speak(stream, certificate).await,
            Ok(Err(error)) => self.no_tls(&error.to_string()),
            Err(_) => self.no_tls("the TLS handshake took too long"),
        }
    }

    fn no_tls(&self, why: &str) {
        tracing::debug!(from = %self.from, why, "the TLS handshake failed");
        if let Some((door, refusals)) = &self.refusals {
            refusals.of_handshake(door, why, self.from);
        }
    }

    async fn speak<IO>(self, stream: IO, certificate: Option<ClientCertificate>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (from, certificate) = (From(self.from), certificate.map(Arc::new));
        let routes = self.router.map_request(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(from);
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(Arc::clone(certificate));
            }
            request
        });
        let mut builder = Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(self.limits.head_bytes);
        let service = TowerToHyperService::new(routes);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = self.stopping.watch(connection).await {
            tracing::debug!(from = %from.0, %error, "a connection ended early");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
