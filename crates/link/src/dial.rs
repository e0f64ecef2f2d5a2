//! Dials a gateway of a peer region.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use isthmus_replication::names::RegionName;
use rustls_pki_types::{IpAddr, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::connection::{self, Connection};
use crate::credentials::Credentials;
use crate::limits::LinkLimits;
use crate::refusal::Refusal;
use crate::tls;
use crate::trust::Expected;
use crate::verifier::PeerVerifier;

/// Why dialling a gateway failed.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The TCP connection failed.
    #[error(
        "can't connect to {address} of region {region}: check the address and that a gateway listens there"
    )]
    Connect {
        /// The region dialled.
        region: RegionName,
        /// The address dialled.
        address: SocketAddr,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// The TCP connection was not established in time.
    #[error(
        "no answer from {address} of region {region} within {timeout:?}: check the address and the network"
    )]
    NoAnswer {
        /// The region dialled.
        region: RegionName,
        /// The address dialled.
        address: SocketAddr,
        /// The time limit.
        timeout: Duration,
    },
    /// The connection was established, but not the link.
    #[error("no link with {address} of region {region}: {refusal}")]
    Refused {
        /// The region dialled.
        region: RegionName,
        /// The address dialled.
        address: SocketAddr,
        /// The reason; either end may have refused.
        refusal: Box<Refusal>,
    },
}

impl DialError {
    /// The value of `reason` in metrics and log lines. Published: never renamed.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::NoAnswer { .. } => "no_answer",
            Self::Refused { refusal, .. } => refusal.reason().label(),
        }
    }
}

/// Opens a link to the gateway at `address`, which must prove that it belongs to `region`.
///
/// In TLS 1.3 the dialing end finishes first. So if the peer refuses this end's certificate, the
/// first read returns [`crate::FrameError::RefusedByPeer`].
///
/// # Errors
/// [`DialError`]: the connection failed, or either end refused the handshake.
pub async fn dial(
    address: SocketAddr,
    region: &RegionName,
    credentials: &Credentials,
    limits: &LinkLimits,
) -> Result<Connection, DialError> {
    let no_answer = || DialError::NoAnswer {
        region: region.clone(),
        address,
        timeout: limits.connect,
    };
    let connect = |source| DialError::Connect {
        region: region.clone(),
        address,
        source,
    };
    let stream = timeout(limits.connect, TcpStream::connect(address))
        .await
        .map_err(|_| no_answer())?
        .map_err(connect)?;
    connection::tune(&stream, limits).map_err(connect)?;
    let slow = || Refusal::Slow {
        timeout: limits.handshake,
    };
    let link = timeout(
        limits.handshake,
        handshake(stream, address, region, credentials, limits),
    )
    .await;
    link.unwrap_or_else(|_| Err(slow()))
        .map_err(|refusal| DialError::Refused {
            region: region.clone(),
            address,
            refusal: Box::new(refusal),
        })
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    region: &RegionName,
    credentials: &Credentials,
    limits: &LinkLimits,
) -> Result<Connection, Refusal> {
    let snapshot = credentials.snapshot();
    let verifier = PeerVerifier::new(Arc::clone(&snapshot.trust), Expected::Region(region.clone()));
    let config = tls::dialer(Arc::clone(&snapshot.own.key), Arc::clone(&verifier))
        .map_err(|cause| Refusal::Tls { cause })?;
    let unnamed = ServerName::IpAddress(IpAddr::from(address.ip()));
    let stream = TlsConnector::from(Arc::new(config))
        .connect(unnamed, stream)
        .await
        .map_err(|error| tls::refusal(&error, &verifier))?;
    let peer = tls::proven(stream.get_ref().1.alpn_protocol(), &verifier)?;
    Ok(Connection::new(
        peer,
        address,
        Box::new(TlsStream::Client(stream)),
        limits,
    ))
}
