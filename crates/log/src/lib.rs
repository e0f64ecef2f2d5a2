//! A region's log, journals, leases and talk, behind four ports: [`ChangeLog`], [`Journal`], [`Leases`] and [`PeerBus`].
//!
//! Each port has a twin on NATS JetStream ([`nats`]) and one in memory ([`memory`]), held to one conformance suite. The
//! memory twin stores the same bytes: headers are encoded and decoded on every way through it.
//!
//! This crate says what is stored and where it went wrong; it gives no verdicts. A message is counted or void by
//! [`isthmus_replication::fold::Fold`], and what a lost tail or a trimmed log means for a process is decided there.
//!
//! Only this crate names async-nats. It never deletes a message, never writes a stream's settings after its creation,
//! and holds no state that a restart would miss.

mod absences;
mod candidacy;
mod change_log;
mod clock;
mod ensure;
mod error;
mod journal;
mod leases;
mod marks;
mod members;
mod membership;
pub mod memory;
mod names;
pub mod nats;
mod peers;
mod presence;
mod reader;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod unguessable;

pub use candidacy::{Candidacy, payload as candidacy_payload};
pub use change_log::{Appending, Bounds, ChangeLog, LogSettings, StoredMessage};
pub use clock::{ClockOffset, LocalClock, ServerClock};
pub use error::{
    AppendError, ConnectError, Difference, EnsureError, LeaseError, LogError, PeerError, ReadError,
};
pub use journal::{
    Appended, EntryName, InvalidEntryName, Journal, JournalEntry, JournalName, JournalPage, PageFrom,
};
pub use leases::{Ended, InvalidLeaseName, Lease, LeaseEvent, LeaseName, LeaseWatch, Leases, Revision};
pub use marks::{FoundMark, newest_mark_describing, oldest_mark};
pub use members::{Member, MemberChange, Members, Role};
pub use membership::{Membership, Renewal};
pub use names::RegionNames;
pub use peers::{PeerBus, PeerMessage, PeerSubscription, Reply};
pub use presence::{MissingStreams, StreamChange};
pub use reader::{Reader, ReaderCounts};

use std::sync::Arc;

/// The ports of one region, whichever twin is behind them. Clones are the same ports.
#[derive(Debug, Clone)]
pub struct Ports {
    /// What everything is called.
    pub names: RegionNames,
    /// The logs of the region's shards.
    pub log: Arc<dyn ChangeLog>,
    /// What it keeps beside them.
    pub journal: Arc<dyn Journal>,
    /// The region's leases.
    pub leases: Arc<dyn Leases>,
    /// What its processes tell each other.
    pub peers: Arc<dyn PeerBus>,
}
