//! Accepts links from the gateways of peer regions.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::connection::{self, Connection};
use crate::credentials::Credentials;
use crate::limits::{ACCEPT_REST, LinkLimits};
use crate::refusal::Refusal;
use crate::tls;
use crate::trust::Expected;
use crate::verifier::PeerVerifier;

/// The listener can't bind its address.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: choose a free address in link.listen, or stop what uses it")]
pub struct BindError {
    /// The requested address.
    pub address: SocketAddr,
    /// The I/O error.
    #[source]
    pub source: io::Error,
}

/// Why a connection did not become a link. The listener continues.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// This end refused the peer, or the peer refused this end.
    #[error("refused a link from {address}: {refusal}")]
    Refused {
        /// The peer's address.
        address: SocketAddr,
        /// The reason.
        refusal: Box<Refusal>,
    },
    /// The system failed to accept a connection.
    #[error("the system can't accept connections: check the limit of open files")]
    System(#[source] io::Error),
    /// A handshake task panicked.
    #[error("a handshake task panicked, which is a bug: report it")]
    Defect(#[source] JoinError),
}

impl AcceptError {
    /// The value of `reason` in metrics and log lines. Published: never renamed.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused { refusal, .. } => refusal.reason().label(),
            Self::System(_) => "system",
            Self::Defect(_) => "defect",
        }
    }
}

/// Accepts links. A bounded number of handshakes run concurrently; dropping the listener aborts
/// them.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    credentials: Arc<Credentials>,
    limits: LinkLimits,
    handshakes: JoinSet<Result<Connection, AcceptError>>,
    rest_until: Instant,
}

impl Listener {
    /// Binds `address`. With port 0 the system chooses a free port, see [`Listener::address`].
    ///
    /// # Errors
    /// [`BindError`] names the address.
    pub async fn bind(
        address: SocketAddr,
        credentials: Arc<Credentials>,
        limits: LinkLimits,
    ) -> Result<Self, BindError> {
        let socket = TcpListener::bind(address)
            .await
            .map_err(|source| BindError { address, source })?;
        Ok(Self {
            socket,
            credentials,
            limits,
            handshakes: JoinSet::new(),
            rest_until: Instant::now(),
        })
    }

    /// The bound address.
    ///
    /// # Errors
    /// The I/O error.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next link, or why a connection did not become one. Cancel safe.
    ///
    /// # Errors
    /// [`AcceptError`], to be logged and counted; the listener continues.
    pub async fn next(&mut self) -> Result<Connection, AcceptError> {
        loop {
            let room = self.handshakes.len() < self.limits.handshakes.max(1);
            tokio::select! {
                Some(done) = self.handshakes.join_next() => return done.unwrap_or_else(|error| Err(AcceptError::Defect(error))),
                accepted = accept(&self.socket, self.rest_until), if room => match accepted {
                    Ok((stream, address)) => self.begin(stream, address),
                    Err(error) => {
                        self.rest_until = Instant::now() + ACCEPT_REST;
                        return Err(AcceptError::System(error));
                    }
                },
            }
        }
    }

    fn begin(&mut self, stream: TcpStream, address: SocketAddr) {
        let credentials = Arc::clone(&self.credentials);
        let limits = self.limits;
        self.handshakes.spawn(async move {
            let link = timeout(
                limits.handshake,
                handshake(stream, address, &credentials, &limits),
            )
            .await;
            link.unwrap_or(Err(Refusal::Slow {
                timeout: limits.handshake,
            }))
            .map_err(|refusal| AcceptError::Refused {
                address,
                refusal: Box::new(refusal),
            })
        });
    }
}

async fn accept(socket: &TcpListener, rest_until: Instant) -> io::Result<(TcpStream, SocketAddr)> {
    sleep_until(rest_until).await;
    socket.accept().await
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    credentials: &Credentials,
    limits: &LinkLimits,
) -> Result<Connection, Refusal> {
    connection::tune(&stream, limits).map_err(|error| Refusal::HungUp { cause: error.kind() })?;
    let snapshot = credentials.snapshot();
    let verifier = PeerVerifier::new(Arc::clone(&snapshot.trust), Expected::AnyPeer);
    let config = tls::acceptor(Arc::clone(&snapshot.own.key), Arc::clone(&verifier))
        .map_err(|cause| Refusal::Tls { cause })?;
    let stream = TlsAcceptor::from(Arc::new(config))
        .accept(stream)
        .await
        .map_err(|error| tls::refusal(&error, &verifier))?;
    let peer = tls::proven(stream.get_ref().1.alpn_protocol(), &verifier)?;
    Ok(Connection::new(
        peer,
        address,
        Box::new(TlsStream::Server(stream)),
        limits,
    ))
}
