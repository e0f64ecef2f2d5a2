//! Full disks: while a disk is full, the kernel lets no file of this process grow beyond `LONGEST`.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// While the disk is full, a write that would make a file longer than this fails. In bytes.
const LONGEST: u64 = 4096;

static FULL: AtomicBool = AtomicBool::new(false);

/// Makes a write to a full disk an error; by default SIGXFSZ would end this process.
///
/// # Errors
/// When the signal handler cannot be installed.
pub fn begin() -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let _within = runtime.enter();
    // A handler, once installed, stays for the life of the process.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// The disk is full until this is dropped.
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

/// Whether the disk is full.
pub fn is_full() -> bool {
    FULL.load(Ordering::Relaxed)
}

fn limit(to: Rlimit) {
    let set = setrlimit(Resource::Fsize, to);
    assert!(set.is_ok(), "a process may lower its soft limit: {set:?}");
}
