//! Reading the log at its head.

use std::sync::Arc;
use std::time::Duration;

use isthmus_log::{ReadError, Reader, ReadsLog, StoredMessage};
use isthmus_replication::coordinates::{Cursor, Life, Sequence, Shard};
use isthmus_replication::fold::{Accepted, Fold, Verdict};
use isthmus_replication::header::{Header, LifeLink, Record};
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Mono;
use isthmus_report::gateway::HeadState;
use isthmus_runtime::events::{Severity, Source};
use serde_json::json;

use super::{AT_A_TIME, HeadTask, NEWEST};
use crate::start::{StartError, start_reader};

/// The wait before the reader is started again.
const RETRY: Duration = Duration::from_millis(500);
/// If the reader gets no message for this long before it reaches the log's end, it is started again
/// with the log's current end: the log may have lost its tail.
const STALLED: Duration = Duration::from_secs(5);

/// The most events `peer_lost_tail` of one origin and shard in the region's journal.
const LIVES_KEPT: u64 = 64;

impl HeadTask {
    pub(super) fn start_if_due(&mut self) {
        let now = self.shared.process.clock.mono();
        if self.start_at.is_none_or(|at| at > now) {
            return;
        }
        self.start_at = None;
        let (log, shard, from) = (
            Arc::clone(&self.shared.ports.log),
            self.shard.clone(),
            self.start_from,
        );
        self.starting = Some(Box::pin(async move {
            let last = log.bounds(&shard).await?.last;
            let (fold, reader) = start_reader(&*log, &shard, from).await?;
            Ok((fold, reader, last))
        }));
    }

    pub(super) fn started(&mut self, started: Result<(Fold, Reader, Sequence), StartError>) {
        self.starting = None;
        if !matches!(started, Err(StartError::Log(_))) {
            self.start_from = NEWEST;
        }
        match started {
            Ok((fold, reader, last)) => {
                self.landmarks.note(&fold);
                self.fold = fold;
                self.reader = Some(reader);
                self.read_at = self.shared.process.clock.mono();
                self.target = Some(last);
                self.state = HeadState::Reading;
                self.check_head();
            }
            Err(error) => {
                tracing::debug!(shard = %self.shard, %error, "the log can't be read yet");
                self.start_again(error.to_string());
            }
        }
    }

    /// When the reader is started again because it gets no messages; none once the log's end was
    /// reached.
    pub(super) fn stalled_at(&self) -> Option<Mono> {
        let reads_to_end = self.reader.is_some() && self.target.is_some();
        reads_to_end.then(|| self.read_at.after(STALLED))
    }

    pub(super) fn start_again_if_stalled(&mut self) {
        let now = self.shared.process.clock.mono();
        if self.stalled_at().is_some_and(|at| at <= now) {
            self.start_again("no message came before the end of the log was reached".to_owned());
        }
    }

    fn start_again(&mut self, why: String) {
        self.reader = None;
        self.target = Some(Sequence::NONE);
        self.state = HeadState::Stopped(why);
        self.start_at = Some(self.shared.process.clock.mono().after(RETRY));
    }

    /// Takes one message and those that are ready.
    pub(super) fn read(&mut self, first: Result<StoredMessage, ReadError>) {
        self.take_ready(first, AT_A_TIME);
        self.check_head();
    }

    fn message(&mut self, message: &StoredMessage) {
        self.read_at = self.shared.process.clock.mono();
        let held = message
            .header
            .as_ref()
            .ok()
            .and_then(|header| self.held_of(header));
        let verdict = match self.fold.apply(message.as_message()) {
            Ok(verdict) => verdict,
            Err(gone) => return self.start_again(gone.to_string()),
        };
        let now = self.shared.log_now();
        let header = message.header.as_ref().ok();
        if self.is_at_head() {
            for lane in self.lanes.values_mut() {
                lane.receiving.handle_read_back(now, header, &verdict, &self.fold);
            }
        }
        match verdict {
            Verdict::Accepted(accepted) => {
                if let (Accepted::Range { origin, cursor, .. }, Some(held)) = (&accepted, held) {
                    self.tell_lost_tail(origin, held, *cursor);
                }
                self.accepted(&accepted);
            }
            Verdict::Void(void) => {
                self.shared.metrics.void(void);
                let source = self.source().because(void.label());
                if let Some(before) = self.shared.process.events.may_log("void", &source) {
                    tracing::info!(shard = %self.shard, sequence = %message.sequence, message_id = %message.message_id(), reason = void.label(), before, "void: {void}");
                }
            }
            Verdict::Stop { what, number } => self.stopped(what, number),
        }
    }

    /// The cursor that this region had in the log of the origin whose range `header` describes.
    fn held_of(&self, header: &Header) -> Option<Cursor> {
        match &header.record {
            Record::Range(range) | Record::Gap(range) => {
                self.fold.origin(&range.origin).map(|held| held.cursor)
            }
            _ => None,
        }
    }

    /// Reports that the origin's log continues from before what this region has of it: it lost a
    /// tail. What the origin's own agents do not restore is left only in this region or in another
    /// one. Every gateway detects this, and the region keeps the event once.
    fn tell_lost_tail(&self, origin: &RegionName, held: Cursor, cursor: Cursor) {
        let Some(known) = self.fold.origin(origin).filter(|_| self.is_at_head()) else {
            return;
        };
        let shared = known.lineage.resumes_after(held.position);
        let Some(shared) = shared.filter(|shared| *shared < held.position.sequence) else {
            return;
        };
        let (life, through) = (cursor.position.life, held.position.sequence);
        let text = format!(
            "region {origin} has lost what followed {shared} of its log of {}, which this region has through {through}: what its own agents do not restore is missing there until a sync; isthmus doctor reports whether anything is",
            self.shard
        );
        let fields = json!({
            "peer": origin.as_str(),
            "group": self.shard.group.as_str(),
            "partition": self.shard.partition,
            "fork": shared.0,
            "through": through.0,
            "life": life.to_string(),
        });
        let fact = lost_tail_fact(&self.shard, origin, life);
        let events = &self.shared.process.events;
        let source = Source::region(origin).of_shard(&self.shard);
        events.record_shared(&source, Severity::Alarm, "peer_lost_tail", fact, text, fields);
    }

    fn accepted(&mut self, accepted: &Accepted) {
        if accepted.carries_own_stamp()
            && self.is_at_head()
            && let Some(stored) = self.shared.stored.get(&self.shard)
        {
            stored.send_replace(Some((self.fold.at().sequence, self.fold.own_appended())));
        }
        match accepted {
            Accepted::Life(link) => self.life_began(*link),
            Accepted::Mark(_) => self.landmarks.note_mark(&self.fold),
            Accepted::Range { origin, cursor, .. } => {
                let wall = self.shared.now().wall;
                for lane in self.lanes.values_mut().filter(|lane| lane.origin == *origin) {
                    lane.traces.passed(wall, cursor.position.sequence);
                }
            }
            _ => {}
        }
    }

    fn life_began(&mut self, link: LifeLink) {
        if self.reread.handle_life(&link) {
            self.start_from = link.fork;
            self.start_again(format!("reading again from the fork of life {}", link.life));
            self.start_at = Some(Mono::default());
        } else if self.is_at_head() {
            self.tell_fold();
        }
    }

    fn stopped(&mut self, what: &'static str, number: u32) {
        let text = format!(
            "the log of {} has {what} {number} of a later version: upgrade this gateway",
            self.shard
        );
        self.reader = None;
        self.stopped = true;
        self.state = HeadState::Stopped(text.clone());
        self.event(self.source(), Severity::Alarm, "upgrade_needed", text);
        for lane in self.lanes.values_mut() {
            lane.receiving.handle_stopped();
        }
        self.take_offered();
    }

    fn tell_suspicion(&self, error: &ReadError) {
        let text = format!("the log of {} has lost its tail: {error}", self.shard);
        self.event(self.source(), Severity::Alarm, "life_suspected", text);
    }

    /// Reports that a suspicion has ended: the log is read up to its head again and is still what
    /// was read.
    pub(super) fn tell_end_of_suspicion(&mut self) {
        let sound = self.target.is_none() && self.reader.is_some();
        if sound && self.suspicion.take_end(self.shared.process.clock.mono()) {
            let text = format!(
                "the log of {} is read up to its head again: a lost tail is no longer suspected",
                self.shard
            );
            self.event(self.source(), Severity::Notice, "life_suspicion_ended", text);
        }
    }

    fn check_head(&mut self) {
        let reached = self.target.is_some_and(|last| self.fold.at().sequence >= last);
        if reached && self.reader.is_some() {
            self.target = None;
            self.state = HeadState::Running;
            let now = self.shared.log_now();
            for lane in self.lanes.values_mut() {
                lane.receiving.handle_head(now, &self.fold);
            }
            self.tell_fold();
            self.caught_up.send_replace(true);
            self.take_offered();
            tracing::info!(shard = %self.shard, at = %self.fold.at().sequence, "read the log up to its head");
        }
    }

    /// Publishes the fold. Sending lanes learn the lives of the log from it.
    fn tell_fold(&self) {
        if let Some(folds) = self.shared.folds.get(&self.shard) {
            folds.send_replace(Some(Arc::new(self.fold.clone())));
        }
        let position = self.fold.position();
        self.shared
            .view
            .head(&self.shard, |head| head.position = position);
    }

    /// This shard as the source of events, independent of who wrote to its log.
    fn source(&self) -> Source {
        Source::default().of_shard(&self.shard)
    }

    pub(super) fn event(&self, source: Source, severity: Severity, kind: &'static str, text: String) {
        let fields = json!({ "group": self.shard.group.as_str(), "partition": self.shard.partition });
        let events = &self.shared.process.events;
        events.record_from(&source, severity, kind, text, fields);
    }
}

impl ReadsLog for HeadTask {
    fn reader(&mut self) -> &mut Option<Reader> {
        &mut self.reader
    }

    fn take(&mut self, message: StoredMessage) -> bool {
        self.message(&message);
        true
    }

    fn reader_ended(&mut self, error: &ReadError) {
        let now = self.shared.process.clock.mono();
        if let ReadError::LifeSuspected(_) = error {
            if self.suspicion.note(now) {
                self.tell_suspicion(error);
            }
        } else {
            tracing::warn!(shard = %self.shard, %error, "the reader at the log's head ended");
        }
        self.start_again(error.to_string());
    }
}

/// What names the event `peer_lost_tail` in the region's journal. The origin chooses its lives, so
/// the number of names is bounded.
fn lost_tail_fact(shard: &Shard, origin: &RegionName, life: Life) -> String {
    let number = life.number % LIVES_KEPT;
    format!("{}-{}-{origin}-{number}", shard.group, shard.partition)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use isthmus_replication::names::GroupName;

    use super::*;

    #[test]
    fn an_origin_fills_no_journal_with_lives_that_it_invents() {
        let shard = Shard {
            group: GroupName::parse("default").unwrap(),
            partition: 1,
        };
        let origin = RegionName::parse("us-east").unwrap();
        let fact = |number, nonce| lost_tail_fact(&shard, &origin, Life { number, nonce });
        let facts: BTreeSet<String> = (0..10_000).map(|nonce| fact(nonce / 7, nonce)).collect();
        assert_eq!(facts.len() as u64, LIVES_KEPT);
        assert_ne!(fact(2, 1), fact(3, 1), "the next life");
        assert_eq!(fact(2, 1), fact(2, 1), "another gateway");
    }
}
