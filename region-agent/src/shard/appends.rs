//! Messages on their way to the log, and the log's answers.

use std::time::Duration;

use bytes::Bytes;
use isthmus_log::AppendError;
use isthmus_replication::coordinates::{MessageId, Sequence};
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::header::{BodySeal, Header, Record, StageTimes};
use isthmus_replication::time::{Mono, Now};
use isthmus_replication::writer::PublishError;
use tokio::time::timeout;

use super::task::ShardTask;

/// A message that can't be handed over within this time counts as unanswered.
const HAND_OVER: Duration = Duration::from_secs(1);
/// How long the log's answer is awaited.
const ANSWER: Duration = Duration::from_secs(30);
/// The most answers awaited at a time. Beyond that, the agent's own records are skipped until the
/// next occasion.
const AWAITED: usize = 256;

/// The log's answer to one attempt to append one message.
#[derive(Debug)]
pub(super) struct Appended {
    message_id: MessageId,
    /// Whether the writer sent it.
    by_writer: bool,
    began: Mono,
    answer: Result<Sequence, PublishError>,
}

impl ShardTask {
    /// Sends what the writer has to send.
    pub(super) async fn publish(&mut self, now: Now) {
        let offset = self.context.server_clock.offset();
        self.writer
            .handle_log_clock(offset.map_or(0, |offset| offset.micros));
        loop {
            let next = self.writer.poll_append(now, &self.shared.read().store);
            let Some(append) = next else { return };
            self.append(&append.token, &append.header, append.body, true)
                .await;
        }
    }

    /// Appends one of the agent's own records under `_agent`. Its answer is only logged: the record
    /// counts once it is read back.
    pub(super) async fn append_own(&mut self, record: Record, body: Bytes, changes: u32) {
        if self.appends.len() >= AWAITED {
            return;
        }
        let formed = self.context.log_time().micros();
        let header = Header {
            set: self.log.set.clone(),
            shard: self.log.shard.clone(),
            record,
            body: BodySeal::of(&body, changes),
            stages: StageTimes {
                requested: formed,
                published: formed,
                ..StageTimes::default()
            },
        };
        self.append(&SubjectToken::Agent, &header, body, false).await;
    }

    async fn append(&mut self, token: &SubjectToken, header: &Header, body: Bytes, by_writer: bool) {
        let message_id = header.message_id();
        let began = self.context.now().mono;
        let log = &self.context.ports.log;
        let appending = timeout(HAND_OVER, log.append(&self.log.shard, token, header, body)).await;
        let answer = async move {
            let answer = match appending {
                Ok(appending) => timeout(ANSWER, appending)
                    .await
                    .map_or_else(|_| Err(PublishError::Unanswered), published),
                Err(_) => Err(PublishError::Unanswered),
            };
            Appended {
                message_id,
                by_writer,
                began,
                answer,
            }
        };
        self.appends.push(Box::pin(answer));
    }

    /// Handles the log's answer.
    pub(super) fn appended(&mut self, appended: Appended) {
        let now = self.context.now();
        let Appended {
            message_id,
            by_writer,
            began,
            answer,
        } = appended;
        match answer {
            Ok(sequence) => {
                let took = now.mono.since(began);
                self.context.metrics.publish_time.observe(took.as_secs_f64());
                #[cfg(feature = "planted")]
                self.acknowledge_early(message_id, sequence);
                if by_writer {
                    self.writer.handle_published(message_id, sequence);
                }
            }
            Err(error) if by_writer => self.writer.handle_publish_failed(now, message_id, error),
            Err(error) => {
                tracing::debug!(shard = %self.log.shard, %message_id, ?error, "an append was not answered")
            }
        }
    }
}

#[cfg(feature = "planted")]
impl ShardTask {
    fn acknowledge_early(
        &mut self,
        message_id: isthmus_replication::coordinates::MessageId,
        sequence: Sequence,
    ) {
        use isthmus_replication::planted::{self, Planted};
        let position = self.shared.read().fold.position();
        if let Some(mut position) = position.filter(|_| planted::is(Planted::AcknowledgedEarly)) {
            position.sequence = sequence;
            self.writer.acknowledge_early(message_id, position);
        }
    }
}

fn published(answer: Result<Sequence, AppendError>) -> Result<Sequence, PublishError> {
    answer.map_err(|error| match error {
        AppendError::Full { .. } => PublishError::Full,
        AppendError::TooLarge { .. } | AppendError::Refused { .. } => {
            tracing::warn!(%error, "the log refused an append");
            PublishError::Refused
        }
        AppendError::Unanswered { .. } | AppendError::Unknown { .. } => PublishError::Unanswered,
    })
}
