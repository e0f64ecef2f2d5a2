//! An open link: an authenticated peer and two directions of frames.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::TcpStream;

use crate::frame::{FrameReader, FrameWriter};
use crate::limits::{KEEPALIVE_PROBES, LinkLimits};
use crate::peer::Peer;
use crate::progress::{Counted, Passed};

/// The byte stream under a link: TLS over TCP, or an in-memory network.
pub trait Transport: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> Transport for T {}

/// The receiving half of a [`Connection`].
pub type LinkReader = FrameReader<Counted<ReadHalf<Box<dyn Transport>>>>;
/// The sending half of a [`Connection`].
pub type LinkWriter = FrameWriter<Counted<WriteHalf<Box<dyn Transport>>>>;

/// A link to an authenticated peer. Dropping both halves closes it.
#[derive(Debug)]
pub struct Connection {
    /// The peer's identity.
    pub peer: Peer,
    /// The peer's address.
    pub address: SocketAddr,
    /// Frames from the peer.
    pub reader: LinkReader,
    /// Frames to the peer.
    pub writer: LinkWriter,
    /// Counts the bytes received from the peer.
    pub received: Passed,
    /// Counts the bytes handed to the network.
    pub sent: Passed,
}

impl Connection {
    /// A link over `transport`. The caller has authenticated the other end as `peer`.
    #[must_use]
    pub fn new(peer: Peer, address: SocketAddr, transport: Box<dyn Transport>, limits: &LinkLimits) -> Self {
        let (read, write) = tokio::io::split(transport);
        let (received, sent) = (Passed::default(), Passed::default());
        Self {
            peer,
            address,
            reader: FrameReader::new(Counted::new(read, received.clone()), limits),
            writer: FrameWriter::new(Counted::new(write, sent.clone()), limits),
            received,
            sent,
        }
    }
}

/// Sends small frames at once, and lets the system detect a peer that vanished.
pub(crate) fn tune(stream: &TcpStream, limits: &LinkLimits) -> io::Result<()> {
    let interval = (limits.keepalive / KEEPALIVE_PROBES).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new()
        .with_time(limits.keepalive)
        .with_interval(interval)
        .with_retries(KEEPALIVE_PROBES);
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
