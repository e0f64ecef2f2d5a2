//! Disks that are full: while one is, no file of this process grows, as the kernel holds it to.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// While it is held, what would make a file longer than this fails.
const LONGEST: u64 = 4096;

static FULL: AtomicBool = AtomicBool::new(false);

/// Lets a write to a full disk be an error instead of the end of this process.
///
/// # Errors
/// The signal can't be taken.
pub fn begin() -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let _within = runtime.enter();
    // Who has asked for a signal once never dies of it.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// The disk is full while this lives.
#[derive(Debug)]
pub struct Full(Rlimit);

/// Fills the disk.
#[must_use]
pub fn fill() -> Full {
    let before = getrlimit(Resource::Fsize);
    FULL.store(true, Ordering::Relaxed);
    limit(Rlimit {
        current: Some(LONGEST),
        ..before
    });
    Full(before)
}

impl Drop for Full {
    fn drop(&mut self) {
        limit(self.0);
        FULL.store(false, Ordering::Relaxed);
    }
}

/// Whether nothing may be written to a file now.
pub fn is_full() -> bool {
    FULL.load(Ordering::Relaxed)
}

fn limit(to: Rlimit) {
    let set = setrlimit(Resource::Fsize, to);
    assert!(set.is_ok(), "a process may lower its soft limit: {set:?}");
}
