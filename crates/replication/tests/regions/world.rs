//! The model: regions with two gateways each, all linked to each other, and the faults between
//! them.

use isthmus_replication::fold::{Accepted, Fold, Verdict};
use isthmus_replication::link::landmarks::Landmarks;
use isthmus_replication::receiving::{Append, AppendFailure};

use proptest::test_runner::TestCaseError;

use super::lane::{Lane, NOWHERE, now};
use super::region::{Broken, Region};

pub(crate) const GATEWAYS: usize = 2;

/// One step of a run. Numbers are taken modulo the number of existing items.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// `hot`: to one of a few keys.
    Write {
        region: usize,
        hot: Option<usize>,
        bytes: usize,
    },
    Mark {
        region: usize,
    },
    Send {
        lane: usize,
        messages: usize,
    },
    Deliver {
        lane: usize,
        frames: usize,
    },
    Land {
        region: usize,
        append: usize,
        fate: Fate,
    },
    ReadHead {
        region: usize,
        gateway: usize,
        messages: usize,
    },
    Agent {
        region: usize,
    },
    Connect {
        lane: usize,
        gateway: usize,
    },
    Cut {
        lane: usize,
    },
    /// `read`: the agent had read the tail and notices the loss; otherwise only a peer can notice
    /// it.
    LoseTail {
        region: usize,
        messages: usize,
        read: bool,
    },
    Wait {
        millis: u64,
    },
}

/// The fate of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored,
    StoredTwice,
    StoredUnanswered,
    Lost,
}

struct Pending {
    lane: usize,
    session: u64,
    append: Append,
}

pub(crate) struct World {
    pub regions: Vec<Region>,
    lanes: Vec<Lane>,
    heads: Vec<[Fold; GATEWAYS]>,
    landmarks: Vec<[Landmarks; GATEWAYS]>,
    pending: Vec<Vec<Pending>>,
    now_ms: u64,
    writes: u64,
}

impl World {
    pub(crate) fn new(regions: usize, ahead_ms: &[u64], broken: Broken) -> Self {
        let regions: Vec<Region> = (0..regions)
            .map(|at| Region::new(at, ahead_ms[at], 0, broken))
            .collect();
        let mut lanes = vec![];
        for from in 0..regions.len() {
            for to in (0..regions.len()).filter(|to| *to != from) {
                lanes.extend((0..GATEWAYS).map(|gateway| Lane::new(from, gateway, to, &regions[from])));
            }
        }
        let heads = regions
            .iter()
            .map(|region| [region.fold(0), region.fold(0)])
            .collect();
        Self {
            pending: regions.iter().map(|_| vec![]).collect(),
            landmarks: regions.iter().map(|_| Default::default()).collect(),
            lanes,
            heads,
            regions,
            now_ms: 0,
            writes: 0,
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        let regions = self.regions.len();
        let lanes = self.lanes.len();
        match step {
            Step::Write { region, hot, bytes } => {
                self.writes += 1;
                self.regions[region % regions].write(self.now_ms, self.writes, hot, bytes);
            }
            Step::Mark { region } => self.regions[region % regions].mark(self.now_ms),
            Step::Send { lane, messages } => {
                self.send(lane % lanes, messages);
            }
            Step::Deliver { lane, frames } => {
                self.deliver(lane % lanes, frames);
            }
            Step::Land { region, append, fate } => {
                self.land(region % regions, append, fate);
            }
            Step::ReadHead {
                region,
                gateway,
                messages,
            } => {
                self.read_head(region % regions, gateway % GATEWAYS, messages);
            }
            Step::Agent { region } => {
                self.regions[region % regions].run_agent(self.now_ms);
            }
            Step::Connect { lane, gateway } => {
                self.connect(lane % lanes, gateway % GATEWAYS);
            }
            Step::Cut { lane } => {
                let lane = &mut self.lanes[lane % lanes];
                lane.cut(&self.regions[lane.from], self.now_ms);
            }
            Step::LoseTail {
                region,
                messages,
                read,
            } => self.regions[region % regions].lose_tail(messages, read),
            Step::Wait { millis } => self.now_ms += millis,
        }
    }

    fn send(&mut self, at: usize, messages: usize) -> bool {
        let lane = &mut self.lanes[at];
        let moved = lane.send(&self.regions[lane.from], messages, self.now_ms);
        let Some((cursor, session)) = lane.suspects.take().zip(lane.session.as_ref()) else {
            return moved;
        };
        let origin = self.regions[lane.from].name.region.clone();
        let landmarks = self.landmarks[lane.to][session.gateway].of(&origin);
        self.regions[lane.from].doubt(self.now_ms, cursor, landmarks);
        true
    }

    fn connect(&mut self, lane: usize, gateway: usize) -> bool {
        let lane = &mut self.lanes[lane];
        if lane.session.is_some() {
            return false;
        }
        let (origin, target) = (&self.regions[lane.from], &self.regions[lane.to]);
        lane.connect(
            origin,
            target,
            &self.heads[lane.to][gateway],
            gateway,
            self.now_ms,
        );
        true
    }

    fn deliver(&mut self, at: usize, frames: usize) -> bool {
        let lane = &mut self.lanes[at];
        let (origin, target) = (&self.regions[lane.from], &self.regions[lane.to]);
        let delivered = lane.deliver(origin, target, frames, self.now_ms);
        let session = lane.session.as_ref().map_or(0, |session| session.number);
        let pending = delivered.appends.into_iter().map(|append| Pending {
            lane: at,
            session,
            append,
        });
        self.pending[lane.to].extend(pending);
        delivered.moved
    }

    /// An append reaches the log or is lost, in any order.
    fn land(&mut self, at: usize, append: usize, fate: Fate) -> bool {
        if self.pending[at].is_empty() {
            return false;
        }
        let append = append % self.pending[at].len();
        let Pending {
            lane,
            session,
            append,
        } = self.pending[at].remove(append);
        let copies = match fate {
            Fate::Lost => 0,
            Fate::StoredTwice => 2,
            Fate::Stored | Fate::StoredUnanswered => 1,
        };
        let region = &mut self.regions[at];
        for _ in 0..copies {
            region.append(
                self.now_ms,
                append.token.clone(),
                append.header.encode(),
                append.body.clone(),
            );
        }
        let there = now(&self.regions[at], self.now_ms);
        let session = self.lanes[lane]
            .session
            .as_mut()
            .filter(|held| held.number == session);
        match (session, fate) {
            (None, _) => {}
            (Some(session), Fate::Stored | Fate::StoredTwice) => {
                session.receiving.handle_appended(there, append.id)
            }
            (Some(session), Fate::StoredUnanswered | Fate::Lost) => {
                let failure = AppendFailure::Unanswered;
                session.receiving.handle_append_failed(there, append.id, failure);
            }
        }
        true
    }

    /// A gateway reads its log and passes the result to the lanes that end and begin at it.
    fn read_head(&mut self, at: usize, gateway: usize, messages: usize) -> bool {
        let region = &self.regions[at];
        let mut moved = false;
        let mut head = self.heads[at][gateway].clone();
        if !region.holds(head.at()) {
            head = region.fold(0);
            moved = true;
        }
        for _ in 0..messages {
            let next = head.at().sequence.0 as usize;
            if next >= region.log.len() {
                break;
            }
            let lives = head.lineage().current();
            let (header, verdict) = region.read(&mut head, next);
            if matches!(verdict, Verdict::Accepted(Accepted::Mark(_))) {
                self.landmarks[at][gateway].note_mark(&head);
            }
            if lives != head.lineage().current() {
                head = region.fold(next + 1);
            }
            moved = true;
            for lane in &mut self.lanes {
                if let Some(session) = lane
                    .session
                    .as_mut()
                    .filter(|s| lane.to == at && s.gateway == gateway)
                {
                    let there = now(region, self.now_ms);
                    session
                        .receiving
                        .handle_read_back(there, Some(&header), &verdict, &head);
                }
            }
        }
        if moved && head.at().sequence.0 as usize == region.log.len() {
            for lane in &mut self.lanes {
                if let Some(session) = lane
                    .session
                    .as_mut()
                    .filter(|s| lane.to == at && s.gateway == gateway)
                {
                    session.receiving.handle_head(now(region, self.now_ms), &head);
                }
            }
        }
        for lane in self
            .lanes
            .iter_mut()
            .filter(|lane| lane.from == at && lane.gateway == gateway)
        {
            if head.at() != NOWHERE {
                lane.head(region, &head, self.now_ms);
            }
        }
        self.heads[at][gateway] = head;
        moved
    }

    /// Heals everything and runs until nothing happens any more.
    ///
    /// # Errors
    /// The lanes' states, if something still happens after far more rounds than healing needs.
    pub(crate) fn settle(&mut self) -> Result<(), TestCaseError> {
        let mut idle = 0;
        for _ in 0..3000 {
            let mut moved = false;
            for at in 0..self.regions.len() {
                moved |= self.regions[at].run_agent(self.now_ms);
                for gateway in 0..GATEWAYS {
                    moved |= self.read_head(at, gateway, 50);
                }
                while self.land(at, 0, Fate::Stored) {
                    moved = true;
                }
            }
            for at in 0..self.lanes.len() {
                moved |= self.connect(at, at / GATEWAYS % GATEWAYS);
                moved |= self.send(at, 50);
                moved |= self.deliver(at, 50);
            }
            self.now_ms += if moved { 20 } else { 500 };
            idle = if moved { 0 } else { idle + 1 };
            if idle == 60 {
                return Ok(());
            }
        }
        let lanes: Vec<String> = self.lanes.iter().map(Lane::describe).collect();
        let reason = format!("never quiet:\n{}", lanes.join("\n"));
        Err(TestCaseError::fail(reason))
    }

    pub(crate) fn describe(&self) -> String {
        let lanes: Vec<String> = self.lanes.iter().map(Lane::describe).collect();
        lanes.join("\n")
    }
}
