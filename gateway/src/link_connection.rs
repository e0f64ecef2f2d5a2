//! An open link with its session: what both ends have in common.

use std::collections::VecDeque;
use std::time::Duration;

use isthmus_link::connection::LinkReader;
use isthmus_link::{Connection, FrameError, Passed, Peer};
use isthmus_replication::agreement;
use isthmus_replication::limits;
use isthmus_replication::link::frame::{GoodbyeReason, NoAnswer, Party, Request};
use isthmus_replication::link::session::{End, Session, SessionEvent};
use isthmus_replication::names::RegionName;
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::outbound::compare;
use crate::outbox::{Outbox, outbox};
use crate::shared::Shared;
use crate::status;
use crate::view::PathEstimate;

/// How long a closing link may take to send its last frames.
const FAREWELL: Duration = Duration::from_millis(500);
/// Control frames alone send less than this within `limits::LANE_PROGRESS`.
const KEPT_ALIVE_BYTES: u64 = 64 * 1024;
/// The call that asks a region for its report.
pub const STATUS: &str = "status";

/// An open link.
pub struct LinkConnection {
    /// The session.
    pub session: Session,
    /// The queues of outgoing frames.
    pub outbox: Outbox,
    /// The authenticated other end.
    pub peer: Peer,
    reader: LinkReader,
    received: Passed,
    received_before: u64,
    sent: Passed,
    /// The bytes sent at the last calls of `note_sent`, oldest first.
    sent_before: VecDeque<u64>,
    writer: JoinSet<Result<(), FrameError>>,
    shared: Shared,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkEnd {
    /// The session ended.
    #[error(transparent)]
    Ended(#[from] End),
    /// The connection failed.
    #[error(transparent)]
    Failed(#[from] FrameError),
    /// The peer closed the connection.
    #[error("the other region's gateway closed the connection")]
    Closed,
    /// The peer does not read.
    #[error("the other region's gateway does not read what it is sent")]
    Unread,
}

impl LinkEnd {
    /// The label for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Ended(End::Farewell(goodbye) | End::Refused(goodbye)) => goodbye.reason.label(),
            Self::Ended(End::Invalid(_)) => "violation",
            Self::Ended(End::NoGreeting) => "no_greeting",
            Self::Ended(End::Silence) => "silence",
            Self::Failed(error) => error.label(),
            Self::Closed => "closed",
            Self::Unread => "unread",
        }
    }

    /// Whether this end closed the link in good order, because it no longer leads or is stopping.
    #[must_use]
    pub fn is_own_will(&self) -> bool {
        use GoodbyeReason::{Draining, NotLeading};
        matches!(self, Self::Ended(End::Refused(goodbye)) if matches!(goodbye.reason, Draining | NotLeading))
    }

    /// Whether one end refused the other. A failed network or the end of a process is no refusal.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        use GoodbyeReason::{Certificate, Identity, Version, Violation};
        match self {
            Self::Ended(End::Farewell(goodbye) | End::Refused(goodbye)) => {
                matches!(goodbye.reason, Version | Identity | Certificate | Violation)
            }
            Self::Ended(End::Invalid(_)) => true,
            Self::Failed(error) => matches!(
                error,
                FrameError::RefusedByPeer { .. } | FrameError::Oversized { .. }
            ),
            Self::Ended(End::NoGreeting | End::Silence) | Self::Closed | Self::Unread => false,
        }
    }
}

impl LinkConnection {
    /// Starts `session` on `connection`.
    #[must_use]
    pub fn new(connection: Connection, session: Session, shared: Shared) -> Self {
        let (outbox, leaving) = outbox();
        let mut writer = JoinSet::new();
        writer.spawn(leaving.write(connection.writer));
        Self {
            session,
            outbox,
            peer: connection.peer,
            reader: connection.reader,
            received: connection.received,
            received_before: 0,
            sent: connection.sent,
            sent_before: VecDeque::new(),
            writer,
            shared,
        }
    }

    /// Returns the session's next event. Cancel safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// [`LinkEnd`] once the link has ended. Nothing comes after it.
    pub async fn next(&mut self) -> Result<SessionEvent, LinkEnd> {
        loop {
            let received = self.received.bytes();
            if std::mem::replace(&mut self.received_before, received) != received {
                self.session.handle_progress(self.shared.log_now());
            }
            self.session.handle_timeout(self.shared.log_now());
            self.send()?;
            match self.session.poll_event() {
                Some(SessionEvent::Ended(end)) => return Err(end.into()),
                Some(event) => return Ok(event),
                None => {}
            }
            let deadline = self
                .session
                .poll_timeout()
                .map(|(at, _)| self.shared.process.clock.instant(at));
            tokio::select! {
                frame = self.reader.next() => match frame {
                    Some(Ok(bytes)) => self.session.handle_bytes(self.shared.log_now(), bytes),
                    Some(Err(error)) => return Err(error.into()),
                    None => return Err(LinkEnd::Closed),
                },
                Some(written) = self.writer.join_next() => {
                    let failed = written.unwrap_or(Ok(())).err();
                    return Err(failed.map_or(LinkEnd::Closed, LinkEnd::Failed));
                }
                () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => {}
            }
        }
    }

    /// Records how much was sent. To be called once a second.
    pub fn note_sent(&mut self) {
        if self.sent_before.len() as u64 > limits::LANE_PROGRESS.as_secs() {
            self.sent_before.pop_front();
        }
        self.sent_before.push_back(self.sent.bytes());
    }

    /// Whether data was sent within the last [`limits::LANE_PROGRESS`]: more than what keeps a link
    /// alive.
    #[must_use]
    pub fn sends(&self) -> bool {
        let before = self.sent_before.front().copied().unwrap_or_default();
        self.sent.bytes() - before > KEPT_ALIVE_BYTES
    }

    /// Queues the frames that the session has to send.
    ///
    /// # Errors
    /// [`LinkEnd::Unread`] if the peer does not read.
    pub fn send(&mut self) -> Result<(), LinkEnd> {
        while let Some(frame) = self.session.poll_frame() {
            self.outbox.control(frame).map_err(|_| LinkEnd::Unread)?;
        }
        Ok(())
    }

    /// Sends the remaining frames and closes the link.
    pub async fn close(mut self) {
        // Frames that can't be queued have no reader.
        let _ = self.send();
        let Self {
            outbox, mut writer, ..
        } = self;
        drop(outbox);
        if timeout(FAREWELL, writer.join_next()).await.is_err() {
            tracing::debug!("the link was closed before everything was sent");
        }
    }

    /// The estimate of the path and of the peer's clock.
    #[must_use]
    pub fn path(&self) -> PathEstimate {
        self.session
            .peer_clock()
            .map_or_else(PathEstimate::default, |clock| PathEstimate {
                rtt: Some(clock.round_trip),
                clock_offset_micros: Some(clock.offset_micros),
                uncertainty_micros: u64::try_from(clock.uncertainty.as_micros()).ok(),
            })
    }
}

/// How this gateway introduces itself.
#[must_use]
pub fn party(shared: &Shared) -> Party {
    let set = shared.set();
    Party {
        set: set.name.clone(),
        set_digest: *set.digest.as_bytes(),
        generation: set.generation,
        region: shared.region().clone(),
        process: shared.settings().name.clone(),
        run: shared.run,
    }
}

/// Answers a call of the other end.
pub fn answer(shared: &Shared, session: &mut Session, request: &Request) {
    let outcome = if request.method == agreement::METHOD {
        compare::answer(shared, &request.body).map_err(|error| NoAnswer::because(&error))
    } else if request.method == STATUS {
        let now = shared.log_now();
        let report = shared.with_known(|known| status::of_region(shared.settings(), known, now));
        serde_json::to_vec(&report)
            .map(Into::into)
            .map_err(|error| NoAnswer::because(&error))
    } else {
        let reason = format!("this version does not answer {:?}", request.method);
        Err(NoAnswer::because(&reason))
    };
    session.respond(request.id, outcome);
}

/// Records that the other end runs on another set.yaml.
pub fn set_differs(shared: &Shared, peer: &Party) {
    shared.process.events.record_from(
        &Source::region(&peer.region),
        Severity::Warning,
        "set_differs",
        format!(
            "region {} runs on another set.yaml (generation {}, here {}): give every region the same file",
            peer.region,
            peer.generation,
            shared.set().generation
        ),
        json!({ "peer": peer.region.as_str(), "generation": peer.generation }),
    );
}

/// Records an event that the other end sent for this region's operators.
pub fn record_peer_event(
    shared: &Shared,
    region: &RegionName,
    event: &isthmus_replication::link::frame::Event,
) {
    shared.process.events.record_from(
        &Source::region(region),
        Severity::Notice,
        "told_by_peer",
        format!("region {region} says: {}", event.text),
        json!({ "peer": region.as_str(), "kind": event.kind }),
    );
}
