//! One sample of everything that is encoded, with every field set.

use std::time::Duration;

use bytes::Bytes;
use isthmus_replication::aside::{Entry, Kept, KeptRange, KeptWrite, Why};
use isthmus_replication::cell::{CellId, Content, ContentHash, ContentType, Field};
use isthmus_replication::change::{Change, Op};
use isthmus_replication::coordinates::{
    Anchor, AppliedThrough, Cursor, Life, MessageId, Position, Sequence, Shard, WriterId,
};
use isthmus_replication::fold::{Fold, LogName, Message, SubjectToken};
use isthmus_replication::header::{
    Barrier, BodySeal, ClockLimits, Codec, Header, LifeLink, LifeRecord, Lineage, Local, MarkRecord,
    Membership, Range, Record, StageTimes,
};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::link::frame::{
    Event, Frame, Goodbye, GoodbyeReason, Hello, Hold, LaneOffer, LaneReport, NoAnswer, Party, Ping, Pong,
    RangeFrame, Request, Response, Versions, Welcome,
};
use isthmus_replication::names::{BucketName, GroupName, Key, ProcessName, RegionName, SetName};
use isthmus_replication::seen::{Seen, Stamp};
use isthmus_replication::time::Wall;
use isthmus_replication::trace::TraceContext;
use isthmus_replication::version::Version;

const LIFE: Life = Life {
    number: 2,
    nonce: 0x0123_4567_89ab_cdef,
};
const ID: MessageId = MessageId(0x1122_3344_5566_7788);
const WRITER: WriterId = WriterId(0x99aa_bbcc_ddee_ff00);
const POSITION: Position = Position {
    life: LIFE,
    sequence: Sequence(300),
};
const CURSOR: Cursor = Cursor {
    position: POSITION,
    message_id: ID,
};

pub(crate) fn region(name: &str) -> RegionName {
    RegionName::parse(name).expect("a valid name")
}

fn group() -> GroupName {
    GroupName::parse("default").expect("a valid name")
}

fn shard() -> Shard {
    Shard {
        group: group(),
        partition: 3,
    }
}

fn set() -> SetName {
    SetName::parse("shop").expect("a valid name")
}

fn stamp(counter: u64) -> Hlc {
    Hlc::from_bits(0x0001_8bcf_e568_0000 | counter)
}

fn lineage() -> Lineage {
    let first = Life { number: 1, nonce: 7 };
    let mut lineage = Lineage::default();
    assert!(lineage.begin(LifeLink {
        life: first,
        parent: None,
        fork: Sequence::NONE
    }));
    assert!(lineage.begin(LifeLink {
        life: LIFE,
        parent: Some(first),
        fork: Sequence(90)
    }));
    lineage
}

fn range() -> Range {
    Range {
        origin: region("us-east"),
        lineage: lineage(),
        previous: MessageId(0x6d5c_4b3a_2918_0716),
        first: Sequence(291),
        through: Anchor {
            sequence: Sequence(300),
            message_id: ID,
        },
        highest_stamp: stamp(9),
        admission_floor: Hlc::ZERO,
    }
}

fn local() -> Local {
    Local {
        message_id: ID,
        writer: WRITER,
        lowest_stamp: stamp(1),
        highest_stamp: stamp(2),
    }
}

fn membership() -> Membership {
    Membership {
        number: 7,
        members: vec![region("eu-west"), region("us-east")],
        fenced: vec![region("ap-south")],
        groups: vec![group()],
        clock: ClockLimits {
            max_ahead: Duration::from_millis(500),
            max_behind: Duration::from_secs(10),
        },
    }
}

pub(crate) fn header(record: Record) -> Header {
    Header {
        set: set(),
        shard: shard(),
        record,
        body: BodySeal {
            bytes: 77,
            crc32c: 0xdead_beef,
            changes: 2,
            codec: Codec::Plain,
        },
        stages: StageTimes {
            requested: 1,
            published: 2,
            appended: 3,
            read: 4,
            sent: 5,
            received: 6,
            offset: -7,
            uncertainty: 8,
            oldest_appended: 9,
        },
    }
}

/// The header of a range with a compressed body.
pub(crate) fn packed() -> Header {
    let mut packed = header(Record::Range(range()));
    packed.body.codec = Codec::Zstd { plain_bytes: 770 };
    packed
}

pub(crate) fn records() -> Vec<(&'static str, Record)> {
    vec![
        ("batch", Record::Batch(local())),
        ("range", Record::Range(range())),
        (
            "mark",
            Record::Mark(MarkRecord {
                message_id: ID,
                life: LIFE,
                writer: WRITER,
                hlc: stamp(3),
                described: Anchor {
                    sequence: Sequence(299),
                    message_id: MessageId(5),
                },
                agents: Vec::new(),
            }),
        ),
        (
            "barrier",
            Record::Barrier(Barrier {
                message_id: ID,
                writer: WRITER,
                hlc: stamp(4),
            }),
        ),
        (
            "life",
            Record::Life(LifeRecord {
                message_id: ID,
                link: lineage().links()[1],
                lost_before: false,
            }),
        ),
        (
            "membership",
            Record::Membership {
                message_id: ID,
                membership: membership(),
            },
        ),
        (
            "restored",
            Record::Restored {
                local: local(),
                ended: true,
            },
        ),
        ("gap", Record::Gap(range())),
    ]
}

pub(crate) fn changes() -> Vec<Change> {
    let mut seen = Seen::default();
    seen.note(&region("us-east"), Stamp::of_any_writer(stamp(0)));
    let id = |key: &str, field: &'static [u8]| CellId {
        bucket: BucketName::parse("carts").expect("a valid name"),
        key: Key::parse(key).expect("a valid key"),
        field: Field::new(Bytes::from_static(field)).expect("short"),
    };
    let version = |counter| Version {
        hlc: stamp(counter),
        region: region("eu-west"),
        writer: WRITER,
    };
    vec![
        Change {
            id: id("17", b""),
            version: version(1),
            seen,
            expires_at: Some(Wall::from_millis(1_700_000_000_000)),
            op: Op::Put {
                value: Bytes::from_static(b"two apples"),
                content_type: ContentType::new("text/plain").expect("short"),
            },
            trace: Some(TraceContext {
                trace_id: 1,
                span_id: 2,
                flags: 1,
            }),
        },
        Change {
            id: id("18", b"f"),
            version: version(2),
            seen: Seen::default(),
            expires_at: None,
            op: Op::Delete,
            trace: None,
        },
    ]
}

/// An entry for each reason, with each kind of content.
pub(crate) fn asides() -> Vec<(&'static str, Entry)> {
    let entry = |kept| Entry {
        shard: shard(),
        at: Wall::from_micros(1_700_000_000_123_456),
        kept,
    };
    let write = |why, content| {
        let change = changes().remove(0);
        entry(Kept::Write(KeptWrite {
            why,
            id: change.id,
            version: change.version,
            expires_at: change.expires_at,
            content,
        }))
    };
    let value = Content::Value {
        bytes: Bytes::from_static(b"two apples"),
        content_type: ContentType::new("text/plain").expect("short"),
    };
    let winner = Version {
        hlc: stamp(7),
        region: region("us-east"),
        writer: WRITER,
    };
    let range = KeptRange {
        origin: region("us-east"),
        first: Sequence(291),
        through: CURSOR,
        detail: "not protobuf".to_owned(),
        body: Bytes::from_static(b"\xff\x00"),
    };
    vec![
        ("clock", write(Why::Clock, value)),
        ("too_late", write(Why::TooLate, Content::Tombstone)),
        ("undecodable", entry(Kept::Range(range))),
        (
            "conflict",
            write(Why::Conflict { winner }, Content::Swept(ContentHash(0x0102))),
        ),
    ]
}

/// The state after a life, a membership, a batch and a range.
pub(crate) fn fold() -> Fold {
    let log = LogName {
        set: set(),
        region: region("eu-west"),
        shard: shard(),
    };
    let mut fold = Fold::new(log);
    let first = LifeLink {
        life: LIFE,
        parent: None,
        fork: Sequence::NONE,
    };
    let messages = [
        (
            SubjectToken::Agent,
            Record::Life(LifeRecord {
                message_id: ID,
                link: first,
                lost_before: false,
            }),
        ),
        (
            SubjectToken::Agent,
            Record::Membership {
                message_id: ID,
                membership: membership(),
            },
        ),
        (SubjectToken::Origin(region("eu-west")), Record::Batch(local())),
        (
            SubjectToken::Origin(region("us-east")),
            Record::Range(Range {
                first: Sequence(1),
                ..range()
            }),
        ),
    ];
    for (token, record) in &messages {
        let header = header(record.clone());
        let message = Message {
            sequence: fold.at().sequence.next(),
            timestamp: Wall::from_millis(stamp(0).millis()),
            token: Some(token),
            header: Ok(&header),
        };
        fold.apply(message).expect("the next sequence");
    }
    fold
}

pub(crate) fn frames() -> Vec<(&'static str, Frame)> {
    let party = Party {
        set: set(),
        set_digest: [0xab; 16],
        generation: 7,
        region: region("eu-west"),
        process: ProcessName::parse("gateway-1").expect("a valid name"),
        run: WRITER,
    };
    let report = LaneReport {
        shard: shard(),
        generation: 4,
        life: Some(LIFE),
        cursor: Some(CURSOR),
        applied: Some(AppliedThrough(POSITION)),
        window: 4_194_304,
        hold: Some(Hold::Clock),
        needs_sync: false,
    };
    let offer = LaneOffer {
        shard: shard(),
        life: Some(LIFE),
    };
    let wall = Wall::from_micros;
    vec![
        (
            "hello",
            Frame::Hello(Hello {
                versions: Versions { least: 1, newest: 1 },
                party: party.clone(),
                lanes: vec![offer],
            }),
        ),
        (
            "welcome",
            Frame::Welcome(Welcome {
                version: 1,
                party,
                lanes: vec![report.clone()],
            }),
        ),
        ("ack", Frame::Ack(report.clone())),
        ("reset", Frame::Reset(report)),
        (
            "ping",
            Frame::Ping(Ping {
                number: 1,
                sent: wall(2),
            }),
        ),
        (
            "pong",
            Frame::Pong(Pong {
                number: 1,
                ping_sent: wall(2),
                received: wall(3),
                sent: wall(4),
            }),
        ),
        ("pause", Frame::Pause),
        ("resume", Frame::Resume),
        (
            "request",
            Frame::Request(Request {
                id: 1,
                method: "status".into(),
                body: Bytes::from_static(b"?"),
            }),
        ),
        (
            "response",
            Frame::Response(Response {
                id: 1,
                outcome: Ok(Bytes::from_static(b"!")),
            }),
        ),
        (
            "refusal",
            Frame::Response(Response {
                id: 1,
                outcome: Err(NoAnswer::because(&"no")),
            }),
        ),
        (
            "event",
            Frame::Event(Event {
                kind: "set".into(),
                text: "differs".into(),
            }),
        ),
        (
            "goodbye",
            Frame::Goodbye(Goodbye::new(GoodbyeReason::Draining, "stops")),
        ),
        (
            "range",
            Frame::Range(RangeFrame {
                shard: shard(),
                generation: 4,
                header: Bytes::from_static(b"header"),
                body: Bytes::from_static(b"body"),
            }),
        ),
    ]
}
