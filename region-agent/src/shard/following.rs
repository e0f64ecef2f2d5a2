//! The shell of the follow machine ([`isthmus_replication::follow`]): its steps, its queries of the
//! log and its records.

use std::sync::Arc;
use std::time::Duration;

use isthmus_log::{ChangeLog, LogError, newest_mark_describing};
use isthmus_replication::coordinates::{Sequence, Shard};
use isthmus_replication::fold::Fold;
use isthmus_replication::follow::{Event, Follow, LogAnswer, Phase, Question, Step, StoredAt};
use isthmus_replication::time::{Mono, Now};
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;
use tokio::time::sleep;

use super::task::ShardTask;

/// The wait before a log that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// A pending query, awaited alongside everything else.
pub(super) struct Asking {
    number: u64,
    answer: futures::future::BoxFuture<'static, LogAnswer>,
}

/// The number and the answer of the query. Never completes if there is none.
pub(super) async fn answer(asking: &mut Option<Asking>) -> (u64, LogAnswer) {
    match asking {
        Some(query) => {
            let answer = (&mut query.answer).await;
            let number = query.number;
            *asking = None;
            (number, answer)
        }
        None => std::future::pending().await,
    }
}

impl ShardTask {
    /// Passes an input to the machine together with the current fold, then carries out its steps.
    pub(super) fn follow(&mut self, input: impl FnOnce(&mut Follow, Mono, &Fold)) {
        let now = self.context.now().mono;
        input(&mut self.follow, now, &self.shared.read().fold);
        self.take_steps();
    }

    /// Lets time pass for the machine, sends its query to the log and appends its records.
    pub(super) async fn drive_follow(&mut self, now: Now) {
        {
            let served = self.shared.read();
            self.follow.handle_timeout(now.mono, &served.fold, &served.store);
        }
        self.take_steps();
        if let Some(query) = self.follow.poll_query(now.mono) {
            let log = Arc::clone(&self.context.ports.log);
            let shard = self.log.shard.clone();
            self.asking = Some(Asking {
                number: query.number,
                answer: Box::pin(async move { ask(&*log, &shard, query.question).await }),
            });
        }
        while let Some(own) = self.follow.poll_record(now.mono) {
            self.append_own(own.record, own.body, own.changes).await;
        }
    }

    fn take_steps(&mut self) {
        while let Some(step) = self.follow.poll_step() {
            match step {
                Step::CloseReader => self.reader = None,
                Step::OpenReader => {
                    let at = self.shared.read().fold.at();
                    self.reader = Some(self.context.ports.log.reader(&self.log.shard, at));
                }
                Step::Rewind { fold, through } => {
                    self.marks.rewind(through);
                    self.writer.handle_rewind(&fold);
                    self.copying.note_rewind();
                    let served = &mut *self.shared.write();
                    served.fold = *fold;
                    served.store.collect(served.fold.collected());
                    served.reach = None;
                }
                Step::ForgetDigests => self.digests.clear(),
                Step::Emit(event) => self.emit(event),
            }
        }
    }

    fn emit(&mut self, event: Event) {
        let shard = self.log.shard.to_string();
        match event {
            Event::Phase(phase) => self.emit_phase(phase),
            Event::LifeSuspected(suspicion) => {
                let text = format!("a lost tail is suspected: {suspicion}");
                self.event(
                    Severity::Warning,
                    "life_suspected",
                    text,
                    json!({ "shard": shard }),
                );
            }
            Event::EndsBefore { last, known } => {
                tracing::warn!(%shard, %last, %known, "the log ends before what was read of it");
            }
            Event::FirstLife(life) => tracing::info!(%shard, %life, "the log's first life began"),
            Event::EarlierLife(link) => {
                tracing::info!(%shard, life = %link.life, fork = %link.fork, "found a life that began earlier");
            }
            Event::NewLife(link) => {
                self.context.metrics.lives.inc();
                let (life, fork) = (link.life, link.fork);
                let text = format!("life {life} began: the log had lost its tail after {fork}");
                let parent = link.parent.map(|parent| parent.to_string());
                let fields =
                    json!({ "shard": shard, "life": life.to_string(), "parent": parent, "fork": fork.0 });
                self.event(Severity::Alarm, "new_life", text, fields);
            }
            Event::ReadsAgain {
                fork: Some(fork),
                from,
            } => {
                tracing::warn!(%shard, %fork, %from, "rereading the log from where it is known");
            }
            Event::ReadsAgain { fork: None, from } => {
                tracing::info!(%shard, %from, "rereading what follows the fork of a life that was not known");
            }
            Event::GivesBack { cells, records } => {
                tracing::warn!(%shard, cells, records, "restoring what the lost tail held");
            }
            Event::TailHeldByPeer { peer, through, fork } => {
                let text = match fork {
                    Some(fork) => format!(
                        "region {peer} has this log through {through}, but the log has lost what followed {fork}: what only that region has of it comes back with a sync"
                    ),
                    None => format!(
                        "region {peer} has this log through {through}, which the log has lost, and nothing that both have is left: that region needs a sync"
                    ),
                };
                let fields = json!({ "shard": shard, "peer": peer.as_str(), "through": through.0 });
                self.event(Severity::Alarm, "tail_held_by_peer", text, fields);
            }
            Event::LogRecreated {
                peer,
                life,
                lost_before,
            } => {
                let what = match lost_before {
                    true => "it was created again, and only other regions have what it held before",
                    false => "what only that region has of it comes back with a sync",
                };
                let text =
                    format!("region {peer} has this log in life {life}, which the log does not know: {what}");
                let fields = json!({ "shard": shard, "peer": peer.as_str(), "life": life.to_string() });
                self.event(Severity::Alarm, "log_made_anew", text, fields);
            }
            Event::ImplausibleDoubt { peer, life } => {
                let events = &self.context.process.events;
                if let Some(before) = events.may_log("implausible lives", &Source::region(&peer)) {
                    tracing::warn!(%shard, %peer, %life, before, "a peer reports lives that can't be lives of this log");
                }
            }
        }
    }

    fn emit_phase(&mut self, phase: Phase) {
        let shard = self.log.shard.to_string();
        let fields = json!({ "shard": shard });
        match &phase {
            Phase::UpgradeNeeded { what, number } => {
                let text =
                    format!("upgrade needed: the log holds {what} {number}, which this version can't read");
                self.event(Severity::Alarm, "upgrade_needed", text, fields);
            }
            Phase::NeedsSync(_) | Phase::LostBefore => {
                let text = format!("needs sync: {}", phase.needs_sync().unwrap_or_default());
                self.event(Severity::Alarm, "needs_sync", text, fields);
            }
            Phase::Unreadable(reason) => {
                self.event(Severity::Alarm, "log_unreadable", reason.clone(), fields);
            }
            Phase::Serving => tracing::info!(%shard, "caught up with the log"),
            Phase::CatchingUp | Phase::NewLife => {}
        }
        self.shared.write().phase = phase;
        self.shared.tell_moved();
        self.set_conditions();
    }
}

/// Asks until the log answers.
async fn ask(log: &dyn ChangeLog, shard: &Shard, question: Question) -> LogAnswer {
    loop {
        match try_ask(log, shard, question).await {
            Ok(answer) => return answer,
            Err(error) => tracing::debug!(%shard, %error, ?question, "asking the log again"),
        }
        sleep(ASK_AGAIN).await;
    }
}

async fn try_ask(log: &dyn ChangeLog, shard: &Shard, question: Question) -> Result<LogAnswer, LogError> {
    Ok(match question {
        Question::End => LogAnswer::End(log.bounds(shard).await?.last),
        Question::At(sequence) => LogAnswer::Stored(match log.message_at(shard, sequence).await? {
            Some(message) => StoredAt::Message(message.message_id()),
            None if sequence < log.bounds(shard).await?.first => StoredAt::Trimmed,
            None => StoredAt::Nothing,
        }),
        Question::MarkThrough(through) => {
            let mark = match through {
                Sequence::NONE => None,
                through => newest_mark_describing(log, shard, through).await?,
            };
            LogAnswer::Mark {
                state: mark.map(|mark| Box::new(mark.body.fold)),
                first: log.bounds(shard).await?.first,
            }
        }
    })
}
