//! All bounds of a link.

use std::time::Duration;

use isthmus_replication::limits::{MESSAGE_OVERHEAD_BYTES, VALUE_BYTES};

/// The application protocol that both ends must agree on.
pub const ALPN: &[u8] = b"isthmus/1";
/// Maximum size of a frame: one message with the largest value, and its overhead.
pub const FRAME_BYTES: usize = VALUE_BYTES + 2 * MESSAGE_OVERHEAD_BYTES;
/// Frames are buffered up to this size before they are written out.
pub const WRITE_BUFFER_BYTES: usize = 128 * 1024;
/// Maximum size of a credentials file.
pub const CREDENTIAL_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Maximum length of the part of a peer's name that an error repeats, in characters.
pub const SHOWN_NAME_CHARS: usize = 256;
/// Delay before a failed reload is tried again: a certificate and its key are two writes.
pub const SETTLE: Duration = Duration::from_millis(200);
/// Maximum interval between two checks of a live session. It bounds how late an expired certificate
/// is detected.
pub const RECHECK: Duration = Duration::from_secs(60);
/// Pause after the system failed to accept a connection (out of file descriptors).
pub const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Number of unanswered probes after which the system declares a connection dead.
pub const KEEPALIVE_PROBES: u32 = 4;

/// The bounds of one process's links. [`LinkLimits::default`] is used in production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkLimits {
    /// Time limit for the TCP connection.
    pub connect: Duration,
    /// Time limit for the TLS handshake.
    pub handshake: Duration,
    /// Time limit for a frame after its first byte; only time in which the reader waits for it
    /// counts.
    pub frame: Duration,
    /// Maximum size of a frame, in bytes, in both directions.
    pub frame_bytes: usize,
    /// Maximum number of concurrent handshakes of one listener, at least 1. Further connections
    /// wait in the system's backlog.
    pub handshakes: usize,
    /// Idle time on TCP after which the system probes the peer.
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
