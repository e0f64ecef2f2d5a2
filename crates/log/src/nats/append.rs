//! Appends: handed over in order; each completes when the log answers.

use std::error::Error as _;

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use bytes::Bytes;
use isthmus_replication::coordinates::Sequence;

use super::connection::Connection;
use super::message::wire_bytes;
use super::request::MAXIMUM_BYTES;
use crate::{AppendError, Appending};

impl Connection {
    /// Hands a message over. Without a connection it is unanswered at once, so that messages do not
    /// pile up and get stored much later.
    pub(super) async fn append(
        &self,
        stream: String,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Appending {
        match self.hand_over(&stream, subject, headers, body).await {
            Ok(answer) => Appending::new(await_answer(stream, answer)),
            Err(error) => Appending::new(std::future::ready(Err(error))),
        }
    }

    async fn hand_over(
        &self,
        stream: &str,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<PublishAckFuture, AppendError> {
        if !self.is_connected() {
            return Err(AppendError::Unanswered {
                stream: stream.to_owned(),
            });
        }
        let bytes = wire_bytes(&headers, &body);
        if let Some(max_payload) = self.max_payload().filter(|limit| bytes > *limit) {
            return Err(AppendError::TooLarge { bytes, max_payload });
        }
        let handed_over = self.appends().publish_with_headers(subject, headers, body).await;
        handed_over.map_err(|error| classify(stream.to_owned(), &error))
    }
}

async fn await_answer(stream: String, answer: PublishAckFuture) -> Result<Sequence, AppendError> {
    match answer.await {
        Ok(answer) => Ok(Sequence(answer.sequence)),
        Err(error) => Err(classify(stream, &error)),
    }
}

fn classify(stream: String, error: &PublishError) -> AppendError {
    let refusal = error
        .source()
        .and_then(|source| source.downcast_ref::<jetstream::Error>());
    match (refusal, error.kind()) {
        (Some(refusal), _) if refusal.error_code().0 == MAXIMUM_BYTES => AppendError::Full { stream },
        (Some(refusal), _) => AppendError::Refused {
            stream,
            code: refusal.error_code().0,
            description: refusal.to_string(),
        },
        (
            None,
            PublishErrorKind::TimedOut | PublishErrorKind::StreamNotFound | PublishErrorKind::MaxAckPending,
        ) => AppendError::Unanswered { stream },
        (None, _) => AppendError::Unknown { stream },
    }
}
