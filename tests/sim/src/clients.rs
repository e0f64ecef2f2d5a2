//! Simulated clients. Each one sets, deletes and reads keys through agents that it chooses, one
//! operation at a time, and takes its session along.

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

/// An operation that a client requested.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The number of the operation.
    pub number: u64,
    /// The index of the client.
    pub client: usize,
    /// The index of the region.
    pub site: usize,
    /// The key.
    pub key: Key,
    /// The value to write; `None` for a read, `Some(None)` for a delete.
    pub writes: Option<Option<Bytes>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    /// The operation.
    pub asked: Asked,
    /// Its result.
    pub result: Result<Outcome, Refusal>,
}

/// A client.
#[derive(Debug, Default)]
pub struct Client {
    /// What it has seen; presented again with each operation.
    pub session: SessionToken,
    /// The newest version that it has seen of each key.
    pub seen: BTreeMap<Key, Version>,
    /// Whether it waits for an answer.
    pub busy: bool,
}

/// Collects answers. Clones share one queue.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<Answered>>>);

impl Answers {
    /// Takes the answers that have arrived.
    pub fn take(&self) -> Vec<Answered> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The bucket of all keys.
///
/// # Panics
/// Never: the name is valid.
pub fn bucket() -> BucketName {
    BucketName::parse("things").expect("a valid name")
}

/// Sends an operation of `client` to the agent that `run` runs.
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
