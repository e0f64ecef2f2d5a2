//! The fold: which messages of a log count (design.md section 5).
//!
//! Problem: agents and gateways append to one stream without a fence. A publish may arrive twice,
//! out of order, minutes after its timeout, or from two gateways at once; a log may lose an
//! acknowledged tail. Every reader must still compute the same state from the same stream.
//!
//! Sketch: a reader passes each message, in sequence order, to [`Fold::apply`], which gives one
//! verdict from the header, the log timestamp and the state so far. A message that is not accepted
//! is void: it changes only the position and, if it is a local message that is stamped too far
//! ahead, the list of identifiers that may not come again.
//!
//! Invariants: the verdict is a function of the stream alone (no setting, clock or order of arrival
//! affects it); each range of an origin's log is accepted once per life of the receiving log, in
//! order, without holes; a batch, mark or barrier is accepted at most once, and only if its stamps
//! are less than `max_behind` behind the highest one; no local stamp is accepted more than
//! `max_ahead` ahead of its message's log timestamp.
//!
//! Failure cases: a position that is not the next one is an error, not a verdict (the reader needs
//! a sync); an unknown kind or codec stops the reader (a later version could accept it); garbage
//! under our subjects is void.

use std::collections::BTreeMap;

use crate::coordinates::{Anchor, Cursor, Life, MessageId, Position, Sequence, Shard, WriterId};
use crate::header::{
    Barrier, Header, HeaderError, Kind, LifeRecord, Lineage, Local, MarkRecord, Membership, Range, Record,
    Standing,
};
use crate::hlc::Hlc;
use crate::limits;
use crate::names::{RegionName, SetName};
use crate::planted::{self, Planted};
use crate::time::Wall;

mod codec;
mod recent;
mod sync;
#[cfg(test)]
mod tests;
mod verdict;

pub use codec::{InvalidState, MarkBody};
use recent::Recent;
use sync::Syncing;
pub use verdict::{Accepted, Gone, SubjectToken, Verdict, Void};

/// A log message as a reader finds it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its sequence in the stream.
    pub sequence: Sequence,
    /// When the log stored it, by the log's clock.
    pub timestamp: Wall,
    /// The last token of its subject; none if it is not a valid token.
    pub token: Option<&'a SubjectToken>,
    /// Its header, or why the header can't be used.
    pub header: Result<&'a Header, &'a HeaderError>,
}

/// The name of the log that is folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogName {
    /// The set.
    pub set: SetName,
    /// The region whose log it is.
    pub region: RegionName,
    /// The shard.
    pub shard: Shard,
}

/// The fold of one log: pure state that advances one message at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    log: LogName,
    at: Anchor,
    lineage: Lineage,
    highest_stamp: Hlc,
    own_appended: Wall,
    membership: Option<Membership>,
    last_mark: Option<(Sequence, Hlc)>,
    recent: Recent,
    origins: BTreeMap<RegionName, Origin>,
    lost_before: bool,
    collected: Hlc,
    /// The runs of the agents that the newest mark names.
    agents: Vec<WriterId>,
    restoring: Option<Restoring>,
    syncing: Option<Box<Syncing>>,
}

/// Writes of a lost tail that may still be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Restoring {
    /// The admission floor at the fork.
    floor: Hlc,
    /// The runs of the agents that have not given back everything.
    agents: Vec<WriterId>,
    /// Nobody is waited for after this, by the log's clock.
    until: Wall,
}

/// What a fold knows about another region's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The log is accepted through here.
    pub cursor: Cursor,
    /// The lives of that log, from its newest accepted range.
    pub lineage: Lineage,
    /// That log's own highest stamp at the cursor.
    pub highest_stamp: Hlc,
    /// When that log stored its newest own record at the cursor, by its own clock.
    pub appended: Wall,
    /// That log's own admission floor at the cursor: it accepts nothing at or below it after that.
    pub admission_floor: Hlc,
    /// The position through which nothing is missing: the cursor, unless a gap was accepted. None
    /// if the first range was a gap.
    pub whole: Option<Cursor>,
}

impl Origin {
    /// Whether a gap was accepted: changes are missing until a sync brings them.
    #[must_use]
    pub fn needs_sync(&self) -> bool {
        self.whole != Some(self.cursor)
    }

    /// The position through which no change is missing. It is given in the log's newest life,
    /// unless the lineage no longer has its own life.
    #[must_use]
    pub fn whole_through(&self) -> Position {
        let nothing = Position {
            life: self.cursor.position.life,
            sequence: Sequence::NONE,
        };
        let whole = self.whole.map_or(nothing, |cursor| cursor.position);
        let shared = self.lineage.shared_through(whole).zip(self.lineage.current());
        shared.map_or(whole, |(sequence, life)| Position { life, sequence })
    }
}

impl Fold {
    /// The fold of an empty log.
    #[must_use]
    pub fn new(log: LogName) -> Self {
        Self {
            log,
            at: Anchor::default(),
            lineage: Lineage::default(),
            highest_stamp: Hlc::ZERO,
            own_appended: Wall::default(),
            membership: None,
            last_mark: None,
            recent: Recent::default(),
            origins: BTreeMap::new(),
            lost_before: false,
            collected: Hlc::ZERO,
            agents: Vec::new(),
            restoring: None,
            syncing: None,
        }
    }

    /// The log that is folded.
    #[must_use]
    pub fn log(&self) -> &LogName {
        &self.log
    }

    /// The last message folded.
    #[must_use]
    pub fn at(&self) -> Anchor {
        self.at
    }

    /// The position folded through; none before the log's first life.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.lineage.current().map(|life| Position {
            life,
            sequence: self.at.sequence,
        })
    }

    /// The lives of this log.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The greatest stamp accepted from this region.
    #[must_use]
    pub fn highest_stamp(&self) -> Hlc {
        self.highest_stamp
    }

    /// When the log stored the newest accepted record that carried an own stamp, by the log's
    /// clock.
    #[must_use]
    pub fn own_appended(&self) -> Wall {
        self.own_appended
    }

    /// Whether the log was recreated and only other regions have what it held before: reads here
    /// would miss that data. Syncs with every other member end this, or a later life that forks at
    /// the log's beginning, because its agents hold the earlier data and give it back.
    #[must_use]
    pub fn lost_before(&self) -> bool {
        self.lost_before
    }

    /// The newest membership record.
    #[must_use]
    pub fn membership(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }

    /// What is known about `region`'s log; none before its first range.
    #[must_use]
    pub fn origin(&self, region: &RegionName) -> Option<&Origin> {
        self.origins.get(region)
    }

    /// All other regions' logs, ordered by name.
    pub fn origins(&self) -> impl Iterator<Item = (&RegionName, &Origin)> {
        self.origins.iter()
    }

    /// The stamp at or below which no local batch is accepted.
    #[must_use]
    pub fn admission_floor(&self) -> Hlc {
        self.highest_stamp
            .back(self.clock().max_behind)
            .max(self.recent.forgotten())
    }

    /// The stamp at or below which this log accepts no more changes of its own region: the
    /// admission floor, or that at the fork while agents may still give back what a lost tail held.
    #[must_use]
    pub fn own_floor(&self) -> Hlc {
        let restoring = self.restoring.as_ref().map(|restoring| restoring.floor);
        let floor = self.admission_floor();
        restoring.map_or(floor, |at_fork| at_fork.min(floor))
    }

    /// The stamp at or below which this log can accept no more changes, whatever region they come
    /// from: the least of the admission floors of all members, as of their cursors here
    /// (docs/decisions/0023-floors.md). Zero while a member's is not known. A fenced region holds
    /// no floor.
    #[must_use]
    pub fn floor(&self) -> Hlc {
        let floors = self.floors().map(|(_, floor)| floor);
        floors.min().unwrap_or(Hlc::ZERO)
    }

    /// The admission floor of each member that is not fenced, as of its cursor here.
    pub fn floors(&self) -> impl Iterator<Item = (&RegionName, Hlc)> {
        let membership = self.membership.iter();
        let members = membership.flat_map(|membership| {
            let members = membership.members.iter();
            members.filter(|member| !membership.fenced.contains(member))
        });
        members.map(|member| {
            let floor = match self.origins.get(member) {
                Some(origin) if planted::is(Planted::CollectedByCursors) => origin.highest_stamp,
                _ if *member == self.log.region && self.lost_before => Hlc::ZERO,
                _ if *member == self.log.region => self.own_floor(),
                Some(origin) if !origin.needs_sync() => origin.admission_floor,
                _ => Hlc::ZERO,
            };
            (member, floor)
        })
    }

    /// The stamp through which tombstones are collected: [`Fold::floor`] at the newest mark that
    /// was accepted. It never goes back, unless the fold does.
    #[must_use]
    pub fn collected(&self) -> Hlc {
        self.collected
    }

    fn clock(&self) -> crate::header::ClockLimits {
        self.membership
            .as_ref()
            .map_or_else(Default::default, |membership| membership.clock)
    }

    /// Judges the next message and moves past it, unless the verdict is [`Verdict::Stop`].
    ///
    /// # Errors
    /// [`Gone`] if `message.sequence` is not the one after [`Fold::at`]. The state is then
    /// unchanged.
    pub fn apply(&mut self, message: Message<'_>) -> Result<Verdict, Gone> {
        let expected = self.at.sequence.next();
        if message.sequence != expected {
            return Err(Gone {
                expected,
                found: message.sequence,
            });
        }
        let header = match message.header {
            Ok(header) => header,
            Err(HeaderError::Unknown { what, number }) => {
                return Ok(Verdict::Stop {
                    what,
                    number: *number,
                });
            }
            Err(HeaderError::Malformed(_)) => {
                return Ok(self.pass(message.sequence, MessageId(0), Void::Malformed));
            }
        };
        let judged = self.judge(header, &message);
        self.at = Anchor {
            sequence: message.sequence,
            message_id: header.message_id(),
        };
        Ok(match judged {
            Ok(accepted) => Verdict::Accepted(accepted),
            Err(void) => Verdict::Void(void),
        })
    }

    fn pass(&mut self, sequence: Sequence, message_id: MessageId, void: Void) -> Verdict {
        self.at = Anchor { sequence, message_id };
        Verdict::Void(void)
    }

    fn judge(&mut self, header: &Header, message: &Message<'_>) -> Result<Accepted, Void> {
        if header.set != self.log.set || header.shard != self.log.shard {
            return Err(Void::Foreign);
        }
        self.check_token(&header.record, message.token)?;
        if let Record::Life(record) = &header.record {
            return self.life(record, message.timestamp);
        }
        let life = self.lineage.current().ok_or(Void::NoLife)?;
        match &header.record {
            Record::Batch(local) => self
                .local(local, message.timestamp)
                .map(|()| Accepted::Batch(*local)),
            Record::Restored { local, ended } => self.restored(local, *ended, message.timestamp),
            Record::Range(range) => self.range(range, header, false),
            Record::Gap(range) => self.range(range, header, true),
            Record::Mark(mark) => self.mark(mark, life, message.timestamp),
            Record::Barrier(barrier) => self.barrier(barrier, message.timestamp),
            Record::Membership {
                message_id,
                membership,
            } => self.new_membership(*message_id, membership),
            Record::Sync(sync) => self.sync(sync, message.timestamp),
            Record::Life(_) => Err(Void::LifeNotCurrent),
        }
    }

    /// A kind is accepted only under its own token.
    fn check_token(&self, record: &Record, token: Option<&SubjectToken>) -> Result<(), Void> {
        let right = match (record, token) {
            (Record::Batch(_), Some(SubjectToken::Origin(region))) => *region == self.log.region,
            (Record::Range(range), Some(SubjectToken::Origin(region))) => {
                range.origin == *region && *region != self.log.region
            }
            (Record::Gap(range), Some(SubjectToken::Gateway)) => range.origin != self.log.region,
            (Record::Batch(_) | Record::Range(_) | Record::Gap(_), _) => false,
            (_, token) => token == Some(&SubjectToken::Agent),
        };
        if right { Ok(()) } else { Err(Void::WrongToken) }
    }

    fn life(&mut self, record: &LifeRecord, timestamp: Wall) -> Result<Accepted, Void> {
        if !self.lineage.begin(record.link) {
            return Err(Void::LifeNotCurrent);
        }
        if record.link.parent.is_some() {
            self.restoring = Some(Restoring {
                floor: self.own_floor(),
                agents: self.agents.clone(),
                until: timestamp.after(limits::RESTORE_HOLDS_FLOOR),
            });
        }
        self.syncing = None;
        self.lost_before = record.lost_before || self.lost_before && record.link.fork != Sequence::NONE;
        Ok(Accepted::Life(record.link))
    }

    /// The rule for a local batch, which barriers and marks share.
    fn local(&mut self, local: &Local, timestamp: Wall) -> Result<(), Void> {
        let mut floor = self.admission_floor();
        if planted::is(Planted::MaxBehind) {
            floor = Hlc::ZERO;
        }
        if !self.recent.insert(local.lowest_stamp, local.message_id, floor) {
            return Err(if local.lowest_stamp <= floor {
                Void::TooLate
            } else {
                Void::Repeated
            });
        }
        let ahead = Hlc::at(timestamp.after(self.clock().max_ahead));
        if local.highest_stamp.millis() > ahead.millis() {
            return Err(Void::ClockAhead);
        }
        self.advance(local.highest_stamp, timestamp);
        Ok(())
    }

    fn advance(&mut self, stamp: Hlc, timestamp: Wall) {
        self.highest_stamp = self.highest_stamp.max(stamp);
        self.own_appended = timestamp;
        self.recent
            .forget_through(self.highest_stamp.back(self.clock().max_behind));
    }

    /// Writes that are given back after a lost tail. They are exempt from `max_behind`, because
    /// their stamps are as old as the tail.
    fn restored(&mut self, local: &Local, ended: bool, timestamp: Wall) -> Result<Accepted, Void> {
        if self.recent.holds(local.lowest_stamp, local.message_id) {
            return Err(Void::Repeated);
        }
        let ahead = Hlc::at(timestamp.after(self.clock().max_ahead));
        if local.highest_stamp.millis() > ahead.millis() {
            return Err(Void::ClockAhead);
        }
        self.recent.note(local.lowest_stamp, local.message_id);
        self.advance(local.highest_stamp, timestamp);
        if let Some(restoring) = self.restoring.as_mut().filter(|_| ended) {
            restoring.agents.retain(|agent| *agent != local.writer);
        }
        Ok(Accepted::Restored { local: *local, ended })
    }

    fn barrier(&mut self, barrier: &Barrier, timestamp: Wall) -> Result<Accepted, Void> {
        let Barrier {
            message_id,
            writer,
            hlc,
        } = *barrier;
        self.local(
            &Local {
                message_id,
                writer,
                lowest_stamp: hlc,
                highest_stamp: hlc,
            },
            timestamp,
        )?;
        Ok(Accepted::Barrier(*barrier))
    }

    fn mark(&mut self, mark: &MarkRecord, life: Life, timestamp: Wall) -> Result<Accepted, Void> {
        if mark.life != life {
            return Err(Void::LifeNotCurrent);
        }
        let newer = |(described, hlc)| mark.described.sequence > described && mark.hlc > hlc;
        if mark.described.sequence > self.at.sequence || !self.last_mark.is_none_or(newer) {
            return Err(Void::StaleMark);
        }
        let MarkRecord {
            message_id,
            writer,
            hlc,
            ..
        } = *mark;
        self.local(
            &Local {
                message_id,
                writer,
                lowest_stamp: hlc,
                highest_stamp: hlc,
            },
            timestamp,
        )?;
        self.agents.clone_from(&mark.agents);
        let waits = |restoring: &mut Restoring| !restoring.agents.is_empty() && timestamp < restoring.until;
        self.restoring = self.restoring.take_if(waits);
        self.last_mark = Some((mark.described.sequence, mark.hlc));
        self.collected = self.collected.max(self.floor());
        Ok(Accepted::Mark(mark.clone()))
    }

    fn new_membership(&mut self, message_id: MessageId, membership: &Membership) -> Result<Accepted, Void> {
        if self
            .membership
            .as_ref()
            .is_some_and(|held| membership.number <= held.number)
        {
            return Err(Void::MembershipNotNewer);
        }
        // Peers may have collected up to the floor that ranges stated: it never goes back.
        self.recent.raise_floor(self.admission_floor());
        self.membership = Some(membership.clone());
        Ok(Accepted::Membership {
            message_id,
            number: membership.number,
        })
    }

    /// A range is accepted if and only if it is the next one.
    fn range(&mut self, range: &Range, header: &Header, gap: bool) -> Result<Accepted, Void> {
        let mut cursor = range.end().ok_or(Void::Malformed)?;
        if planted::is(Planted::CursorPlusOne) {
            cursor.position.sequence = cursor.position.sequence.next();
        }
        let held = self.origins.get(&range.origin);
        match range.standing(held.map(|origin| origin.cursor)) {
            Standing::Next => {}
            _ if planted::is(Planted::RangeRule) => {}
            Standing::Covered { next } | Standing::Elsewhere { next } => return Err(Void::NotNext { next }),
            Standing::OtherHistory => return Err(Void::OtherHistory),
            Standing::OlderLife => return Err(Void::OlderLife),
            Standing::UnknownLineage => return Err(Void::UnknownLineage),
        }
        if let Some(syncing) = self.syncing.as_mut().filter(|_| gap) {
            syncing.heals.retain(|region| *region != range.origin);
        }
        let whole = match held {
            Some(held) if held.needs_sync() => held.whole,
            held if gap => held.map(|held| held.cursor),
            _ => Some(cursor),
        };
        let highest_stamp = held.map_or(range.highest_stamp, |origin| {
            origin.highest_stamp.max(range.highest_stamp)
        });
        let admission_floor = held.map_or(range.admission_floor, |origin| {
            origin.admission_floor.max(range.admission_floor)
        });
        let appended = Wall::from_micros(header.stages.appended);
        self.origins.insert(
            range.origin.clone(),
            Origin {
                cursor,
                lineage: range.lineage.clone(),
                highest_stamp,
                admission_floor,
                appended,
                whole,
            },
        );
        Ok(Accepted::Range {
            origin: range.origin.clone(),
            cursor,
            gap,
        })
    }
}
