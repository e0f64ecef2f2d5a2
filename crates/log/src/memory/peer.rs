//! Messages between processes in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};

use super::{MemoryRegion, Servers};
use crate::{PeerBus, PeerError, PeerMessage, PeerSubscription, Reply, Role};

/// Capacity of a subscriber's queue; further messages are lost for that subscriber.
const WAITING: usize = 1024;

/// The subscribers, and the pending requests.
#[derive(Debug, Default)]
pub(super) struct Bus(Mutex<Listeners>);

#[derive(Debug, Default)]
struct Listeners {
    subscribers: Vec<(String, mpsc::Sender<PeerMessage>)>,
    asked: u64,
    answers: BTreeMap<String, oneshot::Sender<Bytes>>,
}

impl Bus {
    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listeners {
    /// Delivers a message to all subscribers to `suffix`. Returns whether there was one.
    fn tell(&mut self, suffix: &str, payload: &Bytes, reply: Option<&Reply>) -> bool {
        self.subscribers.retain(|(_, listener)| !listener.is_closed());
        let listening = self
            .subscribers
            .iter()
            .filter(|(pattern, _)| matches(pattern, suffix));
        let mut heard = false;
        for (_, listener) in listening {
            heard = true;
            // A subscriber that is too slow misses messages, as over NATS.
            let _ = listener.try_send(PeerMessage {
                suffix: suffix.to_owned(),
                payload: payload.clone(),
                reply: reply.cloned(),
            });
        }
        heard
    }
}

/// Whether a NATS pattern matches a subject.
fn matches(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(token), Some(found)) if token == found => {}
            _ => return false,
        }
    }
}

impl MemoryRegion {
    fn reachable(&self) -> Result<(), PeerError> {
        if self.servers() == Servers::Away {
            Err(PeerError::Away)
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl PeerBus for MemoryRegion {
    async fn publish(&self, suffix: &str, payload: Bytes) -> Result<(), PeerError> {
        self.reachable()?;
        self.0.peers.lock().tell(suffix, &payload, None);
        Ok(())
    }

    async fn subscribe(&self, pattern: &str) -> Result<PeerSubscription, PeerError> {
        let (listener, messages) = mpsc::channel(WAITING);
        self.0
            .peers
            .lock()
            .subscribers
            .push((pattern.to_owned(), listener));
        let heard = futures::stream::unfold(messages, |mut messages| async move {
            messages.recv().await.map(|message| (message, messages))
        });
        Ok(PeerSubscription(heard.boxed()))
    }

    async fn request(
        &self,
        _of: Role,
        suffix: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        self.reachable()?;
        let (teller, answer) = oneshot::channel();
        {
            let mut listeners = self.0.peers.lock();
            listeners.asked += 1;
            let reply = Reply(format!("reply.{}", listeners.asked));
            if !listeners.tell(suffix, &payload, Some(&reply)) {
                return Err(PeerError::NoResponders);
            }
            listeners.answers.retain(|_, teller| !teller.is_closed());
            listeners.answers.insert(reply.0, teller);
        }
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(PeerError::Unanswered),
        }
    }

    async fn respond(&self, reply: &Reply, payload: Bytes) -> Result<(), PeerError> {
        self.reachable()?;
        if let Some(teller) = self.0.peers.lock().answers.remove(&reply.0) {
            // The requester may be gone, as over NATS.
            let _ = teller.send(payload);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_nats_does() {
        for (pattern, subject, covers) in [
            ("beat.leader", "beat.leader", true),
            ("beat.*", "beat.leader", true),
            ("beat.*", "beat.leader.x", false),
            ("applied.>", "applied.default.3", true),
            ("applied.>", "applied", false),
            ("applied.*.*", "applied.default.3", true),
            ("applied", "applied.default", false),
        ] {
            assert_eq!(matches(pattern, subject), covers, "{pattern} {subject}");
        }
    }
}
