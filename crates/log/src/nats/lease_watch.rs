//! Follows the lease bucket for ever: a snapshot, then every change. After each interruption it
//! starts again with a snapshot.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::{Connection, ConnectionState};
use super::lease::{MARKER_REASON, holds_value};
use super::session::{self, Begin, ConsumerSession};
use crate::{Ended, LeaseEvent, LeaseName, Revision};

/// Pause between two attempts to open a session.
const PAUSE: Duration = Duration::from_millis(200);

/// Sends events to `events` until the receiver is dropped.
pub(super) async fn run(
    connection: Connection,
    stream: String,
    prefix: String,
    events: mpsc::Sender<LeaseEvent>,
) {
    let mut reported = None;
    while !events.is_closed() {
        let connected = connection.connected().await;
        match session::open(&connection, &stream, Begin::Bucket, &format!("{prefix}>")).await {
            Ok(session) => {
                reported = None;
                if follow(&connection, connected, session, &prefix, &events)
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => {
                let why = error.to_string();
                if reported.as_ref() != Some(&why) {
                    tracing::warn!(why, "the leases can't be watched yet");
                    reported = Some(why);
                }
            }
        }
        sleep(PAUSE).await;
    }
}

type Closed = mpsc::error::SendError<LeaseEvent>;

/// Sends the events of one session. Returns when it is interrupted.
async fn follow(
    connection: &Connection,
    connected: ConnectionState,
    session: ConsumerSession,
    prefix: &str,
    events: &mpsc::Sender<LeaseEvent>,
) -> Result<(), Closed> {
    let ConsumerSession {
        slot: _held,
        mut messages,
        pending,
    } = session;
    let mut state = connection.state();
    let mut snapshot = Some((pending, Vec::new()));
    loop {
        if let Some((0, held)) = snapshot.as_mut() {
            events.send(LeaseEvent::Snapshot(std::mem::take(held))).await?;
            snapshot = None;
        }
        let message = tokio::select! {
            message = messages.next() => message,
            broken = state.wait_for(|state| *state != connected) => {
                drop(broken);
                return Ok(());
            }
        };
        let Some(Ok(message)) = message else {
            return Ok(());
        };
        let event = read(&message, prefix);
        match (snapshot.as_mut(), event) {
            (Some((missing, held)), event) => {
                *missing -= 1;
                if let Some(LeaseEvent::Held {
                    name,
                    revision,
                    payload,
                }) = event
                {
                    held.push((name, revision, payload));
                }
            }
            (None, Some(event)) => events.send(event).await?,
            (None, None) => {}
        }
    }
}

/// The event of a message in the bucket; `None` if it is not about a lease.
fn read(message: &Message, prefix: &str) -> Option<LeaseEvent> {
    let name = LeaseName::parse(message.subject.strip_prefix(prefix)?).ok()?;
    let revision = Revision(message.info().ok()?.stream_sequence);
    let headers = message.headers.as_ref();
    Some(if holds_value(headers) {
        LeaseEvent::Held {
            name,
            revision,
            payload: message.payload.clone(),
        }
    } else {
        LeaseEvent::Ended {
            name,
            revision,
            reason: reason(headers),
        }
    })
}

fn reason(headers: Option<&HeaderMap>) -> Ended {
    let marker = headers.and_then(|headers| headers.get(MARKER_REASON));
    if marker.is_some_and(|reason| reason.as_str() == "MaxAge") {
        Ended::Expired
    } else {
        Ended::Released
    }
}
