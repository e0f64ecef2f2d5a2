//! The slow, obvious reference: the rules of design.md section 5 for one log, implemented a second
//! time without regard to memory or speed, and the cells that its messages produce.
//!
//! It remembers every identifier that it ever saw, judges each message by rules written here from
//! the design alone, and keeps the state after each message. When a log loses its tail, the
//! reference starts again from the log's first message.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use isthmus_log::StoredMessage;
use isthmus_replication::body;
use isthmus_replication::cell::CellId;
use isthmus_replication::change::{Change, Op};
use isthmus_replication::coordinates::{Anchor, Life, MessageId, Sequence, WriterId};
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::header::{LifeLink, Local, Range, Record};
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Wall;
use isthmus_replication::version::Version;

mod sync;

use self::sync::floors_of;

/// The content of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The write that it comes from.
    pub version: Version,
    /// When its value expires.
    pub expires_at: Option<Wall>,
    /// Its value; `None` for a delete.
    pub value: Option<bytes::Bytes>,
}

/// The newest stamp of each region that a write had seen.
type Seen = BTreeMap<RegionName, (u64, u64)>;

/// The state after one message.
#[derive(Debug, Clone, PartialEq)]
pub struct After {
    /// The message.
    pub anchor: Anchor,
    /// Whether it counted.
    pub counted: bool,
    /// Whether it began a life.
    pub began_life: bool,
    /// The cells and versions that it brought, if it counted.
    pub versions: Vec<(CellId, Version)>,
    /// A sum over all cells and their versions.
    pub sum: u64,
    /// The log's own highest stamp.
    pub highest: u64,
    /// Through where each origin's log was held: the number of its life, and the sequence.
    pub cursors: BTreeMap<RegionName, (u64, Sequence)>,
}

/// One log as the design describes it.
#[derive(Debug)]
pub struct Reference {
    region: RegionName,
    lives: Vec<LifeLink>,
    highest: u64,
    ahead_millis: u64,
    behind_millis: u64,
    /// The floor never goes back when a record raises `behind_millis`.
    floor_before: u64,
    membership: Option<u64>,
    mark: Option<(Sequence, u64)>,
    ids: BTreeSet<MessageId>,
    origins: BTreeMap<RegionName, (Life, Anchor)>,
    members: BTreeSet<RegionName>,
    /// The admission floor that each origin's newest range states; 0 after a gap.
    floors: BTreeMap<RegionName, u64>,
    gaps: BTreeSet<RegionName>,
    /// What the log held before is missing.
    lost_before: bool,
    /// The sync that is under way: its first message, its records with cells, and what it heals.
    syncing: Option<(MessageId, u32, BTreeSet<RegionName>)>,
    /// The agents that the newest mark names.
    agents: BTreeSet<WriterId>,
    /// After a lost tail: the floor at the fork, who may still give something back, and until when.
    restoring: Option<(u64, BTreeSet<WriterId>, Wall)>,
    collected: u64,
    /// For each cell, the newest version that was collected.
    pub gone: BTreeMap<CellId, Version>,
    /// The cells.
    pub cells: BTreeMap<CellId, Held>,
    /// For the content of each cell, the newest stamp of each region that it had seen.
    seen: BTreeMap<CellId, Seen>,
    /// Writes of the log's own region that another write kept out or replaced without having seen
    /// them.
    pub conflicts: BTreeSet<Version>,
    /// The state after each message, the first one first.
    pub history: Vec<After>,
    /// Violations found while reading.
    pub broken: Vec<String>,
}

impl Reference {
    /// A reference for the empty log of `region`.
    pub fn new(region: RegionName) -> Self {
        Self {
            region,
            lives: Vec::new(),
            highest: 0,
            ahead_millis: 500,
            behind_millis: 10_000,
            floor_before: 0,
            membership: None,
            mark: None,
            ids: BTreeSet::new(),
            origins: BTreeMap::new(),
            members: BTreeSet::new(),
            floors: BTreeMap::new(),
            gaps: BTreeSet::new(),
            lost_before: false,
            syncing: None,
            agents: BTreeSet::new(),
            restoring: None,
            collected: 0,
            gone: BTreeMap::new(),
            cells: BTreeMap::new(),
            seen: BTreeMap::new(),
            conflicts: BTreeSet::new(),
            history: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// The region of the log.
    pub fn region(&self) -> &RegionName {
        &self.region
    }

    /// The log's life; `None` before its first.
    pub fn life(&self) -> Option<Life> {
        self.lives.last().map(|link| link.life)
    }

    /// The last message read.
    pub fn last(&self) -> Sequence {
        self.history
            .last()
            .map_or(Sequence::NONE, |after| after.anchor.sequence)
    }

    /// The state after the message at `sequence`.
    pub fn after(&self, sequence: Sequence) -> Option<&After> {
        let index = usize::try_from(sequence.0.checked_sub(1)?).ok()?;
        self.history.get(index)
    }

    /// The number of messages after `from`, through `through`, that do not count. `None` if a life
    /// begins there, since its agents read some of them again.
    pub fn voids(&self, from: Sequence, through: Sequence) -> Option<u64> {
        let read = || (from.0 + 1..=through.0).filter_map(|at| self.after(Sequence(at)));
        let one_life = read().all(|after| !after.began_life);
        one_life.then(|| read().filter(|after| !after.counted).count() as u64)
    }

    /// Reads the next message.
    pub fn read(&mut self, message: &StoredMessage) {
        let lives = self.lives.len();
        let counted = self.counts(message);
        let mut versions = Vec::new();
        if let (Some(_), Some(floors)) = (&counted, floors_of(message)) {
            self.take_cells(message, floors);
        } else if let Some(origin) = counted.as_ref().and_then(|brings| brings.clone()) {
            let codec = message.header.as_ref().map(|header| header.body.codec);
            match body::open(codec.unwrap_or_default(), &origin, message.body.clone()) {
                Ok(changes) => {
                    let header = message.header.as_ref();
                    let written_here = header.is_ok_and(|header| matches!(header.record, Record::Batch(_)));
                    for change in changes {
                        versions.push((change.id.clone(), change.version.clone()));
                        self.merge(change, written_here, false);
                    }
                }
                Err(error) => self.broken.push(format!(
                    "the body of {:?} can't be read: {error}",
                    message.sequence
                )),
            }
        }
        let cursors = self.origins.iter();
        self.history.push(After {
            anchor: message.anchor(),
            counted: counted.is_some(),
            began_life: self.lives.len() > lives,
            versions,
            sum: sum(self
                .cells
                .iter()
                .map(|(id, held)| (id, &held.version, held.expires_at))),
            highest: self.highest,
            cursors: cursors
                .map(|(region, (life, anchor))| (region.clone(), (life.number, anchor.sequence)))
                .collect(),
        });
    }

    /// Keeps the greater version. When a write first arrives in its own region's log, nobody has
    /// read it: a greater version that is there already cannot have seen it, unless the same
    /// process wrote both.
    fn merge(&mut self, change: Change, first: bool, knows_deletes: bool) {
        let value = match change.op {
            Op::Put { value, .. } => Some(bytes::Bytes::copy_from_slice(&value)),
            Op::Delete => None,
        };
        let had_seen = |seen: &Seen, loser: &Version| {
            let newest = seen.get(&loser.region);
            newest.is_some_and(|newest| *newest >= (loser.hlc.bits(), loser.writer.0))
        };
        let seen: Seen = change
            .seen
            .iter()
            .map(|(region, stamp)| (region.clone(), (stamp.hlc.bits(), stamp.writer.0)))
            .collect();
        let new = Held {
            version: change.version,
            expires_at: change.expires_at,
            value,
        };
        let is_late = new.version.hlc.bits() <= self.collected && !knows_deletes;
        if is_late && !self.cells.contains_key(&change.id) {
            return;
        }
        let held = self.cells.get(&change.id);
        let (loser, known) = match held {
            Some(held) if held.version > new.version => {
                let winner = self.seen.get(&change.id);
                let had_seen = winner.is_some_and(|winner| had_seen(winner, &new.version));
                let known = held.version.writer == new.version.writer || !first && had_seen;
                (Some(&new.version), known)
            }
            Some(held) if held.version < new.version => {
                let known = held.version.writer == new.version.writer || had_seen(&seen, &held.version);
                (Some(&held.version), known)
            }
            _ => (None, true),
        };
        if let Some(loser) = loser.filter(|loser| !known && loser.region == self.region) {
            self.conflicts.insert(loser.clone());
        }
        match held {
            Some(held) if held.version > new.version => {}
            Some(held) if held.version == new.version => {
                if *held != new {
                    self.broken.push(format!("{:?} has two contents", new.version));
                }
                let known = self.seen.entry(change.id).or_default();
                for (region, hlc) in seen {
                    let newest = known.entry(region).or_default();
                    *newest = hlc.max(*newest);
                }
            }
            _ => {
                self.seen.insert(change.id.clone(), seen);
                self.cells.insert(change.id, new);
            }
        }
    }

    /// `None` if a message does not count; else the region whose changes it brings, if any.
    fn counts(&mut self, message: &StoredMessage) -> Option<Option<RegionName>> {
        let header = message.header.as_ref().ok()?;
        let own = SubjectToken::Origin(self.region.clone());
        let token = message.token.as_ref();
        let life = self.lives.last().map(|link| link.life);
        if !matches!(header.record, Record::Life(_)) && life.is_none() {
            return None;
        }
        let local = |message_id, hlc| Local {
            message_id,
            writer: WriterId(0),
            lowest_stamp: hlc,
            highest_stamp: hlc,
        };
        let of_agents = token == Some(&SubjectToken::Agent);
        match &header.record {
            Record::Batch(batch) => (token == Some(&own) && self.local(batch, message.timestamp, true))
                .then(|| Some(self.region.clone())),
            Record::Restored { local, ended } => {
                let counts = of_agents && self.local(local, message.timestamp, false);
                if let Some((_, waits, _)) = self.restoring.as_mut().filter(|_| counts && *ended) {
                    waits.remove(&local.writer);
                }
                counts.then(|| Some(self.region.clone()))
            }
            Record::Barrier(barrier) => (of_agents
                && self.local(&local(barrier.message_id, barrier.hlc), message.timestamp, true))
            .then_some(None),
            Record::Mark(mark) => {
                let newer = self.mark.is_none_or(|(described, hlc)| {
                    mark.described.sequence > described && mark.hlc.bits() > hlc
                });
                let right = of_agents
                    && Some(mark.life) == life
                    && newer
                    && mark.described.sequence < message.sequence;
                let counts = right && self.local(&local(mark.message_id, mark.hlc), message.timestamp, true);
                if counts {
                    self.mark = Some((mark.described.sequence, mark.hlc.bits()));
                    self.agents = mark.agents.iter().copied().collect();
                    let over = |(_, waits, until): &(u64, BTreeSet<WriterId>, Wall)| {
                        waits.is_empty() || message.timestamp >= *until
                    };
                    self.restoring.take_if(|restoring| over(restoring));
                    self.collect();
                }
                counts.then_some(None)
            }
            Record::Membership { membership, .. } => {
                let counts = of_agents && self.membership.is_none_or(|number| membership.number > number);
                if counts {
                    self.floor_before = self.admission_floor();
                    self.membership = Some(membership.number);
                    self.members = membership.members.iter().cloned().collect();
                    self.ahead_millis = membership.clock.max_ahead.as_millis() as u64;
                    self.behind_millis = membership.clock.max_behind.as_millis() as u64;
                }
                counts.then_some(None)
            }
            Record::Life(record) => {
                let counts = of_agents && record.link.parent == life;
                if counts {
                    self.lives.push(record.link);
                    self.syncing = None;
                    let keeps = record.link.fork != Sequence::NONE;
                    self.lost_before = record.lost_before || self.lost_before && keeps;
                }
                if counts && life.is_some() {
                    let until = message.timestamp.after(Duration::from_secs(3600));
                    self.restoring = Some((self.own_floor(), self.agents.clone(), until));
                }
                counts.then_some(None)
            }
            Record::Sync(record) => (of_agents && Some(record.life) == life)
                .then(|| self.sync(record, message.timestamp))
                .filter(|counts| *counts)
                .map(|_| None),
            Record::Range(range) => {
                if range.origin == self.region {
                    self.broken
                        .push(format!("{:?} returned to its origin", message.sequence));
                }
                let of_origin = token == Some(&SubjectToken::Origin(range.origin.clone()));
                (of_origin && self.range(range)).then(|| Some(range.origin.clone()))
            }
            Record::Gap(range) => {
                let counts = token == Some(&SubjectToken::Gateway) && self.range(range);
                if counts {
                    self.gaps.insert(range.origin.clone());
                    if let Some((_, _, heals)) = &mut self.syncing {
                        heals.remove(&range.origin);
                    }
                }
                counts.then_some(None)
            }
        }
    }

    /// Design.md section 5: every stamp is above the highest less max_behind, none is above the
    /// log's time plus max_ahead, and the identifier is new. Restored writes keep their old stamps:
    /// below the floor they may count again, and change nothing.
    fn local(&mut self, local: &Local, timestamp: Wall, bound_behind: bool) -> bool {
        let (lowest, highest) = (local.lowest_stamp.bits(), local.highest_stamp.bits());
        let above_floor = lowest > self.admission_floor();
        if bound_behind && !above_floor || above_floor && self.ids.contains(&local.message_id) {
            return false;
        }
        let is_ahead = highest >> 16 > timestamp.millis() + self.ahead_millis;
        if bound_behind || !is_ahead {
            self.ids.insert(local.message_id);
        }
        if is_ahead {
            return false;
        }
        self.highest = self.highest.max(highest);
        true
    }

    fn range(&mut self, range: &Range) -> bool {
        let comes_next = self.comes_next(range);
        if let Some(current) = range.lineage.links().last().filter(|_| comes_next) {
            let floor = self.floors.entry(range.origin.clone()).or_default();
            *floor = range.admission_floor.bits().max(*floor);
            self.origins
                .insert(range.origin.clone(), (current.life, range.through));
        }
        comes_next
    }

    /// Design.md section 10: nothing of this region at or below it can still come.
    fn admission_floor(&self) -> u64 {
        let floor = self.highest.saturating_sub(self.behind_millis << 16);
        floor.max(self.floor_before)
    }

    fn own_floor(&self) -> u64 {
        let admission = self.admission_floor();
        let at_fork = self.restoring.as_ref().map(|(floor, ..)| *floor);
        at_fork.map_or(admission, |at_fork| at_fork.min(admission))
    }

    /// Design.md section 10: nothing of any member at or below it can still come.
    fn least_floor(&self) -> u64 {
        let floor = |member: &RegionName| match *member == self.region {
            true if self.lost_before => 0,
            true => self.own_floor(),
            false if self.gaps.contains(member) => 0,
            false => self.floors.get(member).copied().unwrap_or(0),
        };
        self.members.iter().map(floor).min().unwrap_or(0)
    }

    /// Design.md section 10: removes the deletes and expired values at or below every member's
    /// floor.
    fn collect(&mut self) {
        self.collected = self.collected.max(self.least_floor());
        let (collected, gone, seen) = (self.collected, &mut self.gone, &mut self.seen);
        self.cells.retain(|id, held| {
            let stamp = held.version.hlc.bits();
            let ends = match (&held.value, held.expires_at) {
                (None, _) => stamp,
                (Some(_), Some(at)) => stamp.max(at.millis() << 16),
                (Some(_), None) => return true,
            };
            let stays = ends > collected;
            if !stays {
                let newest = gone.entry(id.clone()).or_insert_with(|| held.version.clone());
                *newest = held.version.clone().max(newest.clone());
                seen.remove(id);
            }
            stays
        });
    }

    /// Design.md section 5: a range must follow the least of the cursor and every fork since the
    /// cursor's life.
    pub fn comes_next(&self, range: &Range) -> bool {
        let links = range.lineage.links();
        if links.is_empty() {
            return false;
        }
        let held = self.origins.get(&range.origin);
        let shared = match held {
            None => Sequence::NONE,
            Some((life, anchor)) => {
                match links.iter().position(|link| link.life == *life) {
                    Some(at) => {
                        let forks = links[at + 1..].iter().map(|link| link.fork);
                        forks.chain([anchor.sequence]).min().unwrap_or(anchor.sequence)
                    }
                    // The lineage lists all lives of the log, and this one is not among them: the
                    // log was created again.
                    None if links[0].parent.is_none()
                        && links
                            .last()
                            .is_some_and(|newest| newest.life.number > life.number) =>
                    {
                        Sequence::NONE
                    }
                    None => return false,
                }
            }
        };
        let follows = held
            .filter(|(_, anchor)| anchor.sequence == shared)
            .is_none_or(|(_, anchor)| anchor.message_id == range.previous);
        range.first == shared.next() && range.through.sequence > shared && follows
    }
}

/// A sum over cells, their versions and expiry times, in any order.
pub fn sum<'a>(cells: impl Iterator<Item = (&'a CellId, &'a Version, Option<Wall>)>) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    cells.fold(0, |sum, (id, version, expires_at)| {
        let mut hasher = DefaultHasher::new();
        (id, version, expires_at.map(Wall::micros)).hash(&mut hasher);
        sum.wrapping_add(hasher.finish())
    })
}
