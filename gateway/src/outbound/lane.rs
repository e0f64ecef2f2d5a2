//! Sends one shard to one peer: the shell around the core's sending machine. It reads this region's
//! log with its own reader and writes ranges to the link while there is one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use isthmus_log::{ReadError, Reader, ReadsLog, StoredMessage, next_message};
use isthmus_replication::coordinates::{Cursor, Sequence, Shard};
use isthmus_replication::fold::Fold;
use isthmus_replication::header::{Codec, Header, Record};
use isthmus_replication::link::frame::Frame;
use isthmus_replication::link::lane::LaneReport;
use isthmus_replication::names::RegionName;
use isthmus_replication::sending::{ReaderFailure, ReaderOrder, Sending, Spared};
use isthmus_replication::time::{Mono, Wall};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::lag;
use crate::outbox::{Outbox, Refused};
use crate::shared::{Shared, Stored};
use crate::start::{StartError, start_reader};
use crate::suspicion::Suspicion;
use crate::traces::{Hop, LaneTraces};
use crate::view::LaneLag;

mod view;

/// Capacity of the input queue of one lane.
const WAITING: usize = 256;
/// Messages that a lane takes from its reader at a time.
const AT_A_TIME: usize = 17;
/// How old the shown status of a lane may get.
const SHOW: Duration = Duration::from_millis(250);

/// Messages from a link to its lanes.
#[derive(Debug)]
pub(super) enum ToLane {
    /// The link is up and the peer accepts the lane.
    Opened {
        /// Where the lane begins.
        report: LaneReport,
        /// Where its ranges go.
        outbox: Outbox,
        /// Whether either end asks for a pause: no ranges are sent.
        paused: bool,
    },
    /// The peer's progress.
    Ack(LaneReport),
    /// The lane starts again from the reported cursor.
    Reset(LaneReport),
    /// Whether either end asks for a pause: no ranges are sent.
    Paused(bool),
    /// The link has ended.
    Closed,
}

/// Messages from a lane to its link.
#[derive(Debug)]
pub(super) enum FromLane {
    /// Nothing moves although there is work.
    Stuck(Shard),
    /// The peer's cursor names a message that the log does not have there.
    Suspects(Shard, Cursor),
}

/// The lanes of one link. Dropping them ends them.
pub(super) struct Lanes {
    inboxes: BTreeMap<Shard, mpsc::Sender<ToLane>>,
    _tasks: JoinSet<()>,
}

impl Lanes {
    /// Starts a lane for each of `shards` to `peer`. What the link must act on is sent to `teller`.
    pub(super) fn start(
        shared: &Shared,
        peer: &RegionName,
        shards: &[Shard],
        teller: &mpsc::Sender<FromLane>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let inboxes = shards.iter().map(|shard| {
            let (inbox, inputs) = mpsc::channel(WAITING);
            let lane = LaneTask::new(
                shared.clone(),
                peer.clone(),
                shard.clone(),
                inputs,
                teller.clone(),
            );
            tasks.spawn(lane.run());
            (shard.clone(), inbox)
        });
        Self {
            inboxes: inboxes.collect(),
            _tasks: tasks,
        }
    }

    pub(super) async fn tell(&self, shard: &Shard, input: ToLane) {
        if let Some(inbox) = self.inboxes.get(shard) {
            // `is_broken` detects a lane that has ended.
            let _ = inbox.send(input).await;
        }
    }

    /// Whether a lane has ended, which only a bug in this program causes.
    pub(super) fn is_broken(&self) -> bool {
        self.inboxes.values().any(mpsc::Sender::is_closed)
    }

    pub(super) async fn tell_all(&self, input: impl Fn() -> ToLane) {
        for shard in self.inboxes.keys() {
            self.tell(shard, input()).await;
        }
    }
}

type Starting = BoxFuture<'static, Result<(Fold, Reader), StartError>>;

struct LaneTask {
    shared: Shared,
    peer: RegionName,
    shard: Shard,
    inputs: mpsc::Receiver<ToLane>,
    teller: mpsc::Sender<FromLane>,
    head: watch::Receiver<Option<Arc<Fold>>>,
    stored: watch::Receiver<Option<Stored>>,
    sending: Sending,
    outbox: Option<Outbox>,
    run: u64,
    starting: Option<Starting>,
    reader: Option<Reader>,
    traces: LaneTraces,
    read: Option<Sequence>,
    spared: Spared,
    lag: LaneLag,
    suspicion: Suspicion,
    shown: Mono,
}

/// The inputs that a lane waits for.
enum LaneInput {
    Input(Option<ToLane>),
    Head,
    Stored,
    Started(Result<(Fold, Reader), StartError>),
    Read(Result<StoredMessage, ReadError>),
    Room,
    Due,
}

impl LaneTask {
    fn new(
        shared: Shared,
        peer: RegionName,
        shard: Shard,
        inputs: mpsc::Receiver<ToLane>,
        teller: mpsc::Sender<FromLane>,
    ) -> Self {
        let settings = shared.settings();
        let traces = LaneTraces::new(
            shared.process.tracer.clone(),
            settings.telemetry.otlp.is_some(),
            Hop::Forward,
            settings.region.clone(),
            peer.clone(),
        );
        Self {
            head: shared.head_of(&shard),
            stored: shared.stored_of(&shard),
            sending: sending(&shared, &peer, &shard),
            traces,
            shared,
            peer,
            shard,
            inputs,
            teller,
            outbox: None,
            run: 0,
            starting: None,
            reader: None,
            read: None,
            spared: Spared::default(),
            lag: LaneLag::default(),
            suspicion: Suspicion::default(),
            shown: Mono::default(),
        }
    }

    async fn run(mut self) {
        self.learn_head();
        loop {
            self.sending.handle_timeout(self.shared.log_now());
            self.confirm();
            self.apply_commands();
            self.report_events();
            let blocked = self.transmit();
            self.update_view(false);
            match self.wait(blocked).await {
                LaneInput::Input(None) => return,
                LaneInput::Input(Some(input)) => self.handle(input),
                LaneInput::Head => self.learn_head(),
                LaneInput::Stored => self.learn_stored(),
                LaneInput::Started(started) => self.started(started),
                LaneInput::Read(read) => self.read(read),
                LaneInput::Room | LaneInput::Due => {}
            }
        }
    }

    async fn wait(&mut self, blocked: bool) -> LaneInput {
        let view_due = self.shown.after(SHOW);
        let deadline = self
            .sending
            .poll_timeout()
            .map_or(view_due, |(at, _)| at.min(view_due));
        let deadline = self.shared.process.clock.instant(deadline);
        let wants = self.sending.wants_messages();
        tokio::select! {
            biased;
            input = self.inputs.recv() => LaneInput::Input(input),
            Ok(()) = self.head.changed() => LaneInput::Head,
            Ok(()) = self.stored.changed(), if self.reader.is_none() => LaneInput::Stored,
            started = done(&mut self.starting) => LaneInput::Started(started),
            room = room(self.outbox.as_ref()), if blocked => {
                if room.is_err() {
                    self.outbox = None;
                }
                LaneInput::Room
            }
            read = next_message(&mut self.reader), if wants => LaneInput::Read(read),
            () = sleep_until(deadline) => LaneInput::Due,
        }
    }

    fn handle(&mut self, input: ToLane) {
        let now = self.shared.log_now();
        match input {
            ToLane::Opened {
                report,
                outbox,
                paused,
            } => {
                self.outbox = Some(outbox);
                self.sending.handle_paused(now, paused);
                self.sending.handle_welcome(now, &report);
            }
            ToLane::Ack(report) => self.sending.handle_ack(now, &report),
            ToLane::Reset(report) => self.sending.handle_reset(now, &report),
            ToLane::Paused(paused) => self.sending.handle_paused(now, paused),
            ToLane::Closed => {
                self.outbox = None;
                self.sending.handle_disconnected(now);
            }
        }
        self.update_view(true);
    }

    /// Records for the agents what the peer has, which confirms writes: only a cursor that was
    /// verified against the log counts.
    fn confirm(&self) {
        let (verified, applied) = (self.sending.verified(), self.sending.applied());
        self.shared
            .cursors
            .acknowledge(&self.peer, &self.shard, verified, applied);
    }

    fn learn_stored(&mut self) {
        if let Some((sequence, appended)) = *self.stored.borrow_and_update() {
            self.sending.handle_stored(sequence, appended);
        }
    }

    fn learn_head(&mut self) {
        let head = self.head.borrow_and_update().clone();
        if let Some(fold) = head {
            self.sending.handle_head(self.shared.log_now(), &fold);
        }
    }

    /// Carries out the machine's orders to its reader.
    fn apply_commands(&mut self) {
        while let Some(order) = self.sending.poll_reader() {
            self.reader = None;
            self.starting = None;
            self.traces.forget();
            if let ReaderOrder::Start { run, at_most } = order {
                self.run = run;
                let (log, shard) = (Arc::clone(&self.shared.ports.log), self.shard.clone());
                self.starting = Some(Box::pin(
                    async move { start_reader(&*log, &shard, at_most).await },
                ));
            }
        }
    }

    fn started(&mut self, started: Result<(Fold, Reader), StartError>) {
        self.starting = None;
        let now = self.shared.log_now();
        match started {
            Ok((fold, reader)) => {
                self.reader = Some(reader);
                self.sending.handle_reader_started(now, self.run, fold);
            }
            Err(error) => {
                tracing::debug!(peer = %self.peer, shard = %self.shard, %error, "no reader");
                let failure = match error {
                    StartError::Trimmed { first, .. } => ReaderFailure::Trimmed { first },
                    StartError::Log(_) => ReaderFailure::Unavailable,
                };
                self.sending.handle_reader_failed(now, self.run, failure);
            }
        }
    }

    /// Takes one message and those that are ready.
    fn read(&mut self, first: Result<StoredMessage, ReadError>) {
        self.take_ready(first, AT_A_TIME);
    }

    fn message(&mut self, message: &StoredMessage) {
        let now = self.shared.log_now();
        self.read = Some(message.sequence);
        let own = |record: &Record| matches!(record, Record::Batch(_) | Record::Restored { .. });
        if message.header.as_ref().is_ok_and(|header| own(&header.record)) {
            self.traces.seen(
                self.shared.now().wall,
                message.sequence,
                Codec::Plain,
                &message.body,
            );
        }
        self.sending
            .handle_message(now, self.run, message.as_message(), &message.body);
    }

    /// Writes ranges while there are any and the link has room. Returns whether the link has no
    /// room.
    fn transmit(&mut self) -> bool {
        let now = self.shared.log_now();
        while let Some(outbox) = &self.outbox {
            let room = outbox.try_room();
            self.sending.handle_link(room.is_none());
            let Some(room) = room else { return true };
            let Some(range) = self.sending.poll_transmit(now) else {
                return false;
            };
            let bytes = usize::try_from(range.cost()).unwrap_or(usize::MAX);
            if self.traces.is_on()
                && let Ok(header) = Header::decode(&range.header)
                && let Record::Range(sent) = &header.record
            {
                let (wall, codec) = (self.shared.now().wall, header.body.codec);
                self.traces.sent(wall, sent.through.sequence, codec, &range.body);
            }
            room.send(Frame::Range(range));
            self.shared.metrics.sent(&self.peer, bytes);
            let spared = self.sending.spared();
            self.shared.metrics.spared(&self.peer, spared - self.spared);
            self.spared = spared;
        }
        false
    }
}

impl ReadsLog for LaneTask {
    fn reader(&mut self) -> &mut Option<Reader> {
        &mut self.reader
    }

    fn take(&mut self, message: StoredMessage) -> bool {
        self.message(&message);
        self.sending.wants_messages()
    }

    fn reader_ended(&mut self, error: &ReadError) {
        tracing::info!(peer = %self.peer, shard = %self.shard, %error, "the lane's reader ended");
        self.reader = None;
        let failure = match error {
            ReadError::LifeSuspected(_) => ReaderFailure::TailLost,
            ReadError::Gone { first, .. } => ReaderFailure::Trimmed { first: *first },
            ReadError::Missing { .. } | ReadError::Refused { .. } | ReadError::Stopped => {
                ReaderFailure::Unavailable
            }
        };
        self.sending
            .handle_reader_failed(self.shared.log_now(), self.run, failure);
    }
}

/// The sending machine of a lane. It begins with the lag that the previous leader reported.
fn sending(shared: &Shared, peer: &RegionName, shard: &Shard) -> Sending {
    let mut sending = Sending::new(shared.ports.names.log(shard));
    let now = shared.log_now();
    let tables = shared.tables.lock();
    if let Some(last) = tables.reports.get(shared.region())
        && let Some(lag) = lag::of_lane(&last.report, peer, shard)
    {
        let before = lag.saturating_add(now.mono.since(last.heard));
        let before = u64::try_from(before.as_micros()).unwrap_or(u64::MAX);
        sending.handle_lag_before(Wall::from_micros(now.wall.micros().saturating_sub(before)));
    }
    sending
}

async fn done(starting: &mut Option<Starting>) -> Result<(Fold, Reader), StartError> {
    match starting {
        Some(starting) => starting.await,
        None => std::future::pending().await,
    }
}

async fn room(outbox: Option<&Outbox>) -> Result<(), Refused> {
    match outbox {
        Some(outbox) => outbox.room().await.map(drop),
        None => std::future::pending().await,
    }
}
