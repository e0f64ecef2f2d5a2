//! What clients do: each sets, deletes and reads keys through agents that it chooses, one operation at a time, carrying its
//! session with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use isthmus_region_agent::operation::{Consistency, Get, Operation, Outcome, Refusal, Write};
use isthmus_region_agent::region::Region;
use isthmus_replication::cell::ContentType;
use isthmus_replication::change::Op;
use isthmus_replication::names::{BucketName, Key};
use isthmus_replication::session_token::SessionToken;
use isthmus_replication::version::Version;

use crate::node::Run;

/// How long a client waits.
const TIMEOUT: Duration = Duration::from_secs(3);

/// An operation that a client asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which.
    pub number: u64,
    /// Whose.
    pub client: usize,
    /// In which region.
    pub site: usize,
    /// Of which key.
    pub key: Key,
    /// What was to be written; none of a read. A delete writes no value.
    pub writes: Option<Option<Bytes>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    /// To what.
    pub asked: Asked,
    /// What it was.
    pub result: Result<Outcome, Refusal>,
}

/// A client.
#[derive(Debug, Default)]
pub struct Client {
    /// What it has seen, to be shown again.
    pub session: SessionToken,
    /// The newest version that it saw of each key.
    pub seen: BTreeMap<Key, Version>,
    /// Waits for an answer.
    pub busy: bool,
}

/// Where answers arrive. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<Answered>>>);

impl Answers {
    /// Takes what has arrived.
    pub fn take(&self) -> Vec<Answered> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The bucket that everything is in.
///
/// # Panics
/// Never: the name is a valid one.
pub fn bucket() -> BucketName {
    BucketName::parse("things").expect("a valid name")
}

/// Lets `client` ask the agent that `run` runs.
pub fn ask(
    random: &mut fastrand::Rng,
    client: &mut Client,
    asked: &Asked,
    region: &Region,
    run: &Run,
    answers: &Answers,
) {
    client.busy = true;
    let session = Some(client.session.clone());
    let operation = match &asked.writes {
        None => Operation::Get(Get {
            bucket: bucket(),
            key: asked.key.clone(),
            session,
            timeout: TIMEOUT,
        }),
        Some(value) => Operation::Write(Write {
            bucket: bucket(),
            key: asked.key.clone(),
            op: value.clone().map_or(Op::Delete, |value| Op::Put {
                value,
                content_type: ContentType::default(),
            }),
            ttl: (value.is_some() && random.u32(0..20) == 0).then(|| Duration::from_secs(random.u64(1..20))),
            consistency: match random.u32(0..12) {
                0 => Consistency::Majority,
                _ => Consistency::Region,
            },
            timeout: TIMEOUT,
            session,
            trace: None,
            followed: false,
        }),
    };
    let (core, asked, answers) = (Arc::clone(&region.core), asked.clone(), answers.clone());
    run.spawn(async move {
        let result = core.execute(operation).await;
        let mut answers = answers.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push(Answered { asked, result });
    });
}
