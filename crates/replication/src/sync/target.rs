//! The steward whose region takes what another one has: which source it asks, for what, and which
//! records it appends.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::running::Running;
use super::walk::Walk;
use super::{Begun, InvalidReply, Reply, Request};
use crate::coordinates::{Life, MessageId, Shard, WriterId};
use crate::fold::{Accepted, Fold, LogName, Verdict};
use crate::header::{Record, SourcePosition, SyncRecord, SyncStep};
use crate::hlc;
use crate::hlc::Hlc;
use crate::ids::MessageIds;
use crate::names::RegionName;
use crate::store::Store;
use crate::time::{Mono, Now};

/// Sources are asked again this long after none of them could begin a sync.
const AGAIN: Duration = Duration::from_secs(1);
/// A source that leaves this many requests in a row unanswered is given up.
const UNANSWERED: u32 = 2;
/// Records that are appended and not read back.
pub(super) const RECORDS: usize = 4;
/// A record that was appended and not read back for this long is lost, and the sync with it.
const READ_BACK: Duration = Duration::from_secs(10);

/// What a region's log lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wants {
    /// Regions whose changes are missing, and can't come by a lane.
    pub origins: BTreeSet<RegionName>,
    /// What the log held before is missing.
    pub lost: bool,
    /// The other members, which may be sources.
    pub members: BTreeSet<RegionName>,
}

impl Wants {
    /// What the log of `fold` lacks. The lanes of the regions in `stuck` can't bring what is
    /// missing.
    #[must_use]
    pub fn of(fold: &Fold, stuck: &BTreeSet<RegionName>) -> Self {
        let own = &fold.log().region;
        let membership = fold.membership();
        let members = membership.map_or(&[][..], |membership| &membership.members);
        let fenced = membership.map_or(&[][..], |membership| &membership.fenced);
        let gaps = fold.origins().filter(|(_, origin)| origin.needs_sync());
        let gaps = gaps.map(|(region, _)| region.clone());
        let others = members
            .iter()
            .filter(|member| *member != own && !fenced.contains(member));
        Self {
            origins: gaps.chain(stuck.iter().cloned()).collect(),
            lost: fold.lost_before(),
            members: others.cloned().collect(),
        }
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty() && !self.lost
    }
}

/// A request for the shell to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// The region to ask.
    pub source: RegionName,
    /// What to ask it.
    pub request: Request,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAnswer<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// No gateway leads.
    NoResponders,
    /// Nothing, within [`super::ANSWER`].
    Unanswered,
}

/// What an operator should know about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A source of about this many cells takes part.
    Began {
        /// The source.
        source: RegionName,
        /// About how many cells there are.
        cells: u64,
    },
    /// A sync ended early; another begins.
    Interrupted {
        /// The source.
        source: RegionName,
        /// Why.
        reason: String,
    },
    /// A source sent what was not asked for. Nothing of it is used.
    Violation {
        /// The source.
        source: RegionName,
        /// What was wrong.
        invalid: InvalidReply,
    },
    /// No region can be a source for now. Recorded once, until one can.
    NoSource {
        /// What each of them answered.
        reasons: Vec<(RegionName, String)>,
    },
    /// A sync ended.
    Completed {
        /// The source.
        source: RegionName,
        /// How far it came.
        progress: SyncProgress,
    },
}

/// How far a sync is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncProgress {
    /// Cells of the source that were compared.
    pub compared: u64,
    /// About how many cells the source has.
    pub of_cells: u64,
    /// Cells that were taken from the source.
    pub taken: u64,
    /// Bytes that the source sent.
    pub bytes: u64,
    /// About how much memory the source's cells take, in bytes.
    pub of_bytes: u64,
}

impl SyncProgress {
    /// The time left if it goes on as in the time that it `took` so far; none before the first
    /// cell.
    #[must_use]
    pub fn left(&self, took: Duration) -> Option<Duration> {
        let rest = self.of_cells.saturating_sub(self.compared);
        (self.compared > 0).then(|| took.mul_f64(rest as f64 / self.compared as f64))
    }
}

/// Takes what other regions have and this log lacks. A pure machine for the region's steward; see
/// the [module](super) for the algorithm.
///
/// Inputs: [`Target::handle_answer`] for each request, [`Target::handle_message`] for each message
/// of the log, [`Target::handle_timeout`]. Outputs, after each input: [`Target::poll_record`] until
/// it is empty, [`Target::poll_request`], [`Target::poll_event`].
#[derive(Debug)]
pub struct Target {
    log: LogName,
    writer: WriterId,
    /// Bytes per second.
    rate: u64,
    ids: MessageIds,
    /// The source of the request that is under way, unless its answer no longer matters.
    asked: Option<Option<RegionName>>,
    /// Sources that could not begin or go on since the last wait, and why.
    refused: Vec<(RegionName, String)>,
    has_reported: bool,
    unanswered: u32,
    ask_from: Mono,
    /// The sources of the syncs that ended in a life, and those that have lost their own data.
    ended: (Option<Life>, BTreeSet<RegionName>),
    running: Option<Running>,
    events: VecDeque<Event>,
}

impl Target {
    /// A machine for `log` in the process `writer`, which receives at most `rate` bytes per second.
    #[must_use]
    pub fn new(log: LogName, writer: WriterId, rate: u64, seed: u128) -> Self {
        Self {
            log,
            writer,
            rate,
            ids: MessageIds::new(seed),
            asked: None,
            refused: Vec::new(),
            has_reported: false,
            unanswered: 0,
            ask_from: Mono::default(),
            ended: (None, BTreeSet::new()),
            running: None,
            events: VecDeque::new(),
        }
    }

    /// Output: the next request, if one is due.
    pub fn poll_request(&mut self, now: Mono, fold: &Fold, wants: &Wants) -> Option<SyncRequest> {
        if self.asked.is_some() || now < self.ask_from {
            return None;
        }
        let (source, begun, ask) = match &self.running {
            Some(running) => {
                let ask = running.next_ask()?;
                (running.source.clone(), Some(running.begun.clone()), Some(ask))
            }
            None => (self.next_source(now, fold, wants)?, None, None),
        };
        self.asked = Some(Some(source.clone()));
        let shard = self.log.shard.clone();
        let request = Request { shard, begun, ask };
        Some(SyncRequest { source, request })
    }

    /// The first source that may bring what is missing and has not refused. When all have, they are
    /// asked again later.
    fn next_source(&mut self, now: Mono, fold: &Fold, wants: &Wants) -> Option<RegionName> {
        if wants.is_empty() {
            return None;
        }
        let life = fold.lineage().current();
        if self.ended.0 != life {
            self.ended = (life, BTreeSet::new());
        }
        let ended = &self.ended.1;
        let lost = wants
            .members
            .iter()
            .filter(|member| wants.lost && !ended.contains(*member));
        let others = wants.members.difference(&wants.origins);
        let candidates = lost.chain(&wants.origins).chain(others);
        let refuses = |region: &RegionName| self.refused.iter().any(|(refused, _)| refused == region);
        let next = candidates
            .filter(|region| wants.members.contains(*region))
            .find(|region| !refuses(region))
            .cloned();
        if next.is_none() {
            let reasons = std::mem::take(&mut self.refused);
            self.ask_from = now.after(AGAIN);
            if !std::mem::replace(&mut self.has_reported, true) {
                self.events.push_back(Event::NoSource { reasons });
            }
        }
        next
    }

    /// Output: when something is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        let running = self.running.as_ref();
        let read_back = running.and_then(|running| running.under_way.front());
        let may_ask = running.is_none_or(|running| running.next_ask().is_some());
        let ask = (self.asked.is_none() && may_ask).then_some(self.ask_from);
        read_back.map(|(_, until)| *until).into_iter().chain(ask).min()
    }

    /// Input: the time.
    pub fn handle_timeout(&mut self, now: Mono) {
        let running = self.running.as_ref();
        let first = running.and_then(|running| running.under_way.front());
        if first.is_some_and(|(_, until)| *until <= now) {
            self.interrupt("a record was appended and did not come back");
        }
    }

    /// Input: what came of the request that was polled last. `store` and `fold` are the own ones.
    pub fn handle_answer(&mut self, now: Mono, answer: SourceAnswer<'_>, fold: &Fold, store: &Store) {
        let Some(source) = self.asked.take().flatten() else {
            return;
        };
        let bytes = match answer {
            SourceAnswer::Bytes(bytes) => bytes,
            SourceAnswer::NoResponders => return self.give_up(source, "no gateway leads here"),
            SourceAnswer::Unanswered => {
                self.unanswered += 1;
                if self.unanswered >= UNANSWERED {
                    self.give_up(source, "it does not answer");
                }
                return;
            }
        };
        self.unanswered = 0;
        let cost = Duration::from_secs(1).mul_f64(bytes.len() as f64 / self.rate.max(1) as f64);
        self.ask_from = now.after(cost);
        let taken = match Reply::decode(bytes) {
            Ok(Reply::Refused { lost, reason }) => {
                if lost {
                    self.ended.1.insert(source.clone());
                }
                return self.give_up(source, &reason);
            }
            Ok(answer) => self.take(&source, answer, bytes.len(), fold, store),
            Err(invalid) => Err(invalid),
        };
        if let Err(invalid) = taken {
            self.running = None;
            self.refused.push((source.clone(), invalid.to_string()));
            self.events.push_back(Event::Violation { source, invalid });
        }
    }

    fn take(
        &mut self,
        source: &RegionName,
        answer: Reply,
        bytes: usize,
        fold: &Fold,
        store: &Store,
    ) -> Result<(), InvalidReply> {
        match (&mut self.running, answer) {
            (
                None,
                Reply::Begun {
                    begun,
                    positions,
                    cells,
                    bytes: of_bytes,
                },
            ) => {
                if !positions.iter().any(|position| position.region == *source) {
                    return Err(InvalidReply("no position of the source"));
                }
                let progress = SyncProgress {
                    of_cells: cells,
                    of_bytes,
                    ..SyncProgress::default()
                };
                self.begin(source, begun, positions, progress, store);
                Ok(())
            }
            (Some(running), Reply::Spans(spans)) => {
                running.progress.bytes += bytes as u64;
                let taken = running.walk.take_spans(store, spans);
                running.progress.compared = running.walk.passed();
                taken
            }
            (Some(running), Reply::Cells { floor, through, rows }) => {
                running.progress.bytes += bytes as u64;
                running.take_cells(fold, store, floor, through, rows)
            }
            _ => Err(InvalidReply("of another kind")),
        }
    }

    fn begin(
        &mut self,
        source: &RegionName,
        begun: Begun,
        positions: Vec<SourcePosition>,
        progress: SyncProgress,
        store: &Store,
    ) {
        self.events.push_back(Event::Began {
            source: source.clone(),
            cells: progress.of_cells,
        });
        self.has_reported = false;
        let floor = begun.collected.max(store.collected()).max(store.reclaimed());
        self.running = Some(Running {
            source: source.clone(),
            begun,
            id: self.ids.next_id(),
            positions: Some(positions),
            counts: false,
            walk: Walk::new(floor),
            bodies: VecDeque::new(),
            numbered: 0,
            under_way: VecDeque::new(),
            ending: false,
            progress,
        });
    }

    /// Output: the next record to append, if one is due.
    pub fn poll_record(&mut self, now: Now, fold: &Fold, wants: &Wants) -> Option<(Record, Bytes)> {
        let life = fold.lineage().current()?;
        let running = self.running.as_mut()?;
        if running.under_way.len() >= RECORDS {
            return None;
        }
        let message_id = if running.positions.is_some() {
            running.id
        } else {
            self.ids.next_id()
        };
        let (step, body) = if let Some(positions) = running.positions.take() {
            let mut clock = hlc::Clock::default();
            clock.observe(fold.highest_stamp());
            let step = SyncStep::Begin {
                writer: self.writer,
                hlc: clock.stamp(now.wall),
                source: running.source.clone(),
                positions,
            };
            (step, Bytes::new())
        } else if let Some((body, floors)) = running.bodies.pop_front() {
            let number = running.numbered;
            running.numbered += 1;
            (SyncStep::Cells { number, floors }, body.encode())
        } else if running.is_compared() {
            running.ending = true;
            let ended = &self.ended.1;
            let is_asked = |member: &RegionName| *member == running.source || ended.contains(member);
            let step = SyncStep::End {
                records: running.numbered,
                all_members: wants.members.iter().all(is_asked),
            };
            (step, Bytes::new())
        } else {
            return None;
        };
        running
            .under_way
            .push_back((message_id, now.mono.after(READ_BACK)));
        let record = SyncRecord {
            message_id,
            life,
            begun: running.id,
            step,
        };
        Some((Record::Sync(record), body))
    }

    /// Input: a message of the log was folded.
    pub fn handle_message(&mut self, fold: &Fold, message_id: MessageId, verdict: &Verdict) {
        let Some(running) = &mut self.running else {
            return;
        };
        let is_ours = running
            .under_way
            .iter()
            .any(|(under_way, _)| *under_way == message_id);
        if is_ours && matches!(verdict, Verdict::Void(_)) {
            return self.interrupt("a record of it does not count");
        }
        if is_ours && let Verdict::Accepted(Accepted::Sync(record)) = verdict {
            running
                .under_way
                .retain(|(under_way, _)| *under_way != message_id);
            match record.step {
                SyncStep::Begin { .. } => running.counts = true,
                SyncStep::Cells { .. } => {}
                SyncStep::End { .. } => return self.completed(),
            }
        }
        if running.counts && fold.syncing() != Some(running.id) {
            self.interrupt("another sync began, or the log began a new life");
        }
    }

    fn completed(&mut self) {
        if let Some(running) = self.running.take() {
            // What is still missing is missing there too.
            self.refused.push((
                running.source.clone(),
                "it has nothing more of what is missing".to_owned(),
            ));
            self.ended.1.insert(running.source.clone());
            self.events.push_back(Event::Completed {
                source: running.source,
                progress: running.progress,
            });
        }
    }

    fn interrupt(&mut self, reason: &str) {
        if let Some(running) = self.running.take() {
            self.asked = self.asked.take().map(|_| None);
            self.events.push_back(Event::Interrupted {
                source: running.source,
                reason: reason.to_owned(),
            });
        }
    }

    fn give_up(&mut self, source: RegionName, reason: &str) {
        self.unanswered = 0;
        self.interrupt(reason);
        self.refused.push((source, reason.to_owned()));
    }

    /// Output: what an operator should know about.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The source of a sync that is under way, and how far it is.
    #[must_use]
    pub fn progress(&self) -> Option<(&RegionName, SyncProgress)> {
        let running = self.running.as_ref()?;
        Some((&running.source, running.progress))
    }

    /// The stamp above which the own store must keep its tombstones while the sync is under way.
    #[must_use]
    pub fn holds_floor(&self) -> Option<Hlc> {
        self.running.as_ref().map(|running| running.walk.floor())
    }

    /// The shard that it serves.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.log.shard
    }
}
