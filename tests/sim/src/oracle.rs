//! What must hold after every step, and after everything has healed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use isthmus_log::StoredMessage;
use isthmus_region_agent::operation::{Outcome, Refusal};
use isthmus_region_agent::shard::ShardHandle;
use isthmus_replication::cell::{CellId, Content, Field};
use isthmus_replication::coordinates::{Anchor, Sequence, Shard};
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Wall;
use isthmus_replication::version::Version;

mod aside;
mod compared;
mod conflation;
mod lag;
mod rest;

use crate::clients::{Answered, Client, bucket};
use crate::reference::{Reference, sum};
use crate::site::Site;

/// A log: the index of its region, and its shard.
pub type LogId = (usize, Shard);

/// Everything that was written, and the state of every log.
#[derive(Debug, Default)]
pub struct Oracle {
    logs: BTreeMap<LogId, Log>,
    /// Every change that counted in the log of its own region, even if that log lost it later.
    counted: BTreeSet<Version>,
    /// For each cell, the newest version that any log has collected.
    gone: BTreeMap<CellId, Version>,
    acknowledged: BTreeMap<CellId, BTreeMap<Version, usize>>,
    refused: BTreeSet<Bytes>,
    agents: BTreeMap<(usize, Shard), Sampled>,
    compared: compared::Compared,
    /// Acknowledged writes that no agent of their region held when their log lost them.
    excused: BTreeSet<Version>,
    /// Writes that may be in one region and not in another: no agent of their region held them when
    /// their log lost them.
    left_behind: BTreeMap<CellId, BTreeSet<Version>>,
    /// Ranges that stand for more changes than they bring.
    pub conflated: u64,
    /// How often a reported lag was compared with the true one.
    pub lags: u64,
    /// The checks that failed.
    pub violations: Vec<String>,
    /// The answers to clients.
    pub outcomes: ClientOutcomes,
}

/// The answers to clients, counted by kind.
#[derive(Debug, Default, Clone, Copy)]
pub struct ClientOutcomes {
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Refused operations.
    pub refused: u64,
    /// Writes with an unknown outcome.
    pub unknown: u64,
    /// Answered reads.
    pub read: u64,
}

#[derive(Debug)]
struct Log {
    stored: Vec<StoredMessage>,
    reference: Reference,
    /// Set from the loss of a tail until the log's agents agree again.
    disturbed: bool,
    /// Whether it ever lost a tail.
    has_lost: bool,
}

#[derive(Debug, Default, Clone)]
struct Sampled {
    at: Anchor,
    own: (u64, Sequence),
    cursors: BTreeMap<RegionName, (u64, Sequence)>,
    voids: u64,
}

impl Oracle {
    /// An oracle for empty logs.
    pub fn new(sites: &[Site], shards: &[Shard]) -> Self {
        let mut oracle = Self::default();
        for (index, site) in sites.iter().enumerate() {
            for shard in shards {
                let log = Log {
                    stored: Vec::new(),
                    reference: Reference::new(site.name.clone()),
                    disturbed: false,
                    has_lost: false,
                };
                oracle.logs.insert((index, shard.clone()), log);
            }
        }
        oracle
    }

    fn violated(&mut self, text: String) {
        self.violations.push(text);
    }

    /// Reads the new messages of every log.
    pub fn read_logs(&mut self, sites: &[Site]) {
        let ids: Vec<LogId> = self.logs.keys().cloned().collect();
        for id in ids {
            for message in self.fresh(&id, sites) {
                self.judge_conflation(&id, &message);
                let Some(log) = self.logs.get_mut(&id) else {
                    continue;
                };
                log.reference.read(&message);
                note_counted(&mut self.counted, &log.reference);
                note_gone(&mut self.gone, &mut log.reference);
                log.stored.push(message);
                let (name, shard) = (&sites[id.0].name, &id.1);
                let broken = log.reference.broken.drain(..);
                self.violations
                    .extend(broken.map(|text| format!("log of {name} {shard}: {text}")));
            }
        }
    }

    /// The messages that were appended to a log since it was last read.
    fn fresh(&self, id: &LogId, sites: &[Site]) -> Vec<StoredMessage> {
        let read = self.last(id);
        let fresh = sites[id.0].nats.with_log(&id.1, |held| {
            let (_, last) = held.span();
            (read.0 + 1..=last.0)
                .filter_map(|at| held.at(Sequence(at)))
                .collect()
        });
        fresh.unwrap_or_default()
    }

    /// Records that a log has lost everything after `keep_through`. `held` returns whether an agent
    /// of its region still holds a write that was at a sequence. `agents_run` is whether the agents
    /// that may have read the lost part keep running.
    pub fn lost_tail(
        &mut self,
        id: &LogId,
        keep_through: Sequence,
        agents_run: bool,
        held: impl Fn(&CellId, &Version, Sequence) -> bool,
    ) {
        let Some(log) = self.logs.get_mut(id) else {
            return;
        };
        let region = log.reference.region().clone();
        let keep = usize::try_from(keep_through.0).unwrap_or(usize::MAX);
        let lost: BTreeMap<(CellId, Version), Sequence> = log.reference.history
            [keep.min(log.reference.history.len())..]
            .iter()
            .flat_map(|after| {
                after
                    .versions
                    .iter()
                    .map(|lost| (lost.clone(), after.anchor.sequence))
            })
            .collect();
        log.stored.truncate(keep);
        log.disturbed = true;
        log.has_lost = true;
        log.reference = Reference::new(region.clone());
        for message in &log.stored {
            log.reference.read(message);
        }
        for ((cell, version), at) in &lost {
            if held(cell, version, *at) {
                continue;
            }
            if !agents_run && version.region == region {
                let left = self.left_behind.entry(cell.clone()).or_default();
                left.insert(version.clone());
            }
            if self
                .acknowledged
                .get(cell)
                .is_some_and(|versions| versions.contains_key(version))
            {
                self.excused.insert(version.clone());
            }
        }
    }

    /// Whether another region's log holds this log through `sequence`.
    pub fn is_held_elsewhere(&self, (site, shard): &LogId, sequence: Sequence) -> bool {
        let Some(log) = self.logs.get(&(*site, shard.clone())) else {
            return false;
        };
        let region = log.reference.region();
        self.logs.iter().any(|((_, of), log)| {
            let after = log.reference.history.last().filter(|_| of == shard);
            after
                .and_then(|after| after.cursors.get(region))
                .is_some_and(|(_, through)| *through >= sequence)
        })
    }

    /// Whether the agents of a log may differ because it lost a tail.
    pub fn is_disturbed(&self, id: &LogId) -> bool {
        self.logs.get(id).is_some_and(|log| log.disturbed)
    }

    /// Whether the agents of any log may differ.
    pub fn any_disturbed(&self) -> bool {
        self.logs.values().any(|log| log.disturbed)
    }

    /// The last message of a log that was read.
    pub fn last(&self, id: &LogId) -> Sequence {
        self.logs
            .get(id)
            .map_or(Sequence::NONE, |log| log.reference.last())
    }

    /// Checks one shard of one run of an agent.
    pub fn observe(&mut self, name: &str, run: usize, site: usize, handle: &ShardHandle) {
        let id = (site, handle.shard().clone());
        let served = handle.served();
        let sampled = self.agents.entry((run, id.1.clone())).or_default();
        if served.fold.at() == sampled.at || served.refusal().is_some() {
            return;
        }
        let Some(log) = self.logs.get(&id) else {
            return;
        };
        let fresh = Sampled {
            at: served.fold.at(),
            own: served
                .fold
                .position()
                .map_or((0, Sequence::NONE), |at| (at.life.number, at.sequence)),
            cursors: cursors(&served.fold),
            voids: served.voids,
        };
        let went_back = fresh.own < sampled.own
            || sampled
                .cursors
                .iter()
                .any(|(origin, cursor)| fresh.cursors.get(origin).is_none_or(|at| at < cursor));
        let mut wrong = Vec::new();
        if went_back && !log.disturbed {
            wrong.push(format!("went back from {sampled:?} to {fresh:?}"));
        }
        let read = (sampled.at.sequence, fresh.at.sequence);
        if read.0 < read.1 && read.0 != Sequence::NONE && !log.disturbed {
            let agent = fresh.voids - sampled.voids;
            let reference = log.reference.voids(read.0, read.1);
            if reference.is_some_and(|reference| reference != agent) {
                let judged = log.stored.iter().zip(&log.reference.history);
                let judged: Vec<_> = judged
                    .filter(|(message, _)| read.0 < message.sequence && message.sequence <= read.1)
                    .map(|(message, after)| {
                        (
                            after.counted,
                            message.header.as_ref().map(|header| &header.record),
                        )
                    })
                    .collect();
                wrong.push(format!(
                    "found {agent} voids from {} to {} where the reference has {judged:?}",
                    read.0, read.1
                ));
            }
        }
        *sampled = fresh.clone();
        match log
            .reference
            .after(fresh.at.sequence)
            .filter(|after| after.anchor == fresh.at)
        {
            None if log.disturbed => {}
            None => wrong.push(format!("is at {:?}, which its log does not have", fresh.at)),
            Some(after) => {
                let held: Vec<_> = log
                    .reference
                    .cells
                    .keys()
                    .filter_map(|id| Some((id, served.store.held(id)?)))
                    .collect();
                let swept = held
                    .iter()
                    .find(|(_, held)| matches!(held.cell.content, Content::Swept(_)));
                wrong
                    .extend(swept.map(|(id, _)| format!("has swept {} within minutes of its write", id.key)));
                let cells = held.len() as u64;
                let held = sum(held
                    .into_iter()
                    .map(|(id, held)| (id, &held.cell.version, held.cell.expires_at)));
                if !log.disturbed && (held != after.sum || cells != served.store.cells()) {
                    wrong.push(format!("holds other cells at {:?} than the reference", fresh.at));
                }
                if served.fold.highest_stamp().bits() != after.highest {
                    wrong.push(format!(
                        "knows another highest stamp at {:?} than the reference",
                        fresh.at
                    ));
                }
                if fresh.cursors != after.cursors {
                    wrong.push(format!(
                        "has cursors {:?} where the reference has {:?}",
                        fresh.cursors, after.cursors
                    ));
                }
            }
        }
        drop(served);
        for text in wrong {
            self.violated(format!("{name} {}: {text}", id.1));
        }
    }

    /// Records an answer, and what its client must see from now on.
    pub fn answered(&mut self, client: &mut Client, answered: &Answered, now: Wall) {
        client.busy = false;
        let asked = &answered.asked;
        let cell = cell(&asked.key);
        match &answered.result {
            Ok(Outcome::Written(written)) => {
                self.outcomes.acknowledged += 1;
                if !self.counted.contains(&written.version) {
                    self.violated(format!(
                        "write {} of {} was acknowledged as {} and does not count in its log",
                        asked.number, asked.key, written.version
                    ));
                }
                if client
                    .seen
                    .get(&asked.key)
                    .is_some_and(|seen| written.version <= *seen)
                {
                    let seen = &client.seen[&asked.key];
                    self.violated(format!(
                        "client {} had seen {} at {seen} and its write after that is {}",
                        asked.client, asked.key, written.version
                    ));
                }
                let acknowledged = self.acknowledged.entry(cell).or_default();
                acknowledged.insert(written.version.clone(), asked.site);
                client.session = written.session.clone();
                see(client, asked, &written.version);
            }
            Ok(Outcome::Found(found)) => {
                self.outcomes.read += 1;
                if self.refused.contains(&found.value) {
                    self.violated(format!(
                        "{} shows a write that was refused: {:?}",
                        asked.key, found.value
                    ));
                }
                self.saw(client, answered, Some(&found.version));
                client.session = found.session.clone();
            }
            Ok(Outcome::Absent { tombstone, session }) => {
                self.outcomes.read += 1;
                if let Some(tombstone) = tombstone
                    && self.is_live(asked.site, &cell, &tombstone.version, now)
                {
                    self.violated(format!(
                        "{} read as absent, and {} is a value that has not expired",
                        asked.key, tombstone.version
                    ));
                }
                self.saw(
                    client,
                    answered,
                    tombstone.as_ref().map(|tombstone| &tombstone.version),
                );
                client.session = session.clone();
            }
            Ok(Outcome::Listed(_)) => {}
            Err(Refusal::OutcomeUnknown) => self.outcomes.unknown += 1,
            Err(Refusal::RegionsUnconfirmed { version, .. }) => {
                self.outcomes.acknowledged += 1;
                self.acknowledged
                    .entry(cell)
                    .or_default()
                    .insert(version.clone(), asked.site);
            }
            Err(Refusal::NeedsSync { .. }) => {
                self.outcomes.refused += 1;
                *client = Client::default();
            }
            Err(refusal) => {
                self.outcomes.refused += 1;
                if let Refusal::Internal(what) = refusal {
                    self.violated(format!("an agent reported an internal error: {what}"));
                }
                if let Some(Some(value)) = &asked.writes {
                    self.refused.insert(value.clone());
                }
            }
        }
    }

    /// Checks that a read shows at least what its client has seen.
    fn saw(&mut self, client: &mut Client, answered: &Answered, version: Option<&Version>) {
        let asked = &answered.asked;
        if let Some(seen) = client.seen.get(&asked.key)
            && version
                .or(self.gone.get(&cell(&asked.key)))
                .is_none_or(|version| version < seen)
        {
            self.violated(format!(
                "client {} had seen {} at {seen} and read {version:?}",
                asked.client, asked.key
            ));
        }
        if let Some(version) = version {
            see(client, asked, version);
        }
    }
}

fn note_counted(counted: &mut BTreeSet<Version>, reference: &Reference) {
    let own = reference.region();
    let Some(after) = reference.history.last() else {
        return;
    };
    for (_, version) in after
        .versions
        .iter()
        .filter(|(_, version)| version.region == *own)
    {
        counted.insert(version.clone());
    }
}

/// Takes over what the reference has collected since.
fn note_gone(gone: &mut BTreeMap<CellId, Version>, reference: &mut Reference) {
    for (cell, version) in std::mem::take(&mut reference.gone) {
        let newest = gone.entry(cell).or_insert_with(|| version.clone());
        *newest = version.max(newest.clone());
    }
}

fn see(client: &mut Client, asked: &crate::clients::Asked, version: &Version) {
    let seen = client
        .seen
        .entry(asked.key.clone())
        .or_insert_with(|| version.clone());
    if *seen < *version {
        *seen = version.clone();
    }
}

fn cell(key: &isthmus_replication::names::Key) -> CellId {
    CellId {
        bucket: bucket(),
        key: key.clone(),
        field: Field::NONE,
    }
}

fn cursors(fold: &isthmus_replication::fold::Fold) -> BTreeMap<RegionName, (u64, Sequence)> {
    fold.origins()
        .map(|(origin, state)| {
            let at = state.cursor.position;
            (origin.clone(), (at.life.number, at.sequence))
        })
        .collect()
}
