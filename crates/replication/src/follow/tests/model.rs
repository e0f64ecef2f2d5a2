//! A region in memory: one log that loses tails, two agents that follow it, and a peer that
//! remembers what the log held.

use std::collections::BTreeMap;

use super::samples::{doubt, log};
use super::*;
use crate::body;
use crate::cell::{CellId, ContentType, Field};
use crate::change::{Change, Op};
use crate::coordinates::Cursor;
use crate::fold::{MarkBody, Message, SubjectToken};
use crate::header::{BodySeal, Header, Lineage, Local, MarkRecord, Record, StageTimes};
use crate::hlc::Clock;
use crate::names::{BucketName, Key};
use crate::seen::Seen;
use crate::time::Wall;
use crate::version::Version;

/// The number of rounds, of a quarter of a second each, in which a region must settle.
const ROUNDS: usize = 400;

#[derive(Debug, Clone)]
struct Stored {
    token: SubjectToken,
    header: Header,
    body: Bytes,
    at: Wall,
}

impl Stored {
    fn apply_to(&self, store: &mut Store, log: &LogName, verdict: &Verdict, wall: Wall) {
        if let Verdict::Accepted(Accepted::Batch(_) | Accepted::Restored { .. }) = verdict {
            for change in body::decode(&log.region, self.body.clone()).unwrap() {
                store.apply(change, wall);
            }
        }
    }
}

/// A log: the stored messages, and how many of them were trimmed.
#[derive(Debug, Default)]
pub(super) struct Log {
    messages: Vec<Stored>,
    trimmed: usize,
}

impl Log {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn trim(&mut self, through: usize) {
        self.trimmed = through;
    }

    fn at(&self, sequence: Sequence) -> Option<&Stored> {
        let at = (sequence.0 as usize).checked_sub(1)?;
        self.messages.get(at).filter(|_| at >= self.trimmed)
    }

    fn id(&self, sequence: Sequence) -> Option<MessageId> {
        self.at(sequence).map(|stored| stored.header.message_id())
    }

    fn answer(&self, log: &LogName, question: Question) -> LogAnswer {
        match question {
            Question::End => LogAnswer::End(Sequence(self.len() as u64)),
            Question::At(at) => LogAnswer::Stored(match self.id(at) {
                Some(id) => StoredAt::Message(id),
                None if at.0 <= self.trimmed as u64 => StoredAt::Trimmed,
                None => StoredAt::Nothing,
            }),
            Question::MarkThrough(through) => {
                let marks = self.messages.iter().skip(self.trimmed).rev();
                let state = marks.filter_map(|stored| match &stored.header.record {
                    Record::Mark(mark) if mark.described.sequence <= through => {
                        let as_described = mark.described == Anchor::default()
                            || self.id(mark.described.sequence) == Some(mark.described.message_id);
                        let body = MarkBody::decode(log.clone(), &stored.body).unwrap();
                        as_described.then(|| Box::new(body.fold))
                    }
                    _ => None,
                });
                LogAnswer::Mark {
                    state: state.max_by_key(|fold| fold.at().sequence),
                    first: Sequence(self.trimmed as u64 + 1),
                }
            }
        }
    }
}

/// What an agent has on its disk.
#[derive(Debug, Clone)]
struct Checkpoint {
    fold: Fold,
    cells: Vec<Change>,
    known_positions: Vec<Anchor>,
    serve_from: Anchor,
}

/// An agent: the state that the shell of the machine holds.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) fold: Fold,
    pub(super) store: Store,
    pub(super) follow: Follow,
    pub(super) events: Vec<Event>,
    writer: WriterId,
    clock: Clock,
    reads: bool,
    /// The messages of the log that it has read.
    read: BTreeMap<Sequence, MessageId>,
    /// Its last message was in the log again, as a repeated copy, but the messages before it were
    /// not (docs/known-gaps.md).
    is_deceived: bool,
    /// The question that the log is asked.
    asked: Option<LogQuery>,
    /// The last position that was applied since the last checkpoint began.
    reach: Anchor,
    /// The fold and the known positions of a checkpoint that is being written.
    begun: Option<(Fold, Vec<Anchor>)>,
    checkpoint: Checkpoint,
    /// It checks whether its last message is still there before it continues, because it is a new
    /// reader or was interrupted.
    looks: bool,
}

impl Agent {
    /// Starts with an empty disk.
    fn new(log: LogName, writer: u64, seed: u64) -> Self {
        let checkpoint = Checkpoint {
            fold: Fold::new(log),
            cells: Vec::new(),
            known_positions: Vec::new(),
            serve_from: Anchor::default(),
        };
        Self::start(checkpoint, writer, seed)
    }

    fn start(checkpoint: Checkpoint, writer: u64, seed: u64) -> Self {
        let (fold, writer) = (checkpoint.fold.clone(), WriterId(writer));
        let mut store = Store::default();
        for change in checkpoint.cells.iter().cloned() {
            store.apply(change, Wall::default());
        }
        let follow = Follow::new(Start {
            fold: &fold,
            known_positions: checkpoint.known_positions.clone(),
            serve_from: checkpoint.serve_from,
            writer,
            seed: u128::from(seed) << 64 | u128::from(writer.0),
        });
        Self {
            store,
            follow,
            events: Vec::new(),
            writer,
            clock: Clock::default(),
            reads: false,
            read: BTreeMap::new(),
            is_deceived: false,
            asked: None,
            reach: fold.at(),
            fold,
            begun: None,
            checkpoint,
            looks: true,
        }
    }

    /// Begins a checkpoint, if it could be continued from.
    fn begin_checkpoint(&mut self) {
        if self.follow.is_consistent(self.fold.at()) {
            self.reach = self.fold.at();
            self.begun = Some((self.fold.clone(), self.follow.known_positions()));
        }
    }

    /// Commits the checkpoint with the cells as they are now.
    fn commit_checkpoint(&mut self) {
        if let Some((fold, known_positions)) = self.begun.take() {
            let region = fold.log().region.clone();
            self.checkpoint = Checkpoint {
                cells: self.store.stamped_above(&region, Hlc::ZERO).collect(),
                known_positions,
                serve_from: self.reach,
                fold,
            };
        }
    }

    fn take_steps(&mut self) {
        while let Some(step) = self.follow.poll_step() {
            match step {
                Step::CloseReader => self.reads = false,
                Step::Rewind { fold, through } => {
                    assert!(fold.at().sequence <= through);
                    self.read.split_off(&fold.at().sequence.next());
                    self.fold = *fold;
                    self.begun = None;
                }
                Step::OpenReader => (self.reads, self.looks) = (true, true),
                Step::Emit(event) => self.events.push(event),
                Step::ForgetDigests => {}
            }
        }
    }

    fn drive(&mut self, now: Mono, wall: Wall, log: &mut Log) {
        self.take_steps();
        if let Some(query) = self.asked.take() {
            let answer = log.answer(self.fold.log(), query.question);
            self.follow.handle_answer(now, &self.fold, query.number, answer);
            self.take_steps();
        }
        self.follow.handle_timeout(now, &self.fold, &self.store);
        self.take_steps();
        if let Some(query) = self.follow.poll_query(now) {
            self.asked = Some(query);
        }
        while let Some(own) = self.follow.poll_record(now) {
            self.append(log, wall, SubjectToken::Agent, own.record, own.body, own.changes);
        }
        if matches!(self.follow.phase(), Phase::Serving | Phase::LostBefore) {
            assert!(self.fold.at().sequence >= self.follow.reading.serve_from.sequence);
        }
    }

    fn append(
        &self,
        log: &mut Log,
        at: Wall,
        token: SubjectToken,
        record: Record,
        body: Bytes,
        changes: u32,
    ) {
        let name = self.fold.log();
        let header = Header {
            set: name.set.clone(),
            shard: name.shard.clone(),
            record,
            body: BodySeal::of(&body, changes),
            stages: StageTimes::default(),
        };
        log.messages.push(Stored {
            token,
            header,
            body,
            at,
        });
    }

    /// Reads up to `messages` messages.
    fn read(&mut self, now: Mono, wall: Wall, log: &Log, messages: usize) {
        self.take_steps();
        let looks = std::mem::take(&mut self.looks) && self.reads;
        let anchor = self.fold.at();
        let found = log.id(anchor.sequence);
        let is_lost = |(at, id): (&Sequence, &MessageId)| log.id(*at) != Some(*id);
        if looks && found == Some(anchor.message_id) {
            self.is_deceived |= self.read.iter().any(is_lost);
        } else if looks && anchor != Anchor::default() {
            let suspicion = LifeSuspected {
                anchor,
                found,
                last: Sequence(log.len() as u64),
            };
            self.follow
                .handle_reader_end(now, &self.fold, ReaderEnd::Suspected(suspicion));
            return self.take_steps();
        }
        for _ in 0..messages {
            let next = self.fold.at().sequence.next();
            if !self.reads {
                return;
            }
            if next.0 <= log.trimmed as u64 {
                let gone = ReaderEnd::Gone("trimmed".to_owned());
                self.follow.handle_reader_end(now, &self.fold, gone);
                return self.take_steps();
            }
            let Some(stored) = log.at(next) else { return };
            self.apply(now, wall, next, stored);
            self.take_steps();
        }
    }

    fn apply(&mut self, now: Mono, wall: Wall, sequence: Sequence, stored: &Stored) {
        let message = Message {
            sequence,
            timestamp: stored.at,
            token: Some(&stored.token),
            header: Ok(&stored.header),
        };
        let verdict = self.fold.apply(message).unwrap();
        self.read.insert(sequence, stored.header.message_id());
        if self.follow.handle_folded(self.fold.at()).is_err() {
            return self.follow.handle_differing_checkpoint(now, &self.fold);
        }
        if self.fold.at().sequence > self.reach.sequence {
            self.reach = self.fold.at();
        }
        stored.apply_to(&mut self.store, self.fold.log(), &verdict, wall);
        let id = stored.header.message_id();
        self.follow.handle_message(now, &self.fold, id, &verdict);
    }
}

#[derive(Debug)]
pub(super) struct Region {
    pub(super) log: Log,
    pub(super) agents: [Agent; 2],
    now: Mono,
    wall: Wall,
    ids: MessageIds,
    /// The cursors of a peer, oldest first, and the lives that it knew at the last one.
    forwarded: Vec<Cursor>,
    lineage: Lineage,
    seed: u64,
}

impl Region {
    pub(super) fn new(seed: u64) -> Self {
        let agent = |writer| Agent::new(log("eu-west"), writer, seed);
        Self {
            log: Log::default(),
            agents: [agent(1), agent(2)],
            now: Mono::default(),
            wall: Wall::from_millis(1_700_000_000_000),
            ids: MessageIds::new(u128::from(seed) << 64 | 9),
            forwarded: Vec::new(),
            lineage: Lineage::default(),
            seed,
        }
    }

    fn pass(&mut self, millis: u64) {
        let duration = Duration::from_millis(millis);
        self.now = self.now.after(duration);
        self.wall = self.wall.after(duration);
    }

    pub(super) fn happens(&mut self, happens: &Happens) {
        // The stamps of one writer differ, because its clock moves on.
        self.pass(1);
        let (now, wall) = (self.now, self.wall);
        match *happens {
            Happens::Write { agent, key } => self.write(agent, key),
            Happens::Read { agent, messages } => self.agents[agent].read(now, wall, &self.log, messages),
            Happens::Drive { agent } => self.agents[agent].drive(now, wall, &mut self.log),
            Happens::Mark { agent } => self.mark(agent),
            Happens::Forward { agent } => self.forward_as_read_by(agent),
            Happens::Lose { stays } => self.lose(self.log.len() * stays / 100),
            Happens::Doubt { agent } => self.doubt(agent),
            Happens::Checkpoint {
                agent,
                commits: false,
            } => self.agents[agent].begin_checkpoint(),
            Happens::Checkpoint { agent, commits: true } => self.agents[agent].commit_checkpoint(),
            Happens::Restart { agent } => self.restart(agent),
            Happens::Contradict { agent } => {
                let agent = &mut self.agents[agent];
                agent.follow.handle_contradiction(now, &agent.fold);
                agent.take_steps();
            }
            Happens::FailToRead { agent } => {
                let agent = &mut self.agents[agent];
                if agent.reads {
                    let end = ReaderEnd::Unreadable("no answer".to_owned());
                    agent.follow.handle_reader_end(now, &agent.fold, end);
                    agent.take_steps();
                }
            }
            Happens::Pass { millis } => self.pass(millis),
        }
    }

    /// The log ends after `stays` messages; every reader is interrupted.
    pub(super) fn lose(&mut self, stays: usize) {
        self.log.messages.truncate(stays);
        for agent in &mut self.agents {
            agent.looks = true;
        }
    }

    fn write(&mut self, agent: usize, key: u8) {
        let message_id = self.ids.next_id();
        let agent = &mut self.agents[agent];
        if *agent.follow.phase() != Phase::Serving {
            return;
        }
        agent.clock.observe(agent.fold.highest_stamp());
        let hlc = agent.clock.stamp(self.wall);
        let region = agent.fold.log().region.clone();
        let change = Change {
            id: CellId {
                bucket: BucketName::parse("carts").unwrap(),
                key: Key::parse(&format!("k{key}")).unwrap(),
                field: Field::new(Bytes::new()).unwrap(),
            },
            version: Version {
                hlc,
                region: region.clone(),
                writer: agent.writer,
            },
            seen: Seen::default(),
            expires_at: None,
            op: Op::Put {
                value: Bytes::copy_from_slice(&message_id.0.to_be_bytes()),
                content_type: ContentType::default(),
            },
            trace: None,
        };
        let record = Record::Batch(Local {
            message_id,
            writer: agent.writer,
            lowest_stamp: hlc,
            highest_stamp: hlc,
        });
        let body = body::encode(&region, &[change]);
        let token = SubjectToken::Origin(region);
        agent.append(&mut self.log, self.wall, token, record, body, 1);
    }

    fn mark(&mut self, agent: usize) {
        let message_id = self.ids.next_id();
        let agent = &mut self.agents[agent];
        let position = agent.fold.position();
        let Some(position) = position.filter(|_| *agent.follow.phase() == Phase::Serving) else {
            return;
        };
        agent.clock.observe(agent.fold.highest_stamp());
        let record = Record::Mark(MarkRecord {
            message_id,
            life: position.life,
            writer: agent.writer,
            hlc: agent.clock.stamp(self.wall),
            described: agent.fold.at(),
            agents: Vec::new(),
        });
        let body = MarkBody {
            wall: self.wall,
            fold: agent.fold.clone(),
            digest: agent.store.digest(),
            cells: agent.store.cells(),
        };
        agent.append(
            &mut self.log,
            self.wall,
            SubjectToken::Agent,
            record,
            body.encode(),
            0,
        );
    }

    /// A peer has the log as far as this agent has read it, and knows its lives.
    pub(super) fn forward_as_read_by(&mut self, agent: usize) {
        let fold = &self.agents[agent].fold;
        let Some(position) = fold.position() else { return };
        self.lineage = fold.lineage().clone();
        self.forwarded.push(Cursor {
            position,
            message_id: fold.at().message_id,
        });
    }

    /// A peer doubts if the log no longer has the message at the peer's last cursor.
    fn doubt(&mut self, agent: usize) {
        let Some((cursor, landmarks)) = self.forwarded.split_last() else {
            return;
        };
        let found = self.log.id(cursor.position.sequence);
        if found == Some(cursor.message_id) {
            return;
        }
        let landmarks: Vec<Cursor> = landmarks.iter().rev().copied().collect();
        let agent = &mut self.agents[agent];
        if matches!(agent.follow.phase(), Phase::Serving | Phase::LostBefore) {
            let doubt = doubt(&agent.fold, *cursor, landmarks, self.lineage.clone());
            agent.follow.handle_doubt(self.now, &agent.fold, doubt);
            agent.take_steps();
        }
    }

    /// Crashes and starts again with its last checkpoint.
    fn restart(&mut self, agent: usize) {
        self.seed += 1;
        let agent = &mut self.agents[agent];
        *agent = Agent::start(agent.checkpoint.clone(), agent.writer.0 + 2, self.seed);
    }

    /// Nothing more is lost and everything is read: both agents serve one state, which is the
    /// log's, and it lacks nothing that a store held.
    pub(super) fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            let before = self.log.len();
            self.round();
            let at_end = |agent: &Agent| agent.fold.at().sequence.0 == self.log.len() as u64;
            let serves = |agent: &Agent| matches!(agent.follow.phase(), Phase::Serving | Phase::LostBefore);
            let done =
                |agent: &Agent| at_end(agent) && serves(agent) && agent.follow.is_consistent(agent.fold.at());
            let all = self.agents.iter().all(done) && before == self.log.len();
            quiet = if all { quiet + 1 } else { 0 };
            if self.agents.iter().any(|agent| agent.is_deceived) {
                return;
            }
            if quiet == 12 {
                return self.check();
            }
        }
        let states = self.agents.iter().map(|agent| {
            let follow = &agent.follow;
            (
                agent.fold.at(),
                follow.phase(),
                &follow.reading,
                &follow.lives.pending,
            )
        });
        let states: Vec<_> = states.collect();
        panic!("not settled at {}: {states:?}", self.log.len());
    }

    /// A quarter of a second in which both agents read everything and do what is due.
    fn round(&mut self) {
        self.pass(250);
        for agent in &mut self.agents {
            agent.read(self.now, self.wall, &self.log, 1000);
            agent.drive(self.now, self.wall, &mut self.log);
        }
    }

    fn check(&self) {
        let name = self.agents[0].fold.log().clone();
        let mut fresh = Agent::new(name, 99, 99);
        for (at, stored) in self.log.messages.iter().enumerate() {
            let sequence = Sequence(at as u64 + 1);
            let message = Message {
                sequence,
                timestamp: stored.at,
                token: Some(&stored.token),
                header: Ok(&stored.header),
            };
            let verdict = fresh.fold.apply(message).unwrap();
            stored.apply_to(&mut fresh.store, fresh.fold.log(), &verdict, self.wall);
        }
        for agent in &self.agents {
            // A repeated copy of a lost message can be at its old sequence, with a later timestamp.
            let state = |fold: &Fold| {
                let lineage = fold.lineage().clone();
                (
                    fold.at(),
                    lineage,
                    fold.highest_stamp(),
                    fold.admission_floor(),
                    fold.lost_before(),
                )
            };
            assert_eq!(state(&agent.fold), state(&fresh.fold));
            assert_eq!(
                (agent.store.digest(), agent.store.cells()),
                (fresh.store.digest(), fresh.store.cells()),
                "an agent holds what the log does not, or the other way round"
            );
        }
    }
}
