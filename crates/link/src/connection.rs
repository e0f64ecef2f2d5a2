//! A link that stands: a proven peer and the two directions of frames.

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

/// What carries a link's bytes: TLS over TCP, or a network in memory.
pub trait Transport: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> Transport for T {}

/// The receiving half of a [`Connection`].
pub type LinkReader = FrameReader<Counted<ReadHalf<Box<dyn Transport>>>>;
/// The sending half of a [`Connection`].
pub type LinkWriter = FrameWriter<Counted<WriteHalf<Box<dyn Transport>>>>;

/// A link to a proven peer. Dropping both halves closes it.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: Peer,
    /// The other end's address.
    pub address: SocketAddr,
    /// Frames from the peer.
    pub reader: LinkReader,
    /// Frames to the peer.
    pub writer: LinkWriter,
    /// What has come from the peer.
    pub received: Passed,
    /// What was handed to the network.
    pub sent: Passed,
}

impl Connection {
    /// A link over `transport`, whose other end has been proven to be `peer`.
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

/// Small frames leave at once, and a peer that vanished is noticed by the system.
pub(crate) fn tune(stream: &TcpStream, limits: &LinkLimits) -> io::Result<()> {
    let interval = (limits.keepalive / KEEPALIVE_PROBES).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new()
        .with_time(limits.keepalive)
        .with_interval(interval)
        .with_retries(KEEPALIVE_PROBES);
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
