//! JetStream requests and their outcomes.

use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::RawMessageErrorKind;
use async_nats::jetstream::{ErrorCode, stream};
use isthmus_replication::time::Wall;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use crate::LogError;

/// The JetStream error codes that are distinguished (server/errors.json).
pub(super) const MAXIMUM_BYTES: u64 = 10077;
pub(super) const WRONG_LAST_SEQUENCE: u64 = 10071;
pub(super) const WRONG_LAST_SEQUENCE_CONSTANT: u64 = 10164;
pub(super) const NO_SUITABLE_PEERS: u64 = 10005;
pub(super) const TEMPORARILY_UNAVAILABLE: u64 = 10008;
pub(super) const NO_STORAGE: u64 = 10047;
pub(super) const NAME_IN_USE: u64 = 10058;

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfulfilled {
    /// No answer arrived in time, or no server was reachable.
    Unanswered,
    /// The stream does not exist at the moment.
    NoStream,
    /// Refused for another reason.
    Refused { code: u64, description: String },
}

impl From<async_nats::jetstream::Error> for Unfulfilled {
    fn from(error: async_nats::jetstream::Error) -> Self {
        match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND => Self::NoStream,
            code => Self::Refused {
                code: code.0,
                description: error.to_string(),
            },
        }
    }
}

impl Unfulfilled {
    pub(super) fn of_stream(self, stream: &str) -> LogError {
        let stream = stream.to_owned();
        match self {
            Self::Unanswered => LogError::Unanswered { stream },
            Self::NoStream => LogError::Missing { stream },
            Self::Refused { code, description } => LogError::Refused {
                stream,
                code,
                description,
            },
        }
    }
}

/// The fields of STREAM.INFO that are used.
#[derive(Debug, Deserialize)]
pub(super) struct StreamInfo {
    pub config: stream::Config,
    pub state: StreamState,
    /// `None` for a server without a cluster.
    #[serde(default)]
    pub cluster: Option<Cluster>,
    #[serde(default)]
    created: String,
    #[serde(default)]
    ts: String,
}

/// The replicas of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Cluster {
    #[serde(default)]
    pub leader: Option<String>,
    /// The replicas other than the leader's.
    #[serde(default)]
    pub replicas: Vec<Follower>,
}

/// A replica of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Follower {
    #[serde(default)]
    pub current: bool,
    #[serde(default)]
    pub offline: bool,
    /// Time since it was last heard from, in nanoseconds.
    #[serde(default)]
    pub active: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct StreamState {
    pub bytes: u64,
    pub first_seq: u64,
    #[serde(default)]
    first_ts: String,
    pub last_seq: u64,
    #[serde(default)]
    last_ts: String,
}

impl StreamInfo {
    /// When the server answered, by its clock.
    pub(super) fn answered_at(&self) -> Wall {
        wall(&self.ts)
    }

    pub(super) fn made_at(&self) -> Wall {
        wall(&self.created)
    }

    pub(super) fn first_at(&self) -> Wall {
        wall(&self.state.first_ts)
    }

    pub(super) fn last_at(&self) -> Wall {
        wall(&self.state.last_ts)
    }
}

fn wall(rfc3339: &str) -> Wall {
    let nanos = async_nats::datetime::parse_rfc3339(rfc3339).map_or(0, |time| time.unix_timestamp_nanos());
    wall_of_nanos(nanos)
}

/// Microseconds are truncated, never rounded, so that every way of reading a message gives the same
/// timestamp.
pub(super) fn wall_of_nanos(nanos: i128) -> Wall {
    Wall::from_micros(u64::try_from(nanos.max(0) / 1000).unwrap_or(u64::MAX))
}

impl Connection {
    /// The answer to `$JS.API.<subject>`. Without a connection it fails at once.
    pub(super) async fn ask<Q, A>(&self, subject: String, question: &Q) -> Result<A, Unfulfilled>
    where
        Q: Serialize + ?Sized + Sync,
        A: DeserializeOwned,
    {
        if !self.is_connected() {
            return Err(Unfulfilled::Unanswered);
        }
        let answer: Result<Response<A>, _> = self.requests().request(subject, question).await;
        match answer {
            Ok(Response::Ok(answer)) => Ok(answer),
            Ok(Response::Err { error }) => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "a JetStream request was not answered");
                Err(Unfulfilled::Unanswered)
            }
        }
    }

    pub(super) async fn stream_info(&self, stream: &str) -> Result<StreamInfo, Unfulfilled> {
        self.ask(format!("STREAM.INFO.{stream}"), &()).await
    }

    /// The message that `query` selects, read from the stream's leader; `None` if there is no such
    /// message.
    pub(super) async fn message(
        &self,
        stream: &str,
        query: Query,
    ) -> Result<Option<async_nats::jetstream::message::StreamMessage>, Unfulfilled> {
        if !self.is_connected() {
            return Err(Unfulfilled::Unanswered);
        }
        let handle = self.requests().get_stream_no_info(stream).await;
        let builder = handle.map_err(|_| Unfulfilled::NoStream)?.raw_message_builder();
        let builder = match query {
            Query::At(sequence) => builder.sequence(sequence),
            Query::NextOf { subject, from } => builder.next_by_subject(subject).sequence(from),
            Query::LastOf(subject) => builder.last_by_subject(subject),
        };
        match builder.send().await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::JetStream(error) => Err(error.into()),
                RawMessageErrorKind::InvalidSubject | RawMessageErrorKind::Other => {
                    Err(Unfulfilled::Unanswered)
                }
            },
        }
    }
}

/// Selects a message of a stream.
#[derive(Debug)]
pub(super) enum Query {
    At(u64),
    NextOf { subject: String, from: u64 },
    LastOf(String),
}
