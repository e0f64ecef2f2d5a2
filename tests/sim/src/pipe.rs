//! One direction of a stream, and the end of a stream that a process holds.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use isthmus_replication::names::RegionName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::garble::Frames;
use crate::network::Network;
use crate::time::Time;

/// One direction of a stream.
pub(crate) struct Pipe {
    pub from: RegionName,
    pub to: RegionName,
    ends: [usize; 2],
    parts: VecDeque<(Duration, Bytes)>,
    /// How many of `parts` have arrived.
    arrived: usize,
    bytes: usize,
    last_arrival: Duration,
    closed: Option<Duration>,
    ended: bool,
    unread: bool,
    broken: bool,
    black: bool,
    frames: Frames,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    pub(crate) fn new(from: RegionName, writer: usize, to: RegionName, reader: usize) -> Self {
        Self {
            from,
            to,
            ends: [writer, reader],
            parts: VecDeque::new(),
            arrived: 0,
            bytes: 0,
            last_arrival: Duration::ZERO,
            closed: None,
            ended: false,
            unread: false,
            broken: false,
            black: false,
            frames: Frames::default(),
            reader: None,
            writer: None,
        }
    }

    /// Whether nothing more comes through.
    pub(crate) fn is_over(&self) -> bool {
        self.broken || self.ended || self.black
    }

    /// Whether both ends are gone.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.closed.is_some() && self.unread
    }

    /// Loses the bytes in flight; both ends notice it.
    pub(crate) fn break_off(&mut self) {
        self.broken = true;
        self.parts.clear();
        (self.arrived, self.bytes) = (0, 0);
        self.wake_both();
    }

    /// Machine `node` vanishes. If it is at an end, nothing comes through and nobody is notified.
    pub(crate) fn vanish(&mut self, node: usize) {
        self.black |= self.ends.contains(&node);
    }

    /// Delivers the parts that are due.
    pub(crate) fn deliver(&mut self, now: Duration, cut: bool) {
        if cut || self.black || self.broken {
            return;
        }
        let due = self.parts.partition_point(|(arrival, _)| *arrival <= now);
        let ends = self.closed.is_some_and(|closed| closed <= now) && due == self.parts.len();
        if due > self.arrived || ends && !self.ended {
            self.arrived = due;
            self.ended |= ends;
            self.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    fn wake_both(&mut self) {
        let both = [self.reader.take(), self.writer.take()];
        both.into_iter().flatten().for_each(Waker::wake);
    }
}

/// The end of a stream that a process holds.
pub(crate) struct Half {
    network: Network,
    time: Time,
    reads: Arc<Mutex<Pipe>>,
    writes: Arc<Mutex<Pipe>>,
}

impl Half {
    pub(crate) fn new(
        network: Network,
        time: Time,
        reads: Arc<Mutex<Pipe>>,
        writes: Arc<Mutex<Pipe>>,
    ) -> Self {
        Self {
            network,
            time,
            reads,
            writes,
        }
    }
}

fn lock(pipe: &Arc<Mutex<Pipe>>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pipe = lock(&self.writes);
        write!(f, "stream from {} to {}", pipe.from, pipe.to)
    }
}

impl AsyncRead for Half {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.reads);
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.arrived == 0 {
            if pipe.ended {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        while pipe.arrived > 0 && buffer.remaining() > 0 {
            let Some((_, part)) = pipe.parts.front_mut() else {
                break;
            };
            let taken = part.split_to(part.remaining().min(buffer.remaining()));
            let emptied = part.is_empty();
            buffer.put_slice(&taken);
            pipe.bytes -= taken.len();
            if emptied {
                pipe.parts.pop_front();
                pipe.arrived -= 1;
            }
        }
        pipe.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (from, to) = {
            let pipe = lock(&self.writes);
            (pipe.from.clone(), pipe.to.clone())
        };
        let window = self.network.window(&from, &to);
        let mut pipe = lock(&self.writes);
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.unread && !pipe.black {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = window.saturating_sub(pipe.bytes).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let arrival = self.network.arrival(&from, &to, room);
        pipe.last_arrival = pipe.last_arrival.max(arrival);
        let mut part = BytesMut::from(&bytes[..room]);
        if let Some(garbled) = pipe
            .frames
            .written(&mut part, self.network.is_to_garble(&from, &to))
        {
            self.network.garbled(&from, &to, garbled);
        }
        let arrival = pipe.last_arrival;
        pipe.parts.push_back((arrival, part.freeze()));
        pipe.bytes += room;
        Poll::Ready(Ok(room))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl Half {
    fn close(&self) {
        let now = self.time.now();
        let mut pipe = lock(&self.writes);
        if pipe.closed.is_none() {
            pipe.closed = Some(pipe.last_arrival.max(now));
        }
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.close();
        let mut pipe = lock(&self.reads);
        pipe.unread = true;
        pipe.writer.take().into_iter().for_each(Waker::wake);
    }
}
