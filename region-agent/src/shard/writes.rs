//! Writes between the doors and the writer.

use isthmus_replication::fold::Void;
use isthmus_replication::time::{Now, Wall};
use isthmus_replication::trace::TraceContext;
use isthmus_replication::writer::{Event, Failure, Outcome, Refused};
use isthmus_runtime::events::Severity;
use isthmus_runtime::telemetry::Side;
use serde_json::json;
use tokio::sync::oneshot;

use super::task::ShardTask;
use super::{Accepted, Phase, WriteRequest, refusal_in};
use crate::operation::Refusal;

/// A write whose outcome is awaited.
#[derive(Debug)]
pub(super) struct Waiting {
    reply: oneshot::Sender<Result<Accepted, Refusal>>,
    trace: Option<TraceContext>,
    began: Wall,
}

impl ShardTask {
    /// Handles a write of a door.
    pub(super) fn request(&mut self, now: Now, request: WriteRequest) {
        let WriteRequest { write, reply } = request;
        let trace = write.trace;
        let taken = match self.phase() {
            Phase::Serving => self.writer.handle_write(now, write).map_err(refusal),
            phase => Err(refusal_in(phase).unwrap_or(Refusal::Internal("no reason"))),
        };
        match taken {
            Ok(ticket) => {
                let began = now.wall;
                let waiting = Waiting { reply, trace, began };
                self.waiting.insert(ticket, waiting);
            }
            Err(refusal) => answer(reply, Err(refusal)),
        }
    }

    /// Answers the writes whose outcomes are known.
    pub(super) fn hand_out_outcomes(&mut self, now: Now) {
        while let Some((ticket, outcome)) = self.writer.poll_outcome() {
            let Some(waiting) = self.waiting.remove(&ticket) else {
                continue;
            };
            self.trace_append(&waiting, &outcome, now);
            answer(waiting.reply, result(outcome));
        }
    }

    fn trace_append(&self, waiting: &Waiting, outcome: &Outcome, now: Now) {
        let Some(trace) = waiting.trace.filter(TraceContext::sampled) else {
            return;
        };
        let tracer = &self.context.process.tracer;
        let mut span = tracer.child_at(&trace, "append", Side::Producer, waiting.began);
        let stream = self.context.ports.names.stream(&self.log.shard);
        span.set("messaging.system", "nats");
        span.set("messaging.operation.type", "send");
        span.set("messaging.destination.name", stream);
        span.set("isthmus.shard", self.log.shard.to_string());
        match outcome {
            Outcome::Accepted { position, .. } => span.set("isthmus.sequence", position.sequence.0 as i64),
            Outcome::Failed(_) => span.fail("failed"),
            Outcome::Unknown { .. } => span.fail("unknown"),
        }
        span.end_at(now.wall);
    }

    pub(super) fn take_events(&mut self) {
        while let Some(event) = self.writer.poll_event() {
            let shard = self.log.shard.to_string();
            match event {
                Event::Ready => tracing::info!(%shard, "takes writes"),
                Event::BarrierVoid(void) => self.barrier_void(void),
                Event::NotWritable => {
                    let text = "the log does not answer appends; new writes are refused";
                    self.event(
                        Severity::Alarm,
                        "log_not_writable",
                        text,
                        json!({ "shard": shard }),
                    );
                }
                Event::Writable => {
                    let text = "the log answers appends again";
                    self.event(Severity::Notice, "log_writable", text, json!({ "shard": shard }));
                }
                Event::LifeSuspected { acknowledged, read } => {
                    tracing::warn!(%shard, ?acknowledged, %read, "the log acknowledged messages at positions where others were read");
                    self.follow(|follow, now, fold| follow.handle_contradiction(now, fold));
                }
            }
        }
    }

    fn barrier_void(&self, void: Void) {
        tracing::warn!(shard = %self.log.shard, reason = void.label(), "the barrier was void; another follows");
    }
}

/// A door that has gone away needs no answer.
fn answer(reply: oneshot::Sender<Result<Accepted, Refusal>>, result: Result<Accepted, Refusal>) {
    reply.send(result).ok();
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::NotReady => Refusal::NotReady {
            reason: "its barrier has not been read back yet".to_owned(),
        },
        Refused::NotWritable => Refusal::LogNotWritable,
        Refused::Overloaded => Refusal::Overloaded,
        Refused::TooLarge => Refusal::ValueTooLarge {
            limit: isthmus_replication::limits::VALUE_BYTES,
        },
    }
}

fn result(outcome: Outcome) -> Result<Accepted, Refusal> {
    match outcome {
        Outcome::Accepted {
            version,
            position,
            superseded,
        } => Ok(Accepted {
            version,
            position,
            superseded,
        }),
        Outcome::Failed(Failure::Void(Void::ClockAhead)) => Err(Refusal::ClockAhead),
        Outcome::Failed(Failure::Void(Void::TooLate)) => Err(Refusal::TooLate),
        Outcome::Failed(Failure::Void(void)) => Err(Refusal::Void(void.label())),
        Outcome::Failed(Failure::NotSent) => Err(Refusal::NotSent),
        Outcome::Failed(Failure::LogNotWritable | Failure::LogRefused) => Err(Refusal::LogNotWritable),
        Outcome::Failed(Failure::LogFull) => Err(Refusal::LogFull),
        Outcome::Unknown { .. } => Err(Refusal::OutcomeUnknown),
    }
}
