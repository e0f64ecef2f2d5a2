//! Messages between the processes of a region over core NATS.

use std::time::Duration;

use async_nats::client::{Request, RequestErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;

use super::connection::Connection;
use crate::{PeerBus, PeerError, PeerMessage, PeerSubscription, RegionNames, Reply, Role};

/// Messages between the processes of a region over core NATS. Without a connection nothing is
/// queued: a late message would be superseded by the time it is sent.
#[derive(Debug)]
pub(super) struct NatsPeers {
    connection: Connection,
}

impl NatsPeers {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    fn connected(&self) -> Result<&async_nats::Client, PeerError> {
        if self.connection.is_connected() {
            Ok(self.connection.client())
        } else {
            Err(PeerError::Away)
        }
    }

    fn subject(&self, suffix: &str) -> String {
        self.connection.names().peer_subject(suffix)
    }
}

/// The subject for an answer; `None` if the message names a subject that no process of the region
/// uses for answers.
fn answerable(names: &RegionNames, reply: &str) -> Option<Reply> {
    let answerable = names.is_answer_inbox(reply);
    if !answerable {
        tracing::debug!(
            reply,
            "a message requests its answer at a subject that no process uses"
        );
    }
    answerable.then(|| Reply(reply.to_owned()))
}

#[async_trait]
impl PeerBus for NatsPeers {
    async fn publish(&self, suffix: &str, payload: Bytes) -> Result<(), PeerError> {
        let published = self.connected()?.publish(self.subject(suffix), payload).await;
        published.map_err(|_| PeerError::Away)
    }

    async fn subscribe(&self, pattern: &str) -> Result<PeerSubscription, PeerError> {
        let client = self.connection.client();
        let heard = client
            .subscribe(self.subject(pattern))
            .await
            .map_err(|_| PeerError::Away)?;
        if self.connection.is_connected() {
            client.flush().await.map_err(|_| PeerError::Away)?;
        }
        let prefix = self.subject("");
        let names = self.connection.names().clone();
        Ok(PeerSubscription(
            heard
                .filter_map(move |message| {
                    let suffix = message.subject.strip_prefix(&prefix).map(str::to_owned);
                    let message = suffix.map(|suffix| PeerMessage {
                        suffix,
                        payload: message.payload,
                        reply: message.reply.and_then(|reply| answerable(&names, &reply)),
                    });
                    std::future::ready(message)
                })
                .boxed(),
        ))
    }

    async fn request(
        &self,
        of: Role,
        suffix: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let inbox = self.connection.answer_inbox(of).map_err(|_| PeerError::Away)?;
        let request = Request::new()
            .payload(payload)
            .timeout(Some(timeout))
            .inbox(inbox);
        let answer = self
            .connected()?
            .send_request(self.subject(suffix), request)
            .await;
        answer
            .map(|answer| answer.payload)
            .map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => PeerError::NoResponders,
                RequestErrorKind::TimedOut => PeerError::Unanswered,
                _ => PeerError::Away,
            })
    }

    async fn respond(&self, reply: &Reply, payload: Bytes) -> Result<(), PeerError> {
        let published = self.connected()?.publish(reply.0.clone(), payload).await;
        published.map_err(|_| PeerError::Away)
    }
}
