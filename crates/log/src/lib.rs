//! A region's log, journals, leases and messages between processes, behind four ports:
//! [`ChangeLog`], [`Journal`], [`Leases`] and [`PeerBus`].
//!
//! Each port has two implementations, one on NATS JetStream ([`nats`]) and one in memory
//! ([`memory`]), that pass the same conformance suite. The one in memory stores the same bytes: it
//! encodes and decodes headers on every path.
//!
//! This crate reports what is stored and which errors occurred; it does not judge messages.
//! [`isthmus_replication::fold::Fold`] decides whether a message is counted or void, and the
//! replication crate decides what a lost tail or a trimmed log means for a process.
//!
//! Only this crate depends on async-nats. It never deletes a single message (logs are only trimmed
//! from the front), never changes a stream's settings after its creation, and has no state that a
//! restart would lose.

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
pub use reader::{Reader, ReaderCounts, ReadsLog, next_message};

use std::sync::Arc;

/// The ports of one region, whichever implementation is behind them. Clones are the same ports.
#[derive(Debug, Clone)]
pub struct Ports {
    /// The names of the region's streams, subjects and buckets.
    pub names: RegionNames,
    /// The logs of the region's shards.
    pub log: Arc<dyn ChangeLog>,
    /// The region's journals.
    pub journal: Arc<dyn Journal>,
    /// The region's leases.
    pub leases: Arc<dyn Leases>,
    /// The messages between the region's processes.
    pub peers: Arc<dyn PeerBus>,
}
