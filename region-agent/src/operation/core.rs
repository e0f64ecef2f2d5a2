//! Execution of operations: admission, the shard's task, the regions that must have a write, the
//! session that a read must see.

use std::collections::BTreeMap;
use std::sync::Arc;

use isthmus_replication::cell::{CellId, Field};
use isthmus_replication::change::Op;
use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::{BucketName, Key};
use isthmus_replication::session_token::{Frontier, SessionToken};
use isthmus_replication::store::Page;
use isthmus_replication::time::{Mono, Wall};
use isthmus_replication::{store, writer};
use isthmus_runtime::telemetry::{Side, Span};
use tokio::sync::oneshot;

use super::{
    Consistency, Found, Get, List, Listed, Operation, Outcome, Policy, Refusal, Tombstone, Write, Written,
};
use crate::peers::Peers;
use crate::shard::{Accepted, Context, ShardHandle, WriteRequest};

/// Executes operations on the shards of one region.
#[derive(Debug)]
pub struct Core {
    pub(super) context: Context,
    pub(super) policy: Policy,
    pub(super) shards: BTreeMap<Shard, ShardHandle>,
    pub(super) peers: Arc<Peers>,
}

/// A write in progress.
#[derive(Debug)]
pub struct Pending {
    core: Arc<Core>,
    span: Span,
    began: Mono,
    deadline: Mono,
    session: Option<SessionToken>,
    sent: Result<Sent, Refusal>,
}

#[derive(Debug)]
struct Sent {
    shard: Shard,
    consistency: Consistency,
    reply: oneshot::Receiver<Result<Accepted, Refusal>>,
}

impl Core {
    /// Creates the core of `shards`.
    #[must_use]
    pub fn new(context: Context, policy: Policy, shards: Vec<ShardHandle>, peers: Arc<Peers>) -> Self {
        Self {
            context,
            policy,
            shards: shards
                .into_iter()
                .map(|shard| (shard.shard().clone(), shard))
                .collect(),
            peers,
        }
    }

    /// What the set allows.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The shards, in order.
    pub fn shards(&self) -> impl Iterator<Item = &ShardHandle> {
        self.shards.values()
    }

    /// What gateways report about other regions.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// What the shards share with the process.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Executes an operation.
    ///
    /// # Errors
    /// [`Refusal`] if it was not done, or is not known to be.
    pub async fn execute(self: &Arc<Self>, operation: Operation) -> Result<Outcome, Refusal> {
        match operation {
            Operation::Write(write) => self.submit(write).await.outcome().await,
            Operation::Get(get) => self.get(get).await,
            Operation::List(list) => self.list(list).await,
        }
    }

    /// Submits a write. Writes that a caller submits one after another are stamped in that order.
    /// Their outcomes may be awaited together.
    pub async fn submit(self: &Arc<Self>, write: Write) -> Pending {
        let began = self.context.now().mono;
        let tracer = &self.context.process.tracer;
        let name = match write.op {
            Op::Put { .. } => "put",
            Op::Delete => "delete",
        };
        let mut span = match write.trace.filter(|_| write.followed) {
            Some(trace) => tracer.child(&trace, name, Side::Server),
            None => tracer.root(write.trace, name),
        };
        if span.is_recorded() {
            span.set(
                "isthmus.key",
                tracer.key(write.bucket.as_str(), write.key.as_str()),
            );
        }
        let deadline = began.after(write.timeout);
        let session = write.session.clone();
        let sent = self.send(write, &span, deadline).await;
        Pending {
            core: Arc::clone(self),
            span,
            began,
            deadline,
            session,
            sent,
        }
    }

    async fn send(&self, write: Write, span: &Span, deadline: Mono) -> Result<Sent, Refusal> {
        self.policy.admit_session(write.session.as_ref())?;
        let ttl = self.policy.admit(&write)?;
        let shard = self.policy.shard(&write.bucket, &write.key)?;
        let handle = self.handle(&shard)?;
        let is_put = matches!(write.op, Op::Put { .. });
        if is_put && self.context.memory.refuses_puts() {
            return Err(Refusal::MemoryFull);
        }
        if !self.context.connection.borrow().connected {
            return Err(Refusal::LogNotWritable);
        }
        if handle.log_full() {
            return Err(Refusal::LogFull);
        }
        self.check_reachable(&shard, write.consistency)?;
        self.await_session(handle, write.session.as_ref(), deadline)
            .await?;
        let (reply, receiver) = oneshot::channel();
        let request = WriteRequest {
            write: writer::Write {
                id: root(write.bucket, write.key),
                op: write.op,
                ttl,
                trace: span.context(),
                deadline,
            },
            reply,
        };
        let until = self.context.process.clock.instant(deadline);
        tokio::time::timeout_at(until, handle.write(request))
            .await
            .map_err(|_| Refusal::Overloaded)??;
        Ok(Sent {
            shard,
            consistency: write.consistency,
            reply: receiver,
        })
    }

    async fn get(&self, get: Get) -> Result<Outcome, Refusal> {
        self.policy.admit_session(get.session.as_ref())?;
        let deadline = self.context.now().mono.after(get.timeout);
        let shard = self.policy.shard(&get.bucket, &get.key)?;
        let handle = self.handle(&shard)?;
        self.await_session(handle, get.session.as_ref(), deadline).await?;
        let (held, frontier, wall) = {
            let served = handle.served();
            served.refusal().map_or(Ok(()), Err)?;
            (
                served.store.get(&get.bucket, &get.key).cloned(),
                Frontier::of(&served.fold),
                self.context.reading_time(&served),
            )
        };
        let session = seen(get.session, &frontier);
        Ok(answer(held, wall, session))
    }

    async fn list(&self, list: List) -> Result<Outcome, Refusal> {
        self.policy.admit_session(list.session.as_ref())?;
        let deadline = self.context.now().mono.after(list.timeout);
        let mut session = list.session.clone().unwrap_or_default();
        let shards = self.policy.shards(&list.bucket)?;
        for shard in &shards {
            self.await_session(self.handle(shard)?, list.session.as_ref(), deadline)
                .await?;
        }
        // Nothing waits from here on: results are held for this moment only, and never more than
        // two pages of them.
        let mut found: Option<Page> = None;
        for shard in &shards {
            let served = self.handle(shard)?.served();
            served.refusal().map_or(Ok(()), Err)?;
            let (store, wall) = (&served.store, self.context.reading_time(&served));
            let page = store.list(&list.bucket, &list.prefix, list.after.as_ref(), list.limit, wall);
            session = seen(Some(session), &Frontier::of(&served.fold));
            drop(served);
            found = Some(match found {
                Some(found) => merged([found, page], list.limit),
                None => page,
            });
        }
        let Page { keys, next } = found.unwrap_or_default();
        let keys = keys.into_iter().map(|listed| (listed.key, listed.version));
        let keys = keys.collect();
        Ok(Outcome::Listed(Listed { keys, next, session }))
    }

    /// The shard, if this region holds it.
    ///
    /// # Errors
    /// [`Refusal::Internal`] if it does not.
    pub fn handle(&self, shard: &Shard) -> Result<&ShardHandle, Refusal> {
        self.shards
            .get(shard)
            .ok_or(Refusal::Internal("a shard without a task"))
    }

    /// The cell of a key as this store has it, live or not, and the time by which it is read.
    ///
    /// # Errors
    /// [`Refusal`] if no bucket of that name is held here.
    pub fn held(&self, bucket: &BucketName, key: &Key) -> Result<Option<(store::HeldCell, Wall)>, Refusal> {
        let shard = self.policy.shard(bucket, key)?;
        let served = self.handle(&shard)?.served();
        let held = served.store.get(bucket, key).cloned();
        Ok(held.map(|held| (held, self.context.reading_time(&served))))
    }
}

impl Pending {
    /// Waits for the outcome, at most until the caller's deadline.
    ///
    /// # Errors
    /// [`Refusal`] if the write failed, or is not known to have succeeded.
    pub async fn outcome(mut self) -> Result<Outcome, Refusal> {
        let sent = std::mem::replace(&mut self.sent, Err(Refusal::OutcomeUnknown));
        let result = match sent {
            Ok(sent) => self.written(sent).await,
            Err(refusal) => Err(refusal),
        };
        let metrics = &self.core.context.metrics;
        let took = self.core.context.now().mono.since(self.began);
        metrics.write_time.observe(took.as_secs_f64());
        match &result {
            Ok(_) => metrics.wrote("acknowledged"),
            Err(refusal) => {
                metrics.wrote(refusal.label());
                self.span.fail(refusal.label());
            }
        }
        result.map(Outcome::Written)
    }

    async fn written(&mut self, sent: Sent) -> Result<Written, Refusal> {
        let core = Arc::clone(&self.core);
        let until = core.context.process.clock.instant(self.deadline);
        let accepted = match tokio::time::timeout_at(until, sent.reply).await {
            Ok(Ok(accepted)) => accepted?,
            Ok(Err(_)) | Err(_) => return Err(Refusal::OutcomeUnknown),
        };
        let regions = core
            .await_regions(&sent.shard, sent.consistency, &accepted, self.deadline)
            .await?;
        let mut session = self.session.take().unwrap_or_default();
        let own = core.policy.region();
        if session.note(own, &sent.shard, accepted.position).is_err() {
            session = SessionToken::default();
            session.note(own, &sent.shard, accepted.position).ok();
        }
        Ok(Written {
            version: accepted.version,
            session,
            regions,
            superseded: accepted.superseded,
        })
    }
}

/// The answer to a read of a cell by `wall`.
fn answer(held: Option<store::HeldCell>, wall: Wall, session: SessionToken) -> Outcome {
    let Some(held) = held else {
        let tombstone = None;
        return Outcome::Absent { tombstone, session };
    };
    match held.cell.live_value(wall) {
        Some((value, content_type)) => Outcome::Found(Found {
            value: value.clone(),
            content_type: content_type.clone(),
            version: held.cell.version,
            applied_at: held.applied_at,
            session,
        }),
        None => Outcome::Absent {
            tombstone: Some(Tombstone {
                version: held.cell.version,
                applied_at: held.applied_at,
            }),
            session,
        },
    }
}

/// What a caller has seen after this read. A session that has grown too large starts again with it.
fn seen(session: Option<SessionToken>, frontier: &Frontier) -> SessionToken {
    let mut session = session.unwrap_or_default();
    if session.note_read(frontier).is_err() {
        session = SessionToken::default();
        session.note_read(frontier).ok();
    }
    session
}

/// The first keys of two pages, and where the next page begins: after the last key that both have
/// passed.
fn merged(pages: [Page; 2], limit: usize) -> Page {
    let passed = pages.iter().filter_map(|page| page.next.clone()).min();
    let mut keys: Vec<_> = pages
        .into_iter()
        .flat_map(|page| page.keys)
        .filter(|listed| passed.as_ref().is_none_or(|passed| &listed.key <= passed))
        .collect();
    keys.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    if keys.len() > limit {
        keys.truncate(limit);
        let next = keys.last().map(|listed| listed.key.clone());
        return Page { keys, next };
    }
    Page { keys, next: passed }
}

fn root(bucket: BucketName, key: Key) -> CellId {
    CellId {
        bucket,
        key,
        field: Field::NONE,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use isthmus_replication::coordinates::WriterId;
    use isthmus_replication::hlc::Hlc;
    use isthmus_replication::names::RegionName;
    use isthmus_replication::store::Listed;
    use isthmus_replication::version::Version;
    use proptest::prelude::*;

    use super::*;

    fn key(n: u16) -> Key {
        Key::parse(&format!("{n:05}")).unwrap()
    }

    fn version() -> Version {
        Version {
            hlc: Hlc::ZERO,
            region: RegionName::parse("a").unwrap(),
            writer: WriterId(0),
        }
    }

    /// What one shard with `keys` answers for the page after `after`, with at most `limit` keys.
    fn page(keys: &[u16], after: Option<&Key>, limit: usize) -> Page {
        let rest: Vec<Key> = keys
            .iter()
            .map(|n| key(*n))
            .filter(|key| after.is_none_or(|after| key > after))
            .collect();
        let taken: Vec<Key> = rest.iter().take(limit).cloned().collect();
        Page {
            next: (rest.len() > limit).then(|| taken.last().cloned()).flatten(),
            keys: taken
                .into_iter()
                .map(|key| Listed {
                    key,
                    version: version(),
                })
                .collect(),
        }
    }

    proptest! {
        #[test]
        fn pages_over_all_shards_give_every_key_once_in_order(
            shards in proptest::collection::vec(proptest::collection::btree_set(any::<u16>(), 0..40), 1..5),
            limit in 1usize..10,
        ) {
            let mut taken = std::collections::BTreeSet::new();
            let shards: Vec<Vec<u16>> = shards.into_iter().map(|keys| keys.into_iter().filter(|key| taken.insert(*key)).collect()).collect();
            let mut listed = Vec::new();
            let mut after: Option<Key> = None;
            loop {
                let pages = shards.iter().map(|keys| page(keys, after.as_ref(), limit));
                let Page { keys, next } = pages.reduce(|one, other| merged([one, other], limit)).unwrap();
                prop_assert!(keys.len() <= limit);
                listed.extend(keys.into_iter().map(|listed| listed.key));
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            let expected: Vec<Key> = taken.into_iter().map(key).collect();
            prop_assert_eq!(listed, expected);
        }
    }
}
