//! What can go wrong with a region's log, leases and talk; each says the mend.

use isthmus_replication::coordinates::Sequence;
use isthmus_replication::follow::LifeSuspected;

/// No connection can be made with these settings. A server that is away is no such error: it is awaited for ever.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A server's address can't be read.
    #[error("{server:?} is not an address of a NATS server: write nats://host:port in nats.servers")]
    Address {
        /// As given.
        server: String,
    },
    /// The credentials file can't be used.
    #[error("the NATS credentials {} cannot be used: {source}; nats.credentials names a NATS credentials file or a file with the seed of a user's nkey", path.display())]
    Credentials {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of CAs can't be read.
    #[error("the CAs {} cannot be read: {source}; nats.ca names the CAs of the NATS servers, in PEM", path.display())]
    Unreadable {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of CAs holds none.
    #[error("{} holds no certificate: nats.ca names the CAs of the NATS servers, in PEM", path.display())]
    Authorities {
        /// The file.
        path: std::path::PathBuf,
    },
    /// There is no randomness for the names of inboxes.
    #[error("no name can be drawn for the inboxes of the process: {0}")]
    NoRandomness(getrandom::Error),
    /// The client refused its options.
    #[error("no connection to NATS can be set up: {0}; correct nats.servers and nats.credentials")]
    Options(String),
}

/// Why a stream or bucket is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnsureError {
    /// It does not exist and may not be created here.
    #[error(
        "stream {stream} does not exist: create it with the operator's credentials (isthmus region init), or in development set log: {{ create: true }}"
    )]
    Missing {
        /// Its name.
        stream: String,
    },
    /// It has too few consumers for this process to read through.
    #[error(
        "stream {stream} has fewer than {needed} consumers for {process}: isthmus region init --process {process} makes them, with the operator's credentials"
    )]
    NoSlot {
        /// The stream.
        stream: String,
        /// The process's name.
        process: String,
        /// How many it reads through at once.
        needed: u32,
    },
    /// It exists with another setting.
    #[error("stream {stream} has {difference}")]
    Differs {
        /// Its name.
        stream: String,
        /// Which setting, and the mend.
        difference: Difference,
    },
    /// The server has no room for it.
    #[error(
        "stream {stream} of {max_bytes} bytes does not fit into the storage of the NATS servers: lower log.max_bytes, or raise jetstream max_file_store there"
    )]
    NoStorage {
        /// Its name.
        stream: String,
        /// What was asked for.
        max_bytes: u64,
    },
    /// The server refused.
    #[error(
        "NATS refused stream {stream}: {description} (error {code}); correct the server's configuration or log.*"
    )]
    Refused {
        /// Its name.
        stream: String,
        /// JetStream's error code.
        code: u64,
        /// JetStream's own words.
        description: String,
    },
    /// Nobody answered in time.
    #[error(
        "NATS gave no answer about stream {stream}: check that the servers run, have JetStream and a majority"
    )]
    Unanswered {
        /// Its name.
        stream: String,
    },
}

impl EnsureError {
    /// The setting under `log` that is at odds with the server; none where no setting is.
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

/// A setting of a stream that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} = {found} where {wanted} is needed: {mend}")]
pub struct Difference {
    /// The setting, as NATS names it.
    pub setting: &'static str,
    /// What it is.
    pub found: String,
    /// What it must be.
    pub wanted: String,
    /// What to do.
    pub mend: &'static str,
}

/// An append that was not answered with a sequence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The log is full: nothing was stored.
    #[error("the log {stream} is full: wait for trimming, or raise log.max_bytes")]
    Full {
        /// The stream.
        stream: String,
    },
    /// The message is larger than the server takes: nothing was sent.
    #[error(
        "a message of {bytes} bytes is above the NATS server's max_payload of {max_payload}: raise max_payload"
    )]
    TooLarge {
        /// With its header.
        bytes: usize,
        /// The limit.
        max_payload: usize,
    },
    /// The server refused: nothing was stored.
    #[error("the log {stream} refused an append: {description} (error {code}); see the NATS server's log")]
    Refused {
        /// The stream.
        stream: String,
        /// JetStream's error code.
        code: u64,
        /// JetStream's own words.
        description: String,
    },
    /// No answer in time, or nobody there to give one. It may be stored.
    #[error("the log {stream} gave no answer: check that the NATS servers run, have room and a majority")]
    Unanswered {
        /// The stream.
        stream: String,
    },
    /// The connection ended while the answer was awaited, or the answer can't be read. It may be stored.
    #[error("the outcome of an append to {stream} is unknown until the log is read back")]
    Unknown {
        /// The stream.
        stream: String,
    },
}

impl AppendError {
    /// Whether the message may be in the log all the same.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        matches!(self, Self::Unanswered { .. } | Self::Unknown { .. })
    }
}

/// A question to a log that has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is no such stream, as far as the server knows just now: an election looks the same.
    #[error("stream {stream} is not there: wait for an election to end, or create it (isthmus region init)")]
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
        /// JetStream's own words.
        description: String,
    },
    /// Nobody answered in time.
    #[error("stream {stream} gave no answer: check that the NATS servers run and have a majority")]
    Unanswered {
        /// The stream.
        stream: String,
    },
}

/// Why a reader ended. Whatever can pass by itself (a server away, an election) never ends one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log is not what was read from it before.
    #[error(transparent)]
    LifeSuspected(#[from] LifeSuspected),
    /// The messages after the reader's place were trimmed: what they held must come by sync.
    #[error("the log begins at {first}, after {wanted} which comes next here: this process needs sync")]
    Gone {
        /// The message that the reader needs: its anchor, or the one after it.
        wanted: Sequence,
        /// The first one kept.
        first: Sequence,
    },
    /// The stream is gone for good.
    #[error(
        "stream {stream} does not exist, said three times within 30 seconds: create it again (isthmus region init)"
    )]
    Missing {
        /// The stream.
        stream: String,
    },
    /// The stream may not be read with these credentials, or not in this way.
    #[error("stream {stream} cannot be read: {description} (error {code}); correct the credentials' rights")]
    Refused {
        /// The stream.
        stream: String,
        /// JetStream's error code.
        code: u64,
        /// JetStream's own words.
        description: String,
    },
    /// The process ends.
    #[error("the reader was stopped")]
    Stopped,
}

/// A lease that could not be taken, renewed or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Compare-and-set: the lease is not at the revision that was named.
    #[error("the lease is not at the revision that was named: another process holds or held it")]
    Conflict,
    /// Shorter than the server can count.
    #[error("a lease lasts at least 1 s")]
    TooShort,
    /// The server refused.
    #[error("the lease bucket refused a request (error {code}); see the NATS server's log")]
    Refused {
        /// JetStream's error code.
        code: u64,
    },
    /// Nobody answered in time: the lease may have changed.
    #[error("the lease bucket gave no answer: check that the NATS servers run and have a majority")]
    Unanswered,
}

/// Something that could not be told to, or asked of, the region's other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Nobody listens there.
    #[error("no process of the region listens there")]
    NoResponders,
    /// Nobody answered in time.
    #[error("no process of the region answered in time")]
    Unanswered,
    /// There is no connection, or its queue is full.
    #[error("the region's NATS is away: check that its servers run")]
    Away,
}
