//! A network that loses, duplicates and delays, between agents and one log.

use std::collections::BTreeSet;

use super::*;

/// The fate of one send.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// Stored after a delay and acknowledged after another.
    Answered(u64, u64),
    /// Never stored, never answered.
    Lost,
    /// Never stored; the shell learns that the outcome is unknown.
    Broken(u64),
    /// Stored after a delay, which may be long; the acknowledgement is lost.
    Silent(u64),
    /// Stored twice.
    Doubled(u64, u64),
    /// Refused.
    Full(u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A write to an agent: which, which key, how long its client waits in milliseconds.
    Write(usize, u8, u64),
    /// An agent reads this many messages.
    Read(usize, usize),
    /// Time passes, in milliseconds.
    Pass(u64),
    /// An agent's wall clock is set off by this many milliseconds.
    Skew(usize, i64),
}

#[derive(Debug)]
enum Arrival {
    /// A sent message, with the agent that gets the answer and the delay until then.
    Message(Box<Append>, Option<(usize, u64)>),
    Acknowledgement(usize, MessageId, Sequence),
    Failure(usize, MessageId, PublishError),
}

/// Agents, their network and their log.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: u64,
    pub(super) log: Log,
    pub(super) agents: Vec<Agent>,
    /// Per agent and ticket, the value written; values are unique.
    pub(super) written: BTreeMap<(usize, Ticket), String>,
    network: BTreeMap<(u64, u64), Arrival>,
    sent: usize,
    scheduled: u64,
    fates: Vec<Fate>,
}

impl World {
    pub(super) fn new(agents: usize, fates: Vec<Fate>) -> Self {
        let mut log = Log::new();
        let mut agents: Vec<Agent> = (1..=agents as u64).map(Agent::new).collect();
        for agent in &mut agents {
            agent.commit(0, &mut log);
        }
        Self {
            now: 0,
            log,
            agents,
            written: BTreeMap::new(),
            network: BTreeMap::new(),
            sent: 0,
            scheduled: 0,
            fates,
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Write(agent, key, patience) => {
                let agent = agent % self.agents.len();
                let value = format!("{}", self.written.len());
                let key = key.to_string();
                if let Ok(ticket) = self.agents[agent].write(self.now, &key, &value, patience) {
                    self.written.insert((agent, ticket), value);
                }
            }
            Step::Read(agent, messages) => {
                let agent = agent % self.agents.len();
                for _ in 0..messages {
                    self.agents[agent].read(self.now, &self.log);
                }
            }
            Step::Pass(millis) => self.pass(millis),
            Step::Skew(agent, skew) => {
                let agent = agent % self.agents.len();
                self.agents[agent].skew = skew;
            }
        }
        self.pump();
    }

    /// Heals everything and runs until it is quiet.
    pub(super) fn heal(&mut self) {
        self.fates.clear();
        for _ in 0..200 {
            self.pass(500);
            for agent in &mut self.agents {
                agent.read_all(self.now, &self.log);
            }
            self.pump();
            let at_rest = self.agents.iter().all(|agent| agent.writer.is_idle());
            if at_rest && self.network.is_empty() {
                return;
            }
        }
        panic!("writers did not come to rest: {:?}", self.agents[0].writer);
    }

    fn pass(&mut self, millis: u64) {
        let until = self.now + millis;
        self.pump();
        loop {
            let arrival = self.network.first_key_value().map(|((at, _), _)| *at);
            let deadlines = self.agents.iter().filter_map(|agent| agent.writer.poll_timeout());
            let deadline = deadlines.map(|(at, _)| at.nanos().div_ceil(1_000_000)).min();
            let Some(next) = arrival
                .into_iter()
                .chain(deadline)
                .min()
                .filter(|next| *next <= until)
            else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self
                .network
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now)
            {
                let arrival = entry.remove();
                self.arrive(arrival);
            }
            for agent in &mut self.agents {
                agent.timeout(self.now);
            }
            self.pump();
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Message(append, answer) => {
                let id = append.message_id;
                let at = self
                    .log
                    .append(self.now, append.token, append.header, append.body);
                if let Some((agent, after)) = answer {
                    self.schedule(after, Arrival::Acknowledgement(agent, id, at));
                }
            }
            Arrival::Acknowledgement(agent, id, at) => self.agents[agent].writer.handle_published(id, at),
            Arrival::Failure(agent, id, error) => {
                let now = self.agents[agent].now(self.now);
                self.agents[agent].writer.handle_publish_failed(now, id, error);
            }
        }
    }

    /// Sends everything that is due; afterwards every deadline is in the future.
    fn pump(&mut self) {
        for agent in 0..self.agents.len() {
            while let Some(append) = self.agents[agent].poll(self.now) {
                self.send(agent, append);
            }
            let timeout = self.agents[agent].writer.poll_timeout();
            let now = self.agents[agent].now(self.now).mono;
            let overdue = timeout.filter(|(at, what)| *at <= now && *what != Deadline::Client);
            if let Some((_, what)) = overdue {
                self.agents[agent].timeout(self.now);
                let again = self.agents[agent].writer.poll_timeout();
                assert!(again.is_none_or(|(at, _)| at > now), "{what:?} stays due");
            }
        }
    }

    fn send(&mut self, agent: usize, append: Append) {
        let id = append.message_id;
        self.sent += 1;
        let fate = match self.fates.is_empty() {
            true => Fate::Answered(1, 1),
            false => self.fates[self.sent % self.fates.len()],
        };
        let error = |error| Arrival::Failure(agent, id, error);
        match fate {
            Fate::Answered(stored, answered) => {
                self.schedule(
                    stored,
                    Arrival::Message(Box::new(append), Some((agent, answered))),
                );
            }
            Fate::Lost => {}
            Fate::Broken(after) => self.schedule(after, error(PublishError::Unanswered)),
            Fate::Silent(after) => self.schedule(after, Arrival::Message(Box::new(append), None)),
            Fate::Doubled(first, second) => {
                self.schedule(first, Arrival::Message(Box::new(append.clone()), None));
                self.schedule(second, Arrival::Message(Box::new(append), None));
            }
            Fate::Full(after) => self.schedule(after, error(PublishError::Full)),
        }
    }

    fn schedule(&mut self, after: u64, arrival: Arrival) {
        self.scheduled += 1;
        self.network.insert((self.now + after, self.scheduled), arrival);
    }

    /// The values that count, each with its sequence, in the order of the log.
    pub(super) fn counted(&self) -> Vec<(String, Sequence)> {
        let mut fold = Fold::new(log_name());
        let mut counted = Vec::new();
        while let Some((_, changes)) = self.log.read(&mut fold) {
            counted.extend(changes.iter().map(|change| (value(change), fold.at().sequence)));
        }
        counted
    }
}

pub(super) fn value(change: &Change) -> String {
    match &change.op {
        Op::Put { value, .. } => String::from_utf8(value.to_vec()).unwrap(),
        Op::Delete => String::new(),
    }
}

/// Checks that the outcomes that clients received match the writes that count.
pub(super) fn check(world: &World, counted: &[(String, Sequence)]) -> Result<(), String> {
    let values: BTreeSet<&String> = counted.iter().map(|(value, _)| value).collect();
    if values.len() != counted.len() {
        return Err("a write counts twice".into());
    }
    for ((agent, ticket), value) in &world.written {
        let outcome = world.agents[*agent].outcomes.get(ticket);
        let counts = counted.iter().find(|(counted, _)| counted == value);
        match (outcome, counts) {
            (None, _) => return Err(format!("{value} has no outcome")),
            (Some(Outcome::Failed(why)), Some(_)) => {
                return Err(format!("{value} failed by {why:?} and counts"));
            }
            (Some(Outcome::Accepted { position, .. }), counts)
                if counts.map(|(_, at)| *at) != Some(position.sequence) =>
            {
                return Err(format!(
                    "{value} was accepted at {position:?} and counts at {counts:?}"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
