//! A region of the model: a log that may lose its tail, and one agent that writes, reads and
//! restores.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use isthmus_replication::body;
use isthmus_replication::cell::{Cell, CellId, Content, ContentType, Field};
use isthmus_replication::change::{Change, Op};
use isthmus_replication::coordinates::{Anchor, Cursor, Life, MessageId, Sequence, Shard, WriterId};
use isthmus_replication::fold::{Accepted, Fold, LogName, Message, SubjectToken, Verdict};
use isthmus_replication::header::{
    BodySeal, Header, LifeLink, LifeRecord, Local, MarkRecord, Record, StageTimes,
};
use isthmus_replication::hlc::Clock;
use isthmus_replication::names::{BucketName, GroupName, Key, RegionName, SetName};
use isthmus_replication::seen::Seen;
use isthmus_replication::store::Store;
use isthmus_replication::time::Wall;
use isthmus_replication::version::Version;

/// A rule of the model that a test may break, to show that the properties notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// The agent applies void messages.
    VoidIsApplied,
    /// The agent answers each range with an own stamp.
    RangesAreAnswered,
    /// The agent begins no life when the log has lost its tail.
    LostTailIsIgnored,
    /// The agent begins no life when only a peer has the lost tail.
    IgnoresDoubt,
}

#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub at: Wall,
    pub token: SubjectToken,
    pub header: Bytes,
    pub body: Bytes,
}

impl Stored {
    pub(crate) fn header(&self) -> Header {
        Header::decode(&self.header).expect("only sound headers are appended")
    }
}

pub(crate) struct Region {
    pub name: LogName,
    pub log: Vec<Stored>,
    pub applied: BTreeMap<u64, u32>,
    pub own: BTreeSet<u64>,
    pub store: Store,
    /// Accepted writes of this region to keys that are written repeatedly.
    pub hot: BTreeSet<(CellId, Version)>,
    ahead_ms: u64,
    clock: Clock,
    agent: Fold,
    lives: u64,
    ids: u64,
    lost_after: Option<usize>,
    /// The log lost a tail that the agent had not read.
    unnoticed: bool,
    broken: Broken,
}

impl Region {
    pub(crate) fn new(at: usize, ahead_ms: u64, now_ms: u64, broken: Broken) -> Self {
        let name = LogName {
            set: SetName::parse("shop").expect("a valid name"),
            region: RegionName::parse(["ap-south", "eu-west", "us-east"][at]).expect("a valid name"),
            shard: Shard {
                group: GroupName::parse("default").expect("a valid name"),
                partition: 0,
            },
        };
        let mut region = Self {
            agent: Fold::new(name.clone()),
            name,
            log: vec![],
            applied: BTreeMap::new(),
            own: BTreeSet::new(),
            store: Store::default(),
            hot: BTreeSet::new(),
            ahead_ms,
            clock: Clock::default(),
            lives: 0,
            ids: (at as u64 + 1) << 32,
            lost_after: None,
            unnoticed: false,
            broken,
        };
        region.begin_life(now_ms, None, Sequence::NONE);
        region
    }

    /// The region's own time.
    pub(crate) fn wall(&self, now_ms: u64) -> Wall {
        Wall::from_millis(1_000_000 + now_ms + self.ahead_ms)
    }

    fn id(&mut self) -> MessageId {
        self.ids += 1;
        MessageId(self.ids)
    }

    pub(crate) fn append(&mut self, now_ms: u64, token: SubjectToken, header: Bytes, body: Bytes) {
        self.log.push(Stored {
            at: self.wall(now_ms),
            token,
            header,
            body,
        });
    }

    fn append_record(&mut self, now_ms: u64, record: Record, body: Bytes, changes: u32) {
        let token = match &record {
            Record::Batch(_) => SubjectToken::Origin(self.name.region.clone()),
            _ => SubjectToken::Agent,
        };
        let header = Header {
            set: self.name.set.clone(),
            shard: self.name.shard.clone(),
            record,
            body: BodySeal::of(&body, changes),
            stages: StageTimes::default(),
        };
        self.append(now_ms, token, header.encode(), body);
    }

    fn begin_life(&mut self, now_ms: u64, parent: Option<Life>, fork: Sequence) {
        self.lives += 1;
        let life = Life {
            number: self.lives,
            nonce: self.ids,
        };
        let message_id = self.id();
        let record = LifeRecord {
            message_id,
            link: LifeLink { life, parent, fork },
            lost_before: false,
        };
        self.append_record(now_ms, Record::Life(record), Bytes::new(), 0);
    }

    fn local(&mut self, now_ms: u64) -> Local {
        let stamp = self.clock.stamp(self.wall(now_ms));
        Local {
            message_id: self.id(),
            writer: WriterId(1),
            lowest_stamp: stamp,
            highest_stamp: stamp,
        }
    }

    fn change(&self, local: Local, key: &str, value: Bytes) -> Change {
        let id = cell(key);
        let mut seen = Seen::default();
        if let Some(held) = self.store.held(&id) {
            seen.join(&held.cell.seen);
            seen.observe(&held.cell.version);
        }
        Change {
            id,
            version: Version {
                hlc: local.lowest_stamp,
                region: self.name.region.clone(),
                writer: local.writer,
            },
            seen,
            expires_at: None,
            op: Op::Put {
                value,
                content_type: ContentType::default(),
            },
            trace: None,
        }
    }

    fn body(&self, changes: &[Change]) -> Bytes {
        body::encode(&self.name.region, changes)
    }

    /// A write of an agent, identified by `write`; to its own key or to a hot one.
    pub(crate) fn write(&mut self, now_ms: u64, write: u64, hot: Option<usize>, bytes: usize) {
        let local = self.local(now_ms);
        let key = hot.map_or_else(|| write.to_string(), |hot| format!("hot {hot}"));
        let change = self.change(local, &key, vec![b'x'; bytes].into());
        let body = self.body(&[change]);
        self.append_record(now_ms, Record::Batch(local), body, 1);
    }

    /// The steward's mark.
    pub(crate) fn mark(&mut self, now_ms: u64) {
        let Some(position) = self.agent.position() else {
            return;
        };
        let local = self.local(now_ms);
        let mark = MarkRecord {
            message_id: local.message_id,
            life: position.life,
            writer: local.writer,
            hlc: local.highest_stamp,
            described: self.agent.at(),
            agents: Vec::new(),
        };
        self.append_record(now_ms, Record::Mark(mark), Bytes::new(), 0);
    }

    /// The log loses up to `messages` of its tail, but never a record that begins a life. A loss
    /// that the agent would notice does not follow an unread loss before a peer has doubted the log
    /// (docs/decisions/0010).
    pub(crate) fn lose_tail(&mut self, messages: usize, read: bool) {
        let is_life = |stored: &Stored| matches!(stored.header().record, Record::Life(_));
        let least = self.log.iter().rposition(is_life).map_or(0, |at| at + 1);
        let kept = self.log.len().saturating_sub(messages).max(least);
        if (!read || self.unnoticed) && self.lost_after.is_none() {
            let read = self.agent.at().sequence.0 as usize;
            self.unnoticed |= kept.max(read) < self.log.len();
            self.log.truncate(kept.max(read));
            return;
        }
        if kept < self.log.len() {
            if self.lost_after.is_none() {
                self.read_through(self.log.len());
            }
            self.log.truncate(kept);
            self.lost_after = Some(self.lost_after.map_or(kept, |lost| lost.min(kept)));
        }
    }

    /// The fold of the first `messages` of the log.
    pub(crate) fn fold(&self, messages: usize) -> Fold {
        let mut fold = Fold::new(self.name.clone());
        for at in 0..messages.min(self.log.len()) {
            self.read(&mut fold, at);
        }
        fold
    }

    /// Feeds message `at`, counted from 0, to a fold at that position.
    pub(crate) fn read(&self, fold: &mut Fold, at: usize) -> (Header, Verdict) {
        let stored = &self.log[at];
        let header = stored.header();
        let verdict = fold
            .apply(Message {
                sequence: Sequence(at as u64 + 1),
                timestamp: stored.at,
                token: Some(&stored.token),
                header: Ok(&header),
            })
            .expect("the next sequence was given");
        (header, verdict)
    }

    /// Whether the log still has the message that a reader read last.
    pub(crate) fn holds(&self, anchor: Anchor) -> bool {
        let at = anchor.sequence.0 as usize;
        at == 0
            || self
                .log
                .get(at - 1)
                .is_some_and(|stored| stored.header().message_id() == anchor.message_id)
    }

    /// The agent reads the log to its end. After a lost tail it first begins a life and gives back
    /// the missing writes. Returns whether there was anything to do.
    pub(crate) fn run_agent(&mut self, now_ms: u64) -> bool {
        let recovers = self.recover(now_ms);
        let from = self.agent.at().sequence.0 as usize;
        let ranges = self.read_through(self.log.len());
        if self.broken == Broken::RangesAreAnswered {
            (0..ranges).for_each(|_| self.mark(now_ms));
        }
        recovers || from < self.log.len()
    }

    /// The agent reads and applies the first `messages` of the log. Returns how many ranges it
    /// read.
    fn read_through(&mut self, messages: usize) -> usize {
        let mut ranges = 0;
        let mut agent = self.agent.clone();
        for at in agent.at().sequence.0 as usize..messages {
            let (header, verdict) = self.read(&mut agent, at);
            self.clock.observe(agent.highest_stamp());
            let counts = match &verdict {
                Verdict::Accepted(Accepted::Range { gap, .. }) => {
                    assert!(!gap, "no body of the model is undecodable");
                    ranges += 1;
                    true
                }
                Verdict::Accepted(accepted) => accepted.carries_own_changes(),
                _ => self.broken == Broken::VoidIsApplied,
            };
            if counts {
                self.apply(&header, at);
            }
        }
        self.agent = agent;
        ranges
    }

    fn apply(&mut self, header: &Header, at: usize) {
        let origin = match &header.record {
            Record::Range(range) => range.origin.clone(),
            Record::Batch(_) | Record::Restored { .. } => self.name.region.clone(),
            _ => return,
        };
        let own = origin == self.name.region;
        for change in self.changes(&origin, at) {
            match (named(&change), own) {
                (Some(write), _) => {
                    *self.applied.entry(write).or_default() += 1;
                    self.own.extend(own.then_some(write));
                }
                (None, true) => drop(self.hot.insert((change.id.clone(), change.version.clone()))),
                (None, false) => {}
            }
            self.store.apply(change, Wall::default());
        }
    }

    fn changes(&self, origin: &RegionName, at: usize) -> Vec<Change> {
        let stored = &self.log[at];
        body::open(stored.header().body.codec, origin, stored.body.clone())
            .expect("only sound bodies are appended")
    }

    /// A peer region has this log through `cursor`, and earlier had it through `landmarks`, newest
    /// first. If the log has another message at the cursor, a life begins after the newest landmark
    /// that the log still has.
    pub(crate) fn doubt(&mut self, now_ms: u64, cursor: Cursor, landmarks: impl Iterator<Item = Cursor>) {
        let anchor = |cursor: Cursor| Anchor {
            sequence: cursor.position.sequence,
            message_id: cursor.message_id,
        };
        let shared = self
            .fold(self.log.len())
            .lineage()
            .shared_through(cursor.position);
        let forked = shared.is_some_and(|shared| shared < cursor.position.sequence);
        if forked || self.holds(anchor(cursor)) || self.lost_after.is_some() {
            return;
        }
        if self.broken != Broken::IgnoresDoubt {
            self.unnoticed = false;
            let fork = landmarks.map(anchor).find(|landmark| self.holds(*landmark));
            self.lost_after = Some(fork.map_or(0, |fork| fork.sequence.0 as usize));
            self.run_agent(now_ms);
        }
    }

    /// Begins a life at the fork, and appends the agent's own writes that the log lacks.
    fn recover(&mut self, now_ms: u64) -> bool {
        let Some(fork) = self.lost_after.take() else {
            return false;
        };
        if self.broken == Broken::LostTailIsIgnored {
            self.agent = self.fold(self.log.len());
            return true;
        }
        self.agent = self.fold(fork);
        let parent = self.fold(self.log.len()).lineage().current();
        self.begin_life(now_ms, parent, Sequence(fork as u64));
        let held: BTreeSet<u64> = self.accepted_writes(true).into_keys().collect();
        let missing: Vec<u64> = self.own.difference(&held).copied().collect();
        for write in missing {
            let local = self.local(now_ms);
            let change = self.change(local, &write.to_string(), Bytes::from_static(b"x"));
            self.restore(now_ms, local, change);
        }
        for (id, cell) in self.hot_cells_that_the_log_lacks() {
            let local = self.local(now_ms);
            let Content::Value { bytes, .. } = cell.content else {
                panic!("the model deletes nothing")
            };
            let change = Change {
                version: cell.version,
                seen: cell.seen,
                id,
                ..self.change(local, "restored", bytes)
            };
            self.restore(now_ms, local, change);
        }
        true
    }

    fn restore(&mut self, now_ms: u64, local: Local, change: Change) {
        let record = Record::Restored { local, ended: false };
        let body = self.body(&[change]);
        self.append_record(now_ms, record, body, 1);
    }

    /// Hot cells whose write is of this region and no longer in the log.
    fn hot_cells_that_the_log_lacks(&self) -> Vec<(CellId, Cell)> {
        let kept: BTreeSet<_> = self
            .accepted(true)
            .into_iter()
            .map(|change| (change.id, change.version))
            .collect();
        let held = |(id, version): &(CellId, Version)| {
            let cell = &self.store.held(id)?.cell;
            let lacks = cell.version == *version && !kept.contains(&(id.clone(), version.clone()));
            lacks.then(|| (id.clone(), cell.clone()))
        };
        self.hot.iter().filter_map(held).collect()
    }

    /// How often each write is accepted in the current log; only own writes, or only other
    /// regions'.
    pub(crate) fn accepted_writes(&self, own: bool) -> BTreeMap<u64, u32> {
        let mut writes = BTreeMap::new();
        for write in self.accepted(own).iter().filter_map(named) {
            *writes.entry(write).or_default() += 1;
        }
        writes
    }

    fn accepted(&self, own: bool) -> Vec<Change> {
        let mut fold = Fold::new(self.name.clone());
        let mut changes = vec![];
        for at in 0..self.log.len() {
            let (header, verdict) = self.read(&mut fold, at);
            let origin = match (&verdict, &header.record) {
                (Verdict::Accepted(_), Record::Range(range)) => range.origin.clone(),
                (Verdict::Accepted(accepted), _) if accepted.carries_own_changes() => {
                    self.name.region.clone()
                }
                _ => continue,
            };
            if (origin == self.name.region) == own {
                changes.extend(self.changes(&origin, at));
            }
        }
        changes
    }
}

fn cell(key: &str) -> CellId {
    CellId {
        bucket: BucketName::parse("carts").expect("a valid name"),
        key: Key::parse(key).expect("a valid key"),
        field: Field::NONE,
    }
}

/// The number of a write to its own key; none for a hot key.
fn named(change: &Change) -> Option<u64> {
    change.id.key.as_str().parse().ok()
}
