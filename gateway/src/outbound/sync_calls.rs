//! Passes the requests of this region's steward to the region that it takes changes from, and the
//! answers back (docs/decisions/0024-sync.md).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use isthmus_log::Reply;
use isthmus_replication::link::session::{CallFailure, Session};
use isthmus_replication::names::RegionName;
use isthmus_replication::sync;
use isthmus_replication::time::Now;

use tokio::sync::mpsc;

use crate::shared::Shared;

/// Requests that wait for a link.
const WAITING: usize = 64;

/// A request of the steward, and where its answer goes.
#[derive(Debug)]
pub struct SyncCall {
    /// The request as it was received.
    pub request: Bytes,
    /// Where the answer goes.
    pub reply: Reply,
}

/// The links that take requests, by region.
#[derive(Debug, Default)]
pub struct SyncRoutes(Mutex<BTreeMap<RegionName, mpsc::Sender<SyncCall>>>);

impl SyncRoutes {
    /// Adds the link to `peer`, which takes its requests from the receiver.
    pub(super) fn add(&self, peer: &RegionName) -> mpsc::Receiver<SyncCall> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes.insert(peer.clone(), sender);
        receiver
    }

    /// The link to the region that `is_asked`.
    pub fn find(
        &self,
        is_asked: impl Fn(&&RegionName) -> bool,
    ) -> Option<(RegionName, mpsc::Sender<SyncCall>)> {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = routes.iter().find(|(peer, _)| is_asked(peer));
        found.map(|(peer, sender)| (peer.clone(), sender.clone()))
    }
}

/// The pending calls on one session.
#[derive(Debug, Default)]
pub(super) struct SyncCalls {
    asked: BTreeMap<u64, Reply>,
}

impl SyncCalls {
    /// Sends a request to the peer.
    pub(super) async fn ask(
        &mut self,
        shared: &Shared,
        peer: &RegionName,
        session: &mut Session,
        now: Now,
        call: SyncCall,
    ) {
        match session.request(now, sync::METHOD, call.request) {
            Ok(id) => {
                self.asked.insert(id, call.reply);
            }
            Err(refused) => refuse(shared, peer, &call.reply, &refused.to_string()).await,
        }
    }

    /// Where the answer to call `id` goes; none if it asked for something else.
    pub(super) fn take(&mut self, id: u64) -> Option<Reply> {
        self.asked.remove(&id)
    }
}

/// Passes the answer of `peer` to the steward.
pub(super) async fn pass_on(
    shared: &Shared,
    peer: &RegionName,
    reply: &Reply,
    outcome: Result<Bytes, CallFailure>,
) {
    match outcome {
        Ok(answer) => respond(shared, reply, answer).await,
        Err(failure) => refuse(shared, peer, reply, &failure.to_string()).await,
    }
}

/// Tells the steward that `peer` is no source for now.
pub async fn refuse(shared: &Shared, peer: &RegionName, reply: &Reply, reason: &str) {
    let refused = sync::Reply::Refused {
        lost: false,
        reason: format!("region {peer}: {reason}"),
    };
    respond(shared, reply, refused.encode()).await;
}

async fn respond(shared: &Shared, reply: &Reply, answer: Bytes) {
    if let Err(error) = shared.ports.peers.respond(reply, answer).await {
        tracing::debug!(%error, "an answer could not be passed to the steward");
    }
}
