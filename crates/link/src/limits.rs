//! Every bound of a link, in one place.

use std::time::Duration;

use isthmus_replication::limits::{MESSAGE_OVERHEAD_BYTES, VALUE_BYTES};

/// The application protocol that both ends must agree on.
pub const ALPN: &[u8] = b"isthmus/1";
/// Largest frame: one message with the largest value, and room for the frame around it.
pub const FRAME_BYTES: usize = VALUE_BYTES + 2 * MESSAGE_OVERHEAD_BYTES;
/// Frames are gathered up to this size before they are written out.
pub const WRITE_BUFFER_BYTES: usize = 128 * 1024;
/// Largest credentials file.
pub const CREDENTIAL_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Longest part of a peer's name that an error repeats, in characters.
pub const SHOWN_NAME_CHARS: usize = 256;
/// How long files are left to settle after a change on disk: a certificate and its key are two writes.
pub const SETTLE: Duration = Duration::from_millis(200);
/// A live session is checked again at least this often, which is how soon an expired certificate is noticed.
pub const RECHECK: Duration = Duration::from_secs(60);
/// How long accepting rests after the system refused it (out of file descriptors).
pub const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Probes without an answer after which the system declares a connection dead.
pub const KEEPALIVE_PROBES: u32 = 4;

/// The bounds of one process's links. [`LinkLimits::default`] is what production runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkLimits {
    /// A TCP connection must be made within this.
    pub connect: Duration,
    /// A TLS handshake must be finished within this.
    pub handshake: Duration,
    /// A frame must be complete within this after its first byte, counting only time in which it was read.
    pub frame: Duration,
    /// Largest frame, in bytes, in both directions.
    pub frame_bytes: usize,
    /// Handshakes that run at once on one listener, at least 1; further connections wait in the system's backlog.
    pub handshakes: usize,
    /// Silence on TCP after which the system probes the peer.
    pub keepalive: Duration,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            frame: Duration::from_secs(30),
            frame_bytes: FRAME_BYTES,
            handshakes: 64,
            keepalive: Duration::from_secs(15),
        }
    }
}
