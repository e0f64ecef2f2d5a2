//! The head of one shard's log: one fold that follows it, and the lanes of every link that append
//! to it.
//!
//! An append counts only once this fold has read it back. Lanes see nothing of what is read on the
//! way to the head. A log that is not what was read (a lost tail) is read again from its newest
//! mark; the region's agents begin its next life. When a life is seen for the first time, the log
//! is read again from its fork ([`RereadRule`]).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use isthmus_log::{AppendError, ReadError, Reader, StoredMessage, next_message};
use isthmus_replication::coordinates::{Sequence, Shard};
use isthmus_replication::fold::Fold;
use isthmus_replication::follow::RereadRule;
use isthmus_replication::link::landmarks::Landmarks;
use isthmus_replication::link::lane::{LaneReport, RangeFrame};
use isthmus_replication::link::session::ClockEstimate;
use isthmus_replication::names::RegionName;
use isthmus_replication::receiving::AppendId;
use isthmus_replication::time::Mono;
use isthmus_report::gateway::HeadState;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::outbox::Outbox;
use crate::shared::Shared;
use crate::start::StartError;
use crate::suspicion::Suspicion;

mod follow;
mod lanes;
mod view;

use lanes::ReceivingLane;
use view::Origins;

/// At most this many messages are taken from the reader at a time.
const AT_A_TIME: usize = 16;
/// How old the shown status of a head may get.
const SHOW: Duration = Duration::from_millis(250);

/// The start position that means the newest mark.
const NEWEST: Sequence = Sequence(u64::MAX);

/// Messages from links to the head of a shard.
#[derive(Debug)]
pub enum ToHead {
    /// A peer offers its lane of this shard.
    Open {
        /// The link's number.
        session: u64,
        /// The peer's region.
        origin: RegionName,
        /// Where reports go.
        outbox: Outbox,
        /// Receives how the peer broke the protocol.
        violations: mpsc::Sender<String>,
        /// Receives where the lane begins, once the log has been read up to its head.
        answer: oneshot::Sender<LaneReport>,
    },
    /// The Welcome is queued: reports may follow it.
    Welcomed {
        /// The link's number.
        session: u64,
    },
    /// A range arrived.
    Range {
        /// The link's number.
        session: u64,
        /// The range.
        range: RangeFrame,
        /// The origin's clock as estimated by the link's pings.
        clock: Option<ClockEstimate>,
        /// The range's share of the link's room, held while it waits here.
        room: OwnedSemaphorePermit,
    },
    /// A peer asks for this region's landmarks of its log.
    Landmarks {
        /// The peer's region.
        origin: RegionName,
        /// Receives the answer to the call.
        answer: oneshot::Sender<Bytes>,
    },
    /// The link has ended.
    Closed {
        /// The link's number.
        session: u64,
    },
}

type Starting = BoxFuture<'static, Result<(Fold, Reader, Sequence), StartError>>;
type Appended = (u64, AppendId, Result<Sequence, AppendError>);

/// The head of one shard's log.
pub(super) struct HeadTask {
    shared: Shared,
    shard: Shard,
    inputs: mpsc::Receiver<ToHead>,
    caught_up: watch::Sender<bool>,
    applied: watch::Receiver<u64>,
    fold: Fold,
    /// The log's last message when reading began; none once it has been reached.
    target: Option<Sequence>,
    reader: Option<Reader>,
    /// When the reader was opened or last read a message.
    read_at: Mono,
    starting: Option<Starting>,
    /// When to start reading; none while reading, or if the log can't be read any further.
    start_at: Option<Mono>,
    /// Reading starts from a mark that describes this position or an earlier one.
    start_from: Sequence,
    reread: RereadRule,
    state: HeadState,
    /// The log contains a record of a later version.
    stopped: bool,
    lanes: BTreeMap<u64, ReceivingLane>,
    /// Lanes offered before the log has been read up to its head.
    offered: Vec<ToHead>,
    appends: FuturesUnordered<BoxFuture<'static, Appended>>,
    origins: Origins,
    landmarks: Landmarks,
    suspicion: Suspicion,
    shown: Mono,
}

enum HeadEvent {
    Input(ToHead),
    Started(Result<(Fold, Reader, Sequence), StartError>),
    Read(Result<StoredMessage, ReadError>),
    Appended(Appended),
    Applied,
    Due,
}

impl HeadTask {
    /// The head of the log of `shard`; `caught_up` turns true once it has been read up to its end.
    pub(super) fn new(
        shared: Shared,
        shard: Shard,
        inputs: mpsc::Receiver<ToHead>,
        caught_up: watch::Sender<bool>,
    ) -> Self {
        Self {
            applied: shared.applied.subscribe(),
            fold: Fold::new(shared.ports.names.log(&shard)),
            target: Some(Sequence::NONE),
            start_at: Some(Mono::default()),
            start_from: NEWEST,
            reread: RereadRule::default(),
            state: HeadState::Starting,
            stopped: false,
            shared,
            shard,
            inputs,
            caught_up,
            reader: None,
            read_at: Mono::default(),
            starting: None,
            lanes: BTreeMap::new(),
            offered: Vec::new(),
            appends: FuturesUnordered::new(),
            origins: Origins::default(),
            landmarks: Landmarks::default(),
            suspicion: Suspicion::default(),
            shown: Mono::default(),
        }
    }

    /// Follows the log and appends what arrives, until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        loop {
            tokio::select! {
                () = self.step() => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn step(&mut self) {
        self.start_if_due();
        self.start_again_if_stalled();
        self.drive().await;
        self.tell_end_of_suspicion();
        self.update_view();
        match self.wait().await {
            HeadEvent::Input(input) => self.handle(input),
            HeadEvent::Started(started) => self.started(started),
            HeadEvent::Read(read) => self.read(read),
            HeadEvent::Appended((session, id, outcome)) => self.appended(session, id, outcome),
            HeadEvent::Applied => self.learn_applied(),
            HeadEvent::Due => {}
        }
    }

    async fn wait(&mut self) -> HeadEvent {
        let deadline = self.shared.process.clock.instant(self.deadline());
        tokio::select! {
            started = done(&mut self.starting) => HeadEvent::Started(started),
            read = next_message(&mut self.reader) => HeadEvent::Read(read),
            Some(appended) = self.appends.next() => HeadEvent::Appended(appended),
            Some(input) = self.inputs.recv() => HeadEvent::Input(input),
            Ok(()) = self.applied.changed() => HeadEvent::Applied,
            () = sleep_until(deadline) => HeadEvent::Due,
        }
    }

    fn deadline(&self) -> Mono {
        let now = self.shared.log_now();
        let lanes = self
            .lanes
            .values()
            .filter_map(|lane| lane.receiving.poll_timeout(now))
            .map(|(at, _)| at);
        let due = lanes.chain(self.start_at).chain(self.stalled_at());
        due.fold(self.shown.after(SHOW), Mono::min)
    }

    fn is_at_head(&self) -> bool {
        self.target.is_none() || self.stopped
    }
}

async fn done(starting: &mut Option<Starting>) -> Result<(Fold, Reader, Sequence), StartError> {
    match starting {
        Some(starting) => starting.await,
        None => std::future::pending().await,
    }
}
