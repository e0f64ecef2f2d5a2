//! Frames: one byte for the kind, then the protobuf message of that kind (docs/protocol.md).
//!
//! Kinds below 32 belong to the control lane, kinds from 32 on to the data lanes. Numbers are never
//! reused. An unknown kind is an error with its number, never skipped; unknown fields of a known
//! kind are skipped. Decoding never panics, and bodies are slices of their frame.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

pub use super::check::InvalidFrame;
use super::check::{cut, text};
pub use super::lane::{Hold, LaneOffer, LaneReport, RangeFrame};
use super::wire;
use crate::coordinates::WriterId;
use crate::limits;
use crate::names::{ProcessName, RegionName, SetName};
use crate::time::Wall;
use crate::wire::elements;

mod convert;
#[cfg(test)]
mod tests;

/// The versions of the protocol that this crate speaks; their ALPN name is `isthmus/1`. A release
/// also speaks the version before its newest, so that regions can be upgraded one after the other.
pub const VERSIONS: Versions = Versions { least: 1, newest: 1 };

/// The versions of the protocol that one end speaks: all from the least to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The least.
    pub least: u32,
    /// The newest.
    pub newest: u32,
}

impl Versions {
    /// The version that two ends use: the newest that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.least.max(other.least)).then_some(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.newest {
            write!(f, "{}", self.least)
        } else {
            write!(f, "{} to {}", self.least, self.newest)
        }
    }
}

/// A frame of a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The dialer's first frame.
    Hello(Hello),
    /// The acceptor's first frame, which answers Hello.
    Welcome(Welcome),
    /// The progress of a lane, from its receiver.
    Ack(LaneReport),
    /// A lane starts again at its receiver's cursor, under a higher generation.
    Reset(LaneReport),
    /// Asks for a Pong.
    Ping(Ping),
    /// Answers a Ping.
    Pong(Pong),
    /// Asks the other end to send no ranges until [`Frame::Resume`].
    Pause,
    /// Ends [`Frame::Pause`].
    Resume,
    /// Asks for a [`Frame::Response`].
    Request(Request),
    /// Answers a [`Frame::Request`].
    Response(Response),
    /// A message for the other end's operator.
    Event(Event),
    /// The sender's last frame.
    Goodbye(Goodbye),
    /// A range on a data lane.
    Range(RangeFrame),
}

/// The process at one end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The set.
    pub set: SetName,
    /// The digest of its set.yaml's bytes; it should be the same at both ends.
    pub set_digest: [u8; 16],
    /// The generation of its set.yaml.
    pub generation: u64,
    /// Its region; must be the region of its certificate.
    pub region: RegionName,
    /// Its name within the region.
    pub process: ProcessName,
    /// The identifier of its current run.
    pub run: WriterId,
}

/// The dialer's first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The protocol versions that it speaks.
    pub versions: Versions,
    /// The dialer.
    pub party: Party,
    /// The shards that it can send, at most [`limits::LANES`].
    pub lanes: Vec<LaneOffer>,
}

/// The acceptor's answer to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol version that both ends speak from now on.
    pub version: u32,
    /// The acceptor.
    pub party: Party,
    /// The offered shards that this end takes, and where each begins; at most [`limits::LANES`].
    pub lanes: Vec<LaneReport>,
}

/// Asks for a [`Pong`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// Counts the sender's pings.
    pub number: u64,
    /// The sender's wall time.
    pub sent: Wall,
}

/// Answers a [`Ping`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// The ping's number.
    pub number: u64,
    /// The ping's `sent`.
    pub ping_sent: Wall,
    /// When the ping arrived, by this end's wall time.
    pub received: Wall,
    /// When this left, by this end's wall time.
    pub sent: Wall,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the caller; the answer has the same.
    pub id: u64,
    /// The method, for example `status`; at most [`limits::FRAME_TEXT_BYTES`].
    pub method: String,
    /// The body in the method's own encoding, at most [`limits::CALL_BYTES`].
    pub body: Bytes,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The identifier of the request.
    pub id: u64,
    /// The method's own encoding, at most [`limits::RESPONSE_BYTES`], or why there is none.
    pub outcome: Result<Bytes, NoAnswer>,
}

/// Why a call has no answer: a sentence for the operator of the other end, never empty and at most
/// [`limits::FRAME_TEXT_BYTES`] long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(String);

impl NoAnswer {
    /// Cuts the reason to the length that a frame may carry.
    #[must_use]
    pub fn because(reason: &impl std::fmt::Display) -> Self {
        match super::check::cut(&reason.to_string()) {
            empty if empty.is_empty() => Self("refused without a reason".to_owned()),
            reason => Self(reason),
        }
    }

    /// The reason as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A message for the other end's operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// A word for programs.
    pub kind: String,
    /// A sentence for people.
    pub text: String,
}

/// The end of a session, sent by the end that closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// The reason.
    pub reason: GoodbyeReason,
    /// A sentence for people.
    pub text: String,
}

/// Why a session ends. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GoodbyeReason {
    /// The process stops.
    Draining,
    /// The dialer no longer leads its region.
    NotLeading,
    /// The other end speaks another protocol version.
    Version,
    /// The other end is of another set, or its region is not the one in its certificate.
    Identity,
    /// The other end's certificate is no longer valid.
    Certificate,
    /// The other end broke the protocol.
    Violation,
    /// A newer session with the same process replaces this one.
    Replaced,
    /// Nothing moved on a lane that had work, or the other end sent nothing in time.
    NoProgress,
    /// A reason of a later version.
    Other(u32),
}

impl GoodbyeReason {
    const KNOWN: [Self; 8] = [
        Self::Draining,
        Self::NotLeading,
        Self::Version,
        Self::Identity,
        Self::Certificate,
        Self::Violation,
        Self::Replaced,
        Self::NoProgress,
    ];

    fn number(self) -> u32 {
        let known = (1..).zip(Self::KNOWN).find(|(_, reason)| *reason == self);
        match (self, known) {
            (Self::Other(number), _) => number,
            (_, known) => known.map_or(0, |(number, _)| number),
        }
    }

    fn from_number(number: u32) -> Self {
        let known = (1..).zip(Self::KNOWN).find(|(known, _)| *known == number);
        known.map_or(Self::Other(number), |(_, reason)| reason)
    }

    /// A label for metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::NotLeading => "not_leading",
            Self::Version => "version",
            Self::Identity => "identity",
            Self::Certificate => "certificate",
            Self::Violation => "violation",
            Self::Replaced => "replaced",
            Self::NoProgress => "no_progress",
            Self::Other(_) => "other",
        }
    }
}

impl Event {
    /// Creates an event; both texts are cut to [`limits::FRAME_TEXT_BYTES`].
    #[must_use]
    pub fn new(kind: &str, text: &str) -> Self {
        Self {
            kind: cut(kind),
            text: cut(text),
        }
    }
}

impl Goodbye {
    /// Creates a goodbye; the text is cut to [`limits::FRAME_TEXT_BYTES`].
    #[must_use]
    pub fn new(reason: GoodbyeReason, text: &str) -> Self {
        Self {
            reason,
            text: cut(text),
        }
    }
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const ACK: u8 = 3;
const RESET: u8 = 4;
const PING: u8 = 5;
const PONG: u8 = 6;
const PAUSE: u8 = 7;
const RESUME: u8 = 8;
const REQUEST: u8 = 9;
const RESPONSE: u8 = 10;
const EVENT: u8 = 11;
const GOODBYE: u8 = 12;
const RANGE: u8 = 32;

impl Frame {
    /// A label for metrics and errors.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Welcome(_) => "welcome",
            Self::Ack(_) => "ack",
            Self::Reset(_) => "reset",
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Request(_) => "request",
            Self::Response(_) => "response",
            Self::Event(_) => "event",
            Self::Goodbye(_) => "goodbye",
            Self::Range(_) => "range",
        }
    }

    /// Encodes the frame. The connection adds the length prefix.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Hello(hello) => bytes(HELLO, &hello.to_wire()),
            Self::Welcome(welcome) => bytes(WELCOME, &welcome.to_wire()),
            Self::Ack(report) => bytes(ACK, &report.to_wire()),
            Self::Reset(report) => bytes(RESET, &report.to_wire()),
            Self::Ping(ping) => bytes(PING, &ping.to_wire()),
            Self::Pong(pong) => bytes(PONG, &pong.to_wire()),
            Self::Pause => bytes(PAUSE, &wire::Empty {}),
            Self::Resume => bytes(RESUME, &wire::Empty {}),
            Self::Request(request) => bytes(REQUEST, &request.to_wire()),
            Self::Response(response) => bytes(RESPONSE, &response.to_wire()),
            Self::Event(event) => bytes(
                EVENT,
                &wire::Event {
                    kind: event.kind.clone(),
                    text: event.text.clone(),
                },
            ),
            Self::Goodbye(goodbye) => bytes(
                GOODBYE,
                &wire::Goodbye {
                    reason: goodbye.reason.number(),
                    text: goodbye.text.clone(),
                },
            ),
            Self::Range(range) => bytes(RANGE, &range.to_wire()),
        }
    }

    /// Decodes and checks a frame. Bodies are slices of `frame`.
    ///
    /// # Errors
    /// [`InvalidFrame`].
    pub fn decode(mut frame: Bytes) -> Result<Self, InvalidFrame> {
        if frame.len() > limits::FRAME_BYTES {
            return Err(InvalidFrame::TooLarge { bytes: frame.len() });
        }
        let Some(kind) = frame.first().copied() else {
            return Err(InvalidFrame::Empty);
        };
        let rest = frame.split_off(1);
        Ok(match kind {
            HELLO => Self::Hello(Hello::from_wire(greeting(rest, "hello")?)?),
            WELCOME => Self::Welcome(Welcome::from_wire(greeting(rest, "welcome")?)?),
            ACK => Self::Ack(LaneReport::from_wire(message(rest, "ack")?)?),
            RESET => Self::Reset(LaneReport::from_wire(message(rest, "reset")?)?),
            PING => Self::Ping(Ping::from_wire(message(rest, "ping")?)),
            PONG => Self::Pong(Pong::from_wire(message(rest, "pong")?)),
            PAUSE => message::<wire::Empty>(rest, "pause").map(|_| Self::Pause)?,
            RESUME => message::<wire::Empty>(rest, "resume").map(|_| Self::Resume)?,
            REQUEST => Self::Request(Request::from_wire(message(rest, "request")?)?),
            RESPONSE => Self::Response(Response::from_wire(message(rest, "response")?)?),
            EVENT => {
                let wire: wire::Event = message(rest, "event")?;
                Self::Event(Event {
                    kind: text(wire.kind, "event kind")?,
                    text: text(wire.text, "event text")?,
                })
            }
            GOODBYE => {
                let wire: wire::Goodbye = message(rest, "goodbye")?;
                Self::Goodbye(Goodbye {
                    reason: GoodbyeReason::from_number(wire.reason),
                    text: text(wire.text, "farewell")?,
                })
            }
            RANGE => Self::Range(RangeFrame::from_wire(message(rest, "range")?)?),
            unknown => return Err(InvalidFrame::UnknownKind(unknown)),
        })
    }
}

fn bytes(kind: u8, message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
    bytes.put_u8(kind);
    bytes.put(message.encode_to_vec().as_slice());
    bytes.freeze()
}

/// Decodes a Hello or a Welcome. More lanes than allowed are refused before memory is allocated for
/// them.
fn greeting<M: Message + Default>(bytes: Bytes, kind: &'static str) -> Result<M, InvalidFrame> {
    const LANES_TAG: u32 = 3;
    if elements(&bytes, LANES_TAG).nth(limits::LANES).is_some() {
        return Err(InvalidFrame::Field("number of lanes"));
    }
    message(bytes, kind)
}

fn message<M: Message + Default>(bytes: Bytes, kind: &'static str) -> Result<M, InvalidFrame> {
    M::decode(bytes).map_err(|_| InvalidFrame::NotProtobuf(kind))
}
