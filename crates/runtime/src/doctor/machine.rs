//! Measurements on the local machine.

use std::io;
use std::path::Path;

/// The maximum TCP windows that the system allows for a connection, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpWindows {
    /// The send window.
    pub send: u64,
    /// The receive window.
    pub receive: u64,
}

/// The space in the file system of a folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Available space.
    pub free: u64,
    /// Total space.
    pub total: u64,
}

impl TcpWindows {
    /// Linux's limits of automatic tuning (tcp(7), `tcp_wmem` and `tcp_rmem`); `None` on other
    /// systems.
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

/// The space in the file system of `folder`. Blocks as long as the file system does.
///
/// # Errors
/// If the folder does not exist, or its file system can't be queried.
pub fn room(folder: &Path) -> io::Result<Room> {
    let stats = rustix::fs::statvfs(folder)?;
    Ok(Room {
        free: stats.f_bavail.saturating_mul(stats.f_frsize),
        total: stats.f_blocks.saturating_mul(stats.f_frsize),
    })
}
