//! Answers other regions' stewards, whose requests gateways bring ([`isthmus_replication::sync`]).

use std::time::Duration;

use bytes::Bytes;
use isthmus_log::PeerMessage;
use isthmus_replication::sync::Request;
use isthmus_runtime::events::Source;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Region;
use crate::shard::Command;

/// A shard that does not answer within this time leaves the request unanswered.
const BUSY: Duration = Duration::from_secs(2);

/// Answers the requests that begin a sync, and those of the syncs whose source this agent is.
pub async fn serve_sources(region: Region) {
    let name = &region.context().process.settings.process.name;
    let own = format!("source.*.*.{name}");
    tokio::join!(serve(&region, "source.*.*"), serve(&region, &own));
}

/// Answers one request after another.
async fn serve(region: &Region, pattern: &str) {
    let context = region.context();
    let mut requests = context.ports.peers.hear(pattern).await;
    while let Some(message) = requests.next().await {
        let Some(reply) = &message.reply else { continue };
        if let Some(answer) = answer(region, &message).await
            && let Err(error) = context.ports.peers.respond(reply, answer).await
        {
            tracing::debug!(%error, "an answer to another region could not be sent");
        }
    }
}

async fn answer(region: &Region, message: &PeerMessage) -> Option<Bytes> {
    let request = match Request::decode(&message.payload) {
        Ok(request) => request,
        Err(error) => {
            let events = &region.context().process.events;
            if let Some(before) = events.may_log("bad request", &Source::default()) {
                tracing::warn!(%error, before, "a request of another region can't be read");
            }
            return None;
        }
    };
    let shard = region.core.handle(&request.shard).ok()?;
    let (reply, answer) = oneshot::channel();
    shard.command(Command::Source(Box::new(request), reply));
    timeout(BUSY, answer).await.ok()?.ok()
}
