//! A publisher in place of a region's agents: begins the log, stamps and appends batches and marks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use isthmus_log::testing::until;
use isthmus_log::{AppendError, Ports, StoredMessage};
use isthmus_replication::body;
use isthmus_replication::cell::{CellId, ContentType, Digest, Field};
use isthmus_replication::change::{Change, Op};
use isthmus_replication::coordinates::{Anchor, AppliedThrough, Life, MessageId, Sequence, WriterId};
use isthmus_replication::delay::{Delay, Stage};
use isthmus_replication::fold::{Accepted, Fold, MarkBody, SubjectToken, Verdict};
use isthmus_replication::header::{
    Barrier, BodySeal, ClockLimits, Header, LifeLink, LifeRecord, Local, MarkRecord, Membership, Record,
    StageTimes,
};
use isthmus_replication::hlc::Clock;
use isthmus_replication::names::{BucketName, Key, ProcessName, RegionName};
use isthmus_replication::peer::{AppliedPositions, OriginApplied};
use isthmus_replication::seen::Seen;
use isthmus_replication::time::Wall;
use isthmus_replication::trace::TraceContext;
use isthmus_replication::version::Version;

use super::{SOON, shard};

/// One writer of one region's log.
pub(crate) struct Publisher {
    pub ports: Ports,
    clock: Clock,
    writer: WriterId,
    messages: u64,
}

impl Publisher {
    /// Begins the log with its first life.
    pub(crate) async fn begin(ports: Ports) -> Self {
        let mut publisher = Self {
            writer: WriterId(wall().micros()),
            ports,
            clock: Clock::default(),
            messages: 0,
        };
        let life = publisher.life(1);
        publisher
            .begin_life(LifeLink {
                life,
                parent: None,
                fork: Sequence::NONE,
            })
            .await;
        publisher
    }

    fn life(&self, number: u64) -> Life {
        Life {
            number,
            nonce: self.writer.0,
        }
    }

    async fn begin_life(&mut self, link: LifeLink) {
        let message_id = self.message_id();
        let life = Record::Life(LifeRecord {
            message_id,
            link,
            lost_before: false,
        });
        self.append(&SubjectToken::Agent, life, Bytes::new(), 0).await;
    }

    /// Begins the second life of a log that has lost what came after `fork`.
    pub(crate) async fn begin_second_life(&mut self, fork: Sequence) {
        let (parent, life) = (self.life(1), self.life(2));
        let parent = Some(parent);
        self.begin_life(LifeLink { life, parent, fork }).await;
    }

    fn region(&self) -> &RegionName {
        &self.ports.names.region
    }

    fn message_id(&mut self) -> MessageId {
        self.messages += 1;
        MessageId(self.writer.0 ^ (self.messages << 52))
    }

    /// Appends one batch that puts each of `keys`.
    pub(crate) async fn put(&mut self, keys: &[&str]) -> Sequence {
        let region = self.region().clone();
        let changes = keys.iter().map(|key| self.change(&region, key)).collect();
        self.batch(changes).await
    }

    /// Appends one batch that puts `key` with a trace.
    pub(crate) async fn put_traced(&mut self, key: &str, trace: TraceContext) -> Sequence {
        let region = self.region().clone();
        let mut change = self.change(&region, key);
        change.trace = Some(trace);
        self.batch(vec![change]).await
    }

    /// Appends a batch that puts `key`, stamped `ahead` of the clock.
    pub(crate) async fn put_ahead(&mut self, key: &str, ahead: Duration) -> Sequence {
        let region = self.region().clone();
        let mut change = self.change(&region, key);
        change.version.hlc = self.clock.stamp(wall().after(ahead));
        self.batch(vec![change]).await
    }

    /// Records that stamps may be `max_ahead` ahead of the log's clock.
    pub(crate) async fn allow_ahead(&mut self, max_ahead: Duration) {
        let membership = Membership {
            number: 1,
            members: Vec::new(),
            fenced: Vec::new(),
            groups: Vec::new(),
            clock: ClockLimits {
                max_ahead,
                ..ClockLimits::default()
            },
        };
        let message_id = self.message_id();
        let record = Record::Membership {
            message_id,
            membership,
        };
        self.append(&SubjectToken::Agent, record, Bytes::new(), 0).await;
    }

    /// Appends a batch whose body is sealed correctly but has no changes that can be applied.
    pub(crate) async fn put_garbage(&mut self) -> Sequence {
        let region = self.region().clone();
        let stamp = self.clock.stamp(wall());
        let local = Local {
            message_id: self.message_id(),
            writer: self.writer,
            lowest_stamp: stamp,
            highest_stamp: stamp,
        };
        let body = Bytes::from_static(b"\xff\xff\xffgarbage");
        self.append(&SubjectToken::Origin(region), Record::Batch(local), body, 1)
            .await
    }

    /// Appends large batches until the log is full.
    pub(crate) async fn fill(&mut self) {
        loop {
            let region = self.region().clone();
            let mut change = self.change(&region, "large");
            change.op = Op::Put {
                value: Bytes::from(vec![b'x'; 500_000]),
                content_type: ContentType::default(),
            };
            let stamp = change.version.hlc;
            let body = body::encode(&region, &[change]);
            let header = Header {
                set: self.ports.names.set.clone(),
                shard: shard(),
                record: Record::Batch(Local {
                    message_id: self.message_id(),
                    writer: self.writer,
                    lowest_stamp: stamp,
                    highest_stamp: stamp,
                }),
                body: BodySeal::of(&body, 1),
                stages: StageTimes::default(),
            };
            let appending = self
                .ports
                .log
                .append(&shard(), &SubjectToken::Origin(region), &header, body)
                .await;
            match appending.await {
                Ok(_) => {}
                Err(AppendError::Full { .. }) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Appends a batch that puts `bytes` bytes under `key`.
    pub(crate) async fn put_large(&mut self, key: &str, bytes: usize) -> Sequence {
        let region = self.region().clone();
        let mut change = self.change(&region, key);
        change.op = Op::Put {
            value: Bytes::from(vec![b'x'; bytes]),
            content_type: ContentType::default(),
        };
        self.batch(vec![change]).await
    }

    async fn batch(&mut self, changes: Vec<Change>) -> Sequence {
        let region = self.region().clone();
        let local = Local {
            message_id: self.message_id(),
            writer: self.writer,
            lowest_stamp: changes.first().unwrap().version.hlc,
            highest_stamp: changes.last().unwrap().version.hlc,
        };
        let count = u32::try_from(changes.len()).unwrap();
        let body = body::encode(&region, &changes);
        self.append(&SubjectToken::Origin(region), Record::Batch(local), body, count)
            .await
    }

    /// Appends a batch for each of `count` numbered keys.
    pub(crate) async fn put_numbered(&mut self, from: usize, count: usize) {
        for number in from..from + count {
            self.put(&[&numbered(number)]).await;
        }
    }

    /// Waits until the log answers.
    pub(crate) async fn ready(&self) {
        until("the log's answer", SOON, || async {
            self.ports.log.bounds(&shard()).await.ok()
        })
        .await;
    }

    /// Appends a barrier: an own stamp without a change.
    pub(crate) async fn barrier(&mut self) -> Sequence {
        let barrier = Barrier {
            message_id: self.message_id(),
            writer: self.writer,
            hlc: self.clock.stamp(wall()),
        };
        self.append(&SubjectToken::Agent, Record::Barrier(barrier), Bytes::new(), 0)
            .await
    }

    /// Appends a mark of the log's current contents.
    pub(crate) async fn mark(&mut self) -> Sequence {
        let region = self.region().clone();
        let fold = Contents::of(&self.ports, &region).await.fold;
        let mark = MarkRecord {
            message_id: self.message_id(),
            life: fold.lineage().current().unwrap(),
            writer: self.writer,
            hlc: self.clock.stamp(wall()),
            described: fold.at(),
            agents: Vec::new(),
        };
        let body = MarkBody {
            wall: wall(),
            fold,
            digest: Digest::default(),
            cells: 0,
        };
        self.append(&SubjectToken::Agent, Record::Mark(mark), body.encode(), 0)
            .await
    }

    fn change(&mut self, region: &RegionName, key: &str) -> Change {
        Change {
            id: CellId {
                bucket: BucketName::parse("shop").unwrap(),
                key: Key::parse(key).unwrap(),
                field: Field::NONE,
            },
            version: Version {
                hlc: self.clock.stamp(wall()),
                region: region.clone(),
                writer: self.writer,
            },
            seen: Seen::default(),
            expires_at: None,
            trace: None,
            op: Op::Put {
                value: Bytes::from(format!("value of {key}")),
                content_type: ContentType::new("text/plain").unwrap(),
            },
        }
    }

    async fn append(&self, token: &SubjectToken, record: Record, body: Bytes, changes: u32) -> Sequence {
        let header = Header {
            set: self.ports.names.set.clone(),
            shard: shard(),
            record,
            body: BodySeal::of(&body, changes),
            stages: StageTimes::default(),
        };
        let appending = self.ports.log.append(&shard(), token, &header, body).await;
        tokio::time::timeout(SOON, appending).await.unwrap().unwrap()
    }
}

/// The contents of a log: the keys put by `origin` in the order accepted, and the number of
/// messages.
pub(crate) struct Contents {
    pub keys: Vec<String>,
    pub messages: u64,
    pub voids: usize,
    pub fold: Fold,
}

impl Contents {
    /// Reads the log of a region to its end.
    pub(crate) async fn of(ports: &Ports, origin: &RegionName) -> Self {
        let last = ports.log.bounds(&shard()).await.unwrap().last;
        let mut contents = Self {
            keys: Vec::new(),
            messages: last.0,
            voids: 0,
            fold: Fold::new(ports.names.log(&shard())),
        };
        let mut reader = ports.log.reader(&shard(), Anchor::default());
        while contents.fold.at().sequence < last {
            let message = tokio::time::timeout(SOON, reader.next()).await.unwrap().unwrap();
            contents.fold(origin, &message);
        }
        contents
    }

    fn fold(&mut self, origin: &RegionName, message: &StoredMessage) {
        let own = origin == &self.fold.log().region;
        let counts = match self.fold.apply(message.as_message()).unwrap() {
            Verdict::Accepted(Accepted::Batch(_)) => own,
            Verdict::Accepted(Accepted::Range {
                origin: of,
                gap: false,
                ..
            }) => of == *origin,
            Verdict::Accepted(_) => false,
            Verdict::Void(_) => {
                self.voids += 1;
                false
            }
            Verdict::Stop { what, number } => panic!("{what} {number}"),
        };
        if counts {
            let codec = message
                .header
                .as_ref()
                .map_or_else(|_| Default::default(), |header| header.body.codec);
            let changes = body::open(codec, origin, message.body.clone()).unwrap();
            self.keys
                .extend(changes.into_iter().map(|change| change.id.key.to_string()));
        }
    }

    /// Waits until the log of a region has `origin`'s log through `sequence`.
    pub(crate) async fn through(ports: &Ports, origin: &RegionName, sequence: Sequence) -> Self {
        until(&format!("{origin} through {sequence}"), SOON, || async {
            let contents = Self::of(ports, origin).await;
            let through = contents.fold.origin(origin)?.cursor.position.sequence;
            (through >= sequence).then_some(contents)
        })
        .await
    }

    /// Waits until the log of a region has at least `count` keys of `origin`.
    pub(crate) async fn with_keys(ports: &Ports, origin: &RegionName, count: usize) -> Self {
        until(&format!("{count} keys of {origin}"), SOON, || async {
            Some(Self::of(ports, origin).await).filter(|contents| contents.keys.len() >= count)
        })
        .await
    }
}

fn numbered(number: usize) -> String {
    format!("key-{number:05}")
}

/// The first `count` numbered keys.
pub(crate) fn expected(count: usize) -> Vec<String> {
    (0..count).map(numbered).collect()
}

/// The report of an agent that has applied everything of `origin` in `contents`.
pub(crate) fn applied_by(agent: &str, origin: &RegionName, contents: &Contents) -> AppliedPositions {
    let held = contents.fold.origin(origin).unwrap();
    AppliedPositions {
        shard: shard(),
        agent: ProcessName::parse(agent).unwrap(),
        run: WriterId(1),
        own: None,
        checkpointed: Sequence::NONE,
        needs_sync: false,
        origins: vec![OriginApplied {
            origin: origin.clone(),
            applied: AppliedThrough(held.cursor.position),
            appended: held.appended,
            delay: Some(Delay::of_stages([(Stage::Wire, Duration::from_millis(7))], None)),
        }],
        runways: Vec::new(),
    }
}

pub(super) fn wall() -> Wall {
    let now: Duration = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Wall::from_micros(u64::try_from(now.as_micros()).unwrap())
}
