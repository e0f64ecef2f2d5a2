//! Frames: a length of four bytes, big-endian, then that many bytes. The protocol defines their
//! content.
//!
//! A reader buffers at most one frame of the allowed size and rejects a larger one as soon as it
//! reads the length. It distinguishes a connection that ends between frames from one that ends
//! within a frame, and gives up on a frame that arrives too slowly.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::length_delimited::LengthDelimitedCodecError;
use tokio_util::codec::{Decoder, Encoder, FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::limits::{LinkLimits, WRITE_BUFFER_BYTES};

/// Why no further frame can be read or written. The connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame exceeds the limit.
    #[error("a frame is larger than {limit} bytes: compare the versions and max_value of both regions")]
    Oversized {
        /// The maximum size of a frame, in bytes.
        limit: usize,
    },
    /// The connection ended within a frame.
    #[error("the connection ended within a frame: check the network and the peer's log")]
    Truncated,
    /// A frame did not arrive in time.
    #[error("a frame was not complete within {timeout:?}: check the network between the gateways")]
    Slow {
        /// The time limit.
        timeout: Duration,
    },
    /// The connection ended between frames without a TLS close.
    #[error("the peer's connection ended without a goodbye: check the network and the peer's log")]
    Cut,
    /// The peer refused this end.
    #[error("the peer refused this end ({alert:?}): its log says why")]
    RefusedByPeer {
        /// The TLS alert that it sent.
        alert: AlertDescription,
    },
    /// The received bytes fail the TLS checks.
    #[error("the bytes on the link are not what the peer sent ({cause}): check what is between the gateways")]
    Tls {
        /// The TLS error.
        cause: rustls::Error,
    },
    /// The connection failed.
    #[error("the connection failed: check the network between the gateways")]
    Connection(#[source] io::Error),
}

impl FrameError {
    /// The value of `reason` in metrics and log lines. Published: never renamed.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Oversized { .. } => "oversized_frame",
            Self::Truncated => "truncated_frame",
            Self::Slow { .. } => "slow_frame",
            Self::Cut => "cut",
            Self::RefusedByPeer { .. } => "refused_by_peer",
            Self::Tls { .. } => "tls",
            Self::Connection(_) => "connection",
        }
    }
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(rustls::Error::AlertReceived(alert)) => Self::RefusedByPeer { alert: *alert },
            Some(cause) => Self::Tls { cause: cause.clone() },
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Cut,
            None => Self::Connection(error),
        }
    }
}

#[derive(Debug)]
struct FrameCodec {
    lengths: LengthDelimitedCodec,
    began: Option<Instant>,
}

impl FrameCodec {
    fn new(limits: &LinkLimits) -> Self {
        let lengths = LengthDelimitedCodec::builder()
            .max_frame_length(limits.frame_bytes)
            .new_codec();
        Self { lengths, began: None }
    }

    fn refused(&self, error: io::Error) -> FrameError {
        match error.get_ref() {
            Some(inner) if inner.is::<LengthDelimitedCodecError>() => FrameError::Oversized {
                limit: self.lengths.max_frame_length(),
            },
            _ => error.into(),
        }
    }
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let nothing_yet = source.is_empty() && self.began.is_none();
        let frame = self.lengths.decode(source).map_err(|error| self.refused(error))?;
        self.began = match frame {
            None if !nothing_yet => self.began.or_else(|| Some(Instant::now())),
            _ => None,
        };
        Ok(frame.map(BytesMut::freeze))
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        match self.decode(source)? {
            None if self.began.is_some() => Err(FrameError::Truncated),
            frame => Ok(frame),
        }
    }
}

impl Encoder<Bytes> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Bytes, target: &mut BytesMut) -> Result<(), FrameError> {
        self.lengths
            .encode(frame, target)
            .map_err(|error| self.refused(error))
    }
}

/// The receiving half of a link.
#[derive(Debug)]
pub struct FrameReader<R> {
    frames: FramedRead<R, FrameCodec>,
    timeout: Duration,
    spent: Duration,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames from `source` within `limits`.
    pub fn new(source: R, limits: &LinkLimits) -> Self {
        Self {
            frames: FramedRead::new(source, FrameCodec::new(limits)),
            timeout: limits.frame,
            spent: Duration::ZERO,
        }
    }

    /// The next frame, or `None` if the peer has closed the link. Cancel safe.
    ///
    /// There is no time limit until a frame has begun. Time in which nobody calls this does not
    /// count towards the limit.
    ///
    /// # Errors
    /// [`FrameError`]; the link is then closed.
    pub async fn next(&mut self) -> Option<Result<Bytes, FrameError>> {
        Wait {
            since: Instant::now(),
            reader: self,
        }
        .frame()
        .await
    }

    fn began(&self) -> Option<Instant> {
        self.frames.decoder().began
    }
}

struct Wait<'a, R> {
    since: Instant,
    reader: &'a mut FrameReader<R>,
}

impl<R: AsyncRead + Unpin> Wait<'_, R> {
    async fn frame(&mut self) -> Option<Result<Bytes, FrameError>> {
        let timeout = self.reader.timeout;
        loop {
            let deadline = self.deadline();
            match timeout_at(deadline, self.reader.frames.next()).await {
                Ok(frame) => return frame.map(|frame| frame.map_err(|error| self.within_frame(error))),
                Err(_) if self.reader.began().is_some() && self.deadline() <= Instant::now() => {
                    return Some(Err(FrameError::Slow { timeout }));
                }
                Err(_) => {}
            }
        }
    }

    fn deadline(&self) -> Instant {
        match self.reader.began() {
            Some(began) => began.max(self.since) + self.reader.timeout.saturating_sub(self.reader.spent),
            None => Instant::now() + self.reader.timeout,
        }
    }

    fn within_frame(&self, error: FrameError) -> FrameError {
        match error {
            FrameError::Cut if self.reader.began().is_some() => FrameError::Truncated,
            error => error,
        }
    }
}

impl<R> Drop for Wait<'_, R> {
    fn drop(&mut self) {
        self.reader.spent = match self.reader.frames.decoder().began {
            Some(began) if began < self.since => self.reader.spent + self.since.elapsed(),
            Some(began) => began.elapsed(),
            None => Duration::ZERO,
        };
    }
}

/// The sending half of a link.
#[derive(Debug)]
pub struct FrameWriter<W> {
    frames: FramedWrite<W, FrameCodec>,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes frames to `target` within `limits`.
    pub fn new(target: W, limits: &LinkLimits) -> Self {
        let mut frames = FramedWrite::new(target, FrameCodec::new(limits));
        frames.set_backpressure_boundary(WRITE_BUFFER_BYTES);
        Self { frames }
    }

    /// Buffers a frame, and writes out once enough bytes are buffered. [`FrameWriter::flush`] sends
    /// the rest.
    ///
    /// # Errors
    /// [`FrameError::Oversized`], after which the link is still usable, or the failure of the
    /// connection.
    pub async fn feed(&mut self, frame: Bytes) -> Result<(), FrameError> {
        self.frames.feed(frame).await
    }

    /// Writes out every buffered frame. Cancel safe.
    ///
    /// # Errors
    /// The failure of the connection.
    pub async fn flush(&mut self) -> Result<(), FrameError> {
        SinkExt::<Bytes>::flush(&mut self.frames).await
    }

    /// Buffers a frame and writes out every buffered frame.
    ///
    /// # Errors
    /// As [`FrameWriter::feed`].
    pub async fn send(&mut self, frame: Bytes) -> Result<(), FrameError> {
        self.frames.send(frame).await
    }

    /// Writes out every buffered frame and closes this direction; the peer's reader then returns
    /// `None`.
    ///
    /// # Errors
    /// The failure of the connection.
    pub async fn close(&mut self) -> Result<(), FrameError> {
        SinkExt::<Bytes>::close(&mut self.frames).await
    }
}
