//! Errors of a region's log, leases and messages between processes. Each message names the fix.

use isthmus_replication::coordinates::Sequence;
use isthmus_replication::follow::LifeSuspected;

/// No connection can be made with these settings. An unreachable server is not such an error: the
/// connection waits for it for ever.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A server's address can't be read.
    #[error("{server:?} is not an address of a NATS server: write nats://host:port in nats.servers")]
    Address {
        /// The address as configured.
        server: String,
    },
    /// The credentials file can't be used.
    #[error("the NATS credentials {} cannot be used: {source}; nats.credentials names a NATS credentials file or a file with the seed of a user's nkey", path.display())]
    Credentials {
        /// The file.
        path: std::path::PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// The file of CAs can't be read.
    #[error("the CAs {} cannot be read: {source}; nats.ca names the CAs of the NATS servers, in PEM", path.display())]
    Unreadable {
        /// The file.
        path: std::path::PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// The file of CAs contains no certificate.
    #[error("{} holds no certificate: nats.ca names the CAs of the NATS servers, in PEM", path.display())]
    Authorities {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The system provides no randomness for the names of inboxes.
    #[error("no name can be generated for the inboxes of the process: {0}")]
    NoRandomness(getrandom::Error),
    /// The NATS client rejected its options.
    #[error("no connection to NATS can be set up: {0}; correct nats.servers and nats.credentials")]
    Options(String),
}

/// A stream or bucket is missing, has other settings or could not be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnsureError {
    /// It does not exist and may not be created here.
    #[error(
        "stream {stream} does not exist: create it with the operator's credentials (isthmus region init), or in development set log: {{ create: true }}"
    )]
    Missing {
        /// The stream.
        stream: String,
    },
    /// It has too few consumers for this process to read through.
    #[error(
        "stream {stream} has fewer than {needed} consumers for {process}: isthmus region init --process {process} creates them, with the operator's credentials"
    )]
    NoSlot {
        /// The stream.
        stream: String,
        /// The process's name.
        process: String,
        /// How many the process reads through at once.
        needed: u32,
    },
    /// It exists with a different setting.
    #[error("stream {stream} has {difference}")]
    Differs {
        /// The stream.
        stream: String,
        /// The setting and the fix.
        difference: Difference,
    },
    /// The server has no room for it.
    #[error(
        "stream {stream} of {max_bytes} bytes does not fit into the storage of the NATS servers: lower log.max_bytes, or raise jetstream max_file_store there"
    )]
    NoStorage {
        /// The stream.
        stream: String,
        /// The requested size, in bytes.
        max_bytes: u64,
    },
    /// The server refused.
    #[error(
        "NATS refused stream {stream}: {description} (error {code}); correct the server's configuration or log.*"
    )]
    Refused {
        /// The stream.
        stream: String,
        /// JetStream's error code.
        code: u64,
        /// JetStream's description.
        description: String,
    },
    /// No answer arrived in time.
    #[error(
        "NATS did not answer about stream {stream}: check that the servers run with JetStream and have a majority"
    )]
    Unanswered {
        /// The stream.
        stream: String,
    },
}

impl EnsureError {
    /// The setting under `log` that conflicts with the server; `None` if the cause is not a
    /// setting.
    #[must_use]
    pub fn setting(&self) -> Option<&'static str> {
        match self {
            Self::Differs { difference, .. } if difference.setting == "num_replicas" => Some("replicas"),
            Self::Differs { .. } | Self::NoStorage { .. } => Some("max_bytes"),
            Self::Missing { .. } | Self::NoSlot { .. } | Self::Refused { .. } | Self::Unanswered { .. } => {
                None
            }
        }
    }
}

/// A setting of a stream that differs from the required value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} = {found} where {wanted} is needed: {mend}")]
pub struct Difference {
    /// The setting, as NATS names it.
    pub setting: &'static str,
    /// The value found.
    pub found: String,
    /// The value required.
    pub wanted: String,
    /// The fix.
    pub mend: &'static str,
}

/// An append that returned no sequence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The log is full: nothing was stored.
    #[error("the log {stream} is full: wait for trimming, or raise log.max_bytes")]
    Full {
        /// The stream.
        stream: String,
    },
    /// The message exceeds the server's limit: nothing was sent.
    #[error(
        "a message of {bytes} bytes is above the NATS server's max_payload of {max_payload}: raise max_payload"
    )]
    TooLarge {
        /// The size in bytes, header included.
        bytes: usize,
        /// The server's limit, in bytes.
        max_payload: usize,
    },
    /// The server refused: nothing was stored.
    #[error("the log {stream} refused an append: {description} (error {code}); see the NATS server's log")]
    Refused {
        /// The stream.
        stream: String,
        /// JetStream's error code.
        code: u64,
        /// JetStream's description.
        description: String,
    },
    /// No answer arrived in time, or no server was reachable. The message may be stored.
    #[error("the log {stream} did not answer: check that the NATS servers run, have room and a majority")]
    Unanswered {
        /// The stream.
        stream: String,
    },
    /// The connection ended while waiting for the answer, or the answer can't be read. The message
    /// may be stored.
    #[error("the outcome of an append to {stream} is unknown until the log is read back")]
    Unknown {
        /// The stream.
        stream: String,
    },
}

impl AppendError {
    /// Whether the message may be in the log nevertheless.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        matches!(self, Self::Unanswered { .. } | Self::Unknown { .. })
    }
}

/// A failed request to a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The server does not know the stream at the moment; an election looks the same.
    #[error(
        "stream {stream} is not available: wait for an election to end, or create it (isthmus region init)"
    )]
    Missing {
        /// The stream.
        stream: String,
    },
    /// The server refused.
    #[error("stream {stream} refused a request: {description} (error {code}); see the NATS server's log")]
    Refused {
        /// The stream.
        stream: String,
        /// JetStream's error code.
        code: u64,
        /// JetStream's description.
        description: String,
    },
    /// No answer arrived in time.
    #[error("stream {stream} did not answer: check that the NATS servers run and have a majority")]
    Unanswered {
        /// The stream.
        stream: String,
    },
}

/// Why a reader ended. A temporary condition (an unreachable server, an election) never ends a
/// reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log differs from what was read from it before.
    #[error(transparent)]
    LifeSuspected(#[from] LifeSuspected),
    /// The messages after the reader's position were trimmed: their content must come by sync.
    #[error("the log begins at {first}, after {wanted}, which this process needs next: it needs a sync")]
    Gone {
        /// The message that the reader needs: its anchor, or the one after it.
        wanted: Sequence,
        /// The first message kept.
        first: Sequence,
    },
    /// The stream no longer exists.
    #[error(
        "stream {stream} does not exist, as NATS reported three times within 30 seconds: create it again (isthmus region init)"
    )]
    Missing {
        /// The stream.
        stream: String,
    },
    /// These credentials may not read the stream, or not in this way.
    #[error("stream {stream} cannot be read: {description} (error {code}); correct the credentials' rights")]
    Refused {
        /// The stream.
        stream: String,
        /// JetStream's error code.
        code: u64,
        /// JetStream's description.
        description: String,
    },
    /// The process is shutting down.
    #[error("the reader was stopped")]
    Stopped,
}

/// A failure to take, renew or read a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Compare-and-set: the lease is not at the expected revision.
    #[error("the lease is not at the expected revision: another process holds or held it")]
    Conflict,
    /// The time to live is shorter than the server supports.
    #[error("a lease must last at least 1 s")]
    TooShort,
    /// The server refused.
    #[error("the lease bucket refused a request (error {code}); see the NATS server's log")]
    Refused {
        /// JetStream's error code.
        code: u64,
    },
    /// No answer arrived in time: the lease may have changed.
    #[error("the lease bucket did not answer: check that the NATS servers run and have a majority")]
    Unanswered,
}

/// A message to the region's other processes, or a request, that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No process listens there.
    #[error("no process of the region listens there")]
    NoResponders,
    /// No answer arrived in time.
    #[error("no process of the region answered in time")]
    Unanswered,
    /// There is no connection, or its queue is full.
    #[error("the region's NATS is unreachable: check that its servers run")]
    Away,
}
