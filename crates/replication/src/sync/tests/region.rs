//! A region with its log, its fold and its store.

use super::*;

pub(super) const REGIONS: [&str; 3] = ["ap-south", "eu-west", "us-east"];

pub(super) fn name(region: &str) -> RegionName {
    RegionName::parse(region).unwrap()
}

pub(super) fn key(number: u8) -> CellId {
    CellId {
        bucket: BucketName::parse("carts").unwrap(),
        key: Key::parse(&format!("key/{number}")).unwrap(),
        field: Field::NONE,
    }
}

/// An own record of a log.
struct Own {
    at: Anchor,
    changes: Vec<Change>,
    highest_stamp: Hlc,
    floor: Hlc,
}

pub(super) struct Region {
    pub fold: Fold,
    pub store: Store,
    own: Vec<Own>,
    folded: Vec<(Fold, MessageId, Verdict)>,
    ids: u64,
}

impl Region {
    pub(super) fn new(region: &str) -> Self {
        let log = LogName {
            set: SetName::parse("shop").unwrap(),
            region: name(region),
            shard: Shard {
                group: GroupName::parse("default").unwrap(),
                partition: 0,
            },
        };
        let mut region = Self {
            fold: Fold::new(log),
            store: Store::default(),
            own: Vec::new(),
            folded: Vec::new(),
            ids: 0,
        };
        let message_id = region.id();
        let life = Record::Life(LifeRecord {
            message_id,
            link: LifeLink {
                life: Life { number: 1, nonce: 7 },
                parent: None,
                fork: Sequence::NONE,
            },
            lost_before: false,
        });
        region.append(1, life, SubjectToken::Agent, Vec::new());
        let membership = Membership {
            number: 1,
            members: REGIONS.into_iter().map(name).collect(),
            fenced: Vec::new(),
            groups: Vec::new(),
            clock: ClockLimits::default(),
        };
        let message_id = region.id();
        let record = Record::Membership {
            message_id,
            membership,
        };
        region.append(1, record, SubjectToken::Agent, Vec::new());
        region
    }

    pub(super) fn name(&self) -> &RegionName {
        &self.fold.log().region
    }

    /// Identifiers differ between regions.
    fn id(&mut self) -> MessageId {
        self.ids += 1;
        MessageId(
            self.ids * 1000
                + self.name().as_str().len() as u64 * 100
                + u64::from(self.name().as_str().as_bytes()[0]),
        )
    }

    fn fold(&mut self, now: u64, record: Record, token: &SubjectToken) -> Verdict {
        let header = Header {
            set: self.fold.log().set.clone(),
            shard: self.fold.log().shard.clone(),
            record,
            body: BodySeal::default(),
            stages: StageTimes::default(),
        };
        let header = Header::decode(&header.encode()).unwrap();
        let verdict = self.fold.apply(Message {
            sequence: self.fold.at().sequence.next(),
            timestamp: Wall::from_millis(now),
            token: Some(token),
            header: Ok(&header),
        });
        let verdict = verdict.unwrap();
        let id = header.message_id();
        self.folded.push((self.fold.clone(), id, verdict.clone()));
        self.store.collect(self.fold.collected());
        verdict
    }

    fn append(&mut self, now: u64, record: Record, token: SubjectToken, changes: Vec<Change>) -> Verdict {
        let verdict = self.fold(now, record, &token);
        let Verdict::Accepted(accepted) = &verdict else {
            return verdict;
        };
        for change in &changes {
            self.store.apply(change.clone(), Wall::from_millis(now));
        }
        if accepted.carries_own_stamp() {
            self.own.push(Own {
                at: self.fold.at(),
                changes,
                highest_stamp: self.fold.highest_stamp(),
                floor: self.fold.own_floor(),
            });
        }
        verdict
    }

    pub(super) fn write(&mut self, now: u64, number: u8, deletes: bool, value: u64) -> Change {
        let stamp = Hlc::at(Wall::from_millis(now));
        let change = Change {
            id: key(number),
            version: Version {
                hlc: stamp,
                region: self.name().clone(),
                writer: WriterId(1),
            },
            seen: Seen::default(),
            expires_at: None,
            op: match deletes {
                true => Op::Delete,
                false => Op::Put {
                    value: format!("value {value}").into(),
                    content_type: ContentType::default(),
                },
            },
            trace: None,
        };
        let record = Record::Batch(Local {
            message_id: self.id(),
            writer: WriterId(1),
            lowest_stamp: stamp,
            highest_stamp: stamp,
        });
        let token = SubjectToken::Origin(self.name().clone());
        let verdict = self.append(now, record, token, vec![change.clone()]);
        assert!(
            matches!(verdict, Verdict::Accepted(Accepted::Batch(_))),
            "{verdict:?}"
        );
        change
    }

    pub(super) fn mark(&mut self, now: u64) {
        let record = Record::Mark(MarkRecord {
            message_id: self.id(),
            life: self.fold.lineage().current().unwrap(),
            writer: WriterId(1),
            hlc: Hlc::at(Wall::from_millis(now)),
            described: self.fold.at(),
            agents: Vec::new(),
        });
        self.append(now, record, SubjectToken::Agent, Vec::new());
    }

    pub(super) fn reclaim(&mut self) {
        self.store.reclaim(Hlc::from_bits(u64::MAX), usize::MAX);
    }

    pub(super) fn cursor(&self, origin: &RegionName) -> Sequence {
        let held = self.fold.origin(origin);
        held.map_or(Sequence::NONE, |held| held.cursor.position.sequence)
    }

    /// The next range of a lane, through at most so many own records.
    pub(super) fn range_after(&self, cursor: Sequence, records: u64) -> Option<(Range, Vec<Change>)> {
        let after = self.own.iter().filter(|own| own.at.sequence > cursor);
        let sent: Vec<_> = after
            .take(usize::try_from(records).unwrap_or(usize::MAX))
            .collect();
        let last = sent.last()?;
        let range = Range {
            origin: self.name().clone(),
            lineage: self.fold.lineage().clone(),
            previous: self.message_at(cursor),
            first: cursor.next(),
            through: last.at,
            highest_stamp: last.highest_stamp,
            admission_floor: last.floor,
        };
        let changes = sent.iter().flat_map(|own| own.changes.clone());
        Some((range, changes.collect()))
    }

    fn message_at(&self, sequence: Sequence) -> MessageId {
        let at = self.folded_ids().find(|at| at.sequence == sequence);
        at.map_or(MessageId(0), |at| at.message_id)
    }

    fn folded_ids(&self) -> impl Iterator<Item = Anchor> {
        self.folded.iter().map(|(fold, ..)| fold.at())
    }

    pub(super) fn receive(&mut self, now: u64, range: Range, changes: Vec<Change>) {
        let token = SubjectToken::Origin(range.origin.clone());
        let verdict = self.append(now, Record::Range(range), token, changes);
        assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
    }

    pub(super) fn append_sync(&mut self, now: u64, record: Record, body: Bytes) {
        let verdict = self.fold(now, record, &SubjectToken::Agent);
        if let Verdict::Accepted(Accepted::Sync(record)) = verdict
            && let SyncStep::Cells { floors, .. } = record.step
        {
            let body = SyncBody::decode(&body).unwrap();
            body.apply(&mut self.store, floors, self.fold.floor(), Wall::from_millis(now));
        }
    }

    /// The machine of this region's steward; it knows what was folded so far.
    pub(super) fn target(&mut self, seed: u128) -> Target {
        let log = self.fold.log().clone();
        Target::new(log, WriterId(9), RATE, seed)
    }

    /// Gives the machine what was folded last.
    pub(super) fn pass_on(&self, target: &mut Target) {
        if let Some((fold, id, verdict)) = self.folded.last() {
            target.handle_message(fold, *id, verdict);
        }
    }

    pub(super) fn answer(&self, request: &Request) -> Reply {
        answer(
            request,
            &Source {
                agent: &ProcessName::parse("agent-1").unwrap(),
                history: History {
                    run: WriterId(1),
                    rewinds: 0,
                },
                fold: &self.fold,
                store: &self.store,
                serves: true,
            },
        )
    }

    pub(super) fn cell(&self, number: u8) -> Option<&Cell> {
        self.store.held(&key(number)).map(|held| &held.cell)
    }

    pub(super) fn value(&self, number: u8) -> Option<Bytes> {
        let cell = self.cell(number)?;
        cell.live_value(Wall::from_millis(0))
            .map(|(value, _)| value.clone())
    }
}
