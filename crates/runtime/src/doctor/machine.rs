//! What a check measures on the machine it runs on.

use std::io;
use std::path::Path;

/// The largest windows that the system gives a TCP connection, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpWindows {
    /// For what is sent.
    pub send: u64,
    /// For what is received.
    pub receive: u64,
}

/// Room in the file system that holds a folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What may still be written.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl TcpWindows {
    /// As Linux has them for automatic tuning (tcp(7), `tcp_wmem` and `tcp_rmem`); none elsewhere.
    #[must_use]
    pub fn read() -> Option<Self> {
        let most = |name: &str| most(&std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?);
        Some(Self {
            send: most("tcp_wmem")?,
            receive: most("tcp_rmem")?,
        })
    }
}

/// The last of minimum, default and maximum.
pub(super) fn most(triple: &str) -> Option<u64> {
    triple.split_whitespace().nth(2)?.parse().ok()
}

/// The room in the file system that holds `folder`. Blocks as long as the file system does.
///
/// # Errors
/// The folder is not there, or can't be asked about.
pub fn room(folder: &Path) -> io::Result<Room> {
    let stats = rustix::fs::statvfs(folder)?;
    Ok(Room {
        free: stats.f_bavail.saturating_mul(stats.f_frsize),
        total: stats.f_blocks.saturating_mul(stats.f_frsize),
    })
}
