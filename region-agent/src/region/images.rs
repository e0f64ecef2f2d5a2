//! Answers the requests of other agents of the region for parts of this agent's stores
//! ([`isthmus_replication::image`]).

use std::time::Duration;

use bytes::Bytes;
use isthmus_log::PeerMessage;
use isthmus_replication::image::PartRequest;
use isthmus_runtime::events::Source;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Region;
use crate::shard::Command;

/// A shard that does not answer within this time leaves the request unanswered.
const BUSY: Duration = Duration::from_secs(1);

/// Answers one request after another.
pub async fn serve_images(region: Region) {
    let context = region.context();
    let pattern = format!("image.*.*.{}", context.process.settings.process.name);
    let mut requests = context.ports.peers.hear(&pattern).await;
    while let Some(message) = requests.next().await {
        let Some(reply) = &message.reply else { continue };
        if let Some(part) = part(&region, &message).await
            && let Err(error) = context.ports.peers.respond(reply, part).await
        {
            tracing::debug!(%error, "a part of an image could not be sent");
        }
    }
}

async fn part(region: &Region, message: &PeerMessage) -> Option<Bytes> {
    let request = match PartRequest::decode(&message.payload) {
        Ok(request) => request,
        Err(error) => {
            let events = &region.context().process.events;
            if let Some(before) = events.may_log("bad request", &Source::default()) {
                tracing::warn!(%error, before, "a request of another agent can't be read");
            }
            return None;
        }
    };
    let shard = region.core.handle(&request.shard).ok()?;
    let (reply, answer) = oneshot::channel();
    shard.command(Command::Image(Box::new(request), reply));
    timeout(BUSY, answer).await.ok()?.ok()
}
