use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

pub(crate) fn life() -> impl Strategy<Value = Life> {
    (any::<u64>(), any::<u64>()).prop_map(|(number, nonce)| Life { number, nonce })
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9-]{1,32}"
}

pub(crate) fn region_name() -> impl Strategy<Value = RegionName> {
    name().prop_map(|name| RegionName::parse(&name).expect("drawn as a valid name"))
}

fn anchor() -> impl Strategy<Value = Anchor> {
    (any::<u64>(), any::<u64>()).prop_map(|(sequence, id)| Anchor {
        sequence: Sequence(sequence),
        message_id: MessageId(id),
    })
}

pub(crate) fn lineage() -> impl Strategy<Value = Lineage> {
    vec((any::<u64>(), any::<u64>()), 1..5).prop_map(|lives| {
        let mut lineage = Lineage::default();
        for (at, (nonce, fork)) in lives.into_iter().enumerate() {
            let life = Life {
                number: at as u64 + 1,
                nonce,
            };
            assert!(lineage.begin(LifeLink {
                life,
                parent: lineage.current(),
                fork: Sequence(fork)
            }));
        }
        lineage
    })
}

fn local() -> impl Strategy<Value = Local> {
    (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(id, writer, a, b)| Local {
        message_id: MessageId(id),
        writer: WriterId(writer),
        lowest_stamp: Hlc::from_bits(a.min(b)),
        highest_stamp: Hlc::from_bits(a.max(b)),
    })
}

fn range() -> impl Strategy<Value = Range> {
    (
        region_name(),
        lineage(),
        1..u64::MAX,
        0u64..1000,
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
    )
        .prop_map(|(origin, lineage, first, more, previous, id, stamp)| Range {
            origin,
            lineage,
            previous: MessageId(previous),
            first: Sequence(first),
            through: Anchor {
                sequence: Sequence(first.saturating_add(more)),
                message_id: MessageId(id),
            },
            highest_stamp: Hlc::from_bits(stamp),
            admission_floor: Hlc::ZERO,
        })
}

pub(crate) fn membership() -> impl Strategy<Value = Membership> {
    (
        any::<u64>(),
        vec(region_name(), 0..4),
        vec(region_name(), 0..2),
        vec(name(), 0..3),
        0u64..1 << 40,
        0u64..1 << 40,
    )
        .prop_map(|(number, members, fenced, groups, ahead, behind)| Membership {
            number,
            members,
            fenced,
            groups: groups
                .iter()
                .map(|g| GroupName::parse(g).expect("drawn as a valid name"))
                .collect(),
            clock: ClockLimits {
                max_ahead: Duration::from_millis(ahead),
                max_behind: Duration::from_millis(behind),
            },
        })
}

fn record() -> impl Strategy<Value = Record> {
    let id = any::<u64>().prop_map(MessageId);
    let stamp = any::<u64>().prop_map(Hlc::from_bits);
    let writer = any::<u64>().prop_map(WriterId);
    prop_oneof![
        local().prop_map(Record::Batch),
        (local(), any::<bool>()).prop_map(|(local, ended)| Record::Restored { local, ended }),
        range().prop_map(Record::Range),
        range().prop_map(Record::Gap),
        (id.clone(), life(), writer.clone(), stamp.clone(), anchor()).prop_map(
            |(message_id, life, writer, hlc, described)| Record::Mark(MarkRecord {
                message_id,
                life,
                writer,
                hlc,
                described,
                agents: Vec::new(),
            })
        ),
        (id.clone(), writer, stamp).prop_map(|(message_id, writer, hlc)| Record::Barrier(Barrier {
            message_id,
            writer,
            hlc
        })),
        (
            id.clone(),
            1..u64::MAX,
            any::<u64>(),
            proptest::option::of(any::<u64>()),
            any::<u64>()
        )
            .prop_map(
                |(message_id, number, nonce, parent, fork)| Record::Life(LifeRecord {
                    message_id,
                    link: LifeLink {
                        life: Life { number, nonce },
                        parent: parent.map(|nonce| Life {
                            number: number - 1,
                            nonce
                        }),
                        fork: Sequence(fork),
                    },
                    lost_before: false
                })
            ),
        (id, membership()).prop_map(|(message_id, membership)| Record::Membership {
            message_id,
            membership
        }),
    ]
}

pub(crate) fn header() -> impl Strategy<Value = Header> {
    (
        name(),
        name(),
        0..limits::PARTITIONS,
        record(),
        any::<[u32; 3]>(),
        any::<[u64; 9]>(),
        proptest::option::of(any::<u32>()),
    )
        .prop_map(|(set, group, partition, record, seal, t, packed)| Header {
            set: SetName::parse(&set).expect("drawn as a valid name"),
            shard: Shard {
                group: GroupName::parse(&group).expect("drawn as a valid name"),
                partition,
            },
            body: BodySeal {
                bytes: seal[0],
                crc32c: seal[1],
                changes: seal[2],
                codec: match packed {
                    Some(plain_bytes) if record.kind() == Kind::Range => Codec::Zstd { plain_bytes },
                    _ => Codec::Plain,
                },
            },
            record,
            stages: StageTimes {
                requested: t[0],
                published: t[1],
                appended: t[2],
                read: t[3],
                sent: t[4],
                received: t[5],
                offset: t[6].cast_signed(),
                uncertainty: t[7],
                oldest_appended: t[8],
            },
        })
}

proptest! {
    #[test]
    fn a_header_round_trips(header in header()) {
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn any_bytes_are_a_header_or_an_error(bytes in vec(any::<u8>(), 0..400)) {
        let _: Result<Header, HeaderError> = Header::decode(&bytes);
    }

    #[test]
    fn a_damaged_header_is_a_header_or_an_error(header in header(), at: prop::sample::Index, flip in 1u8..) {
        let mut bytes = header.encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _: Result<Header, HeaderError> = Header::decode(&bytes);
    }
}

#[test]
fn an_unknown_kind_is_distinct_from_garbage() {
    let wire = wire::Header {
        set: "s".into(),
        group: "g".into(),
        kind: 70,
        ..wire::Header::default()
    };
    assert_eq!(
        Header::decode(&wire.encode_to_vec()),
        Err(HeaderError::Unknown {
            what: "kind",
            number: 70
        })
    );
}

#[test]
fn an_unknown_codec_and_one_where_it_may_not_be_stop_the_shard() {
    let stops = |kind: Kind, codec: u32| {
        let wire = wire::Header {
            set: "s".into(),
            group: "g".into(),
            kind: kind as u32,
            codec,
            ..wire::Header::default()
        };
        let what = "codec";
        Header::decode(&wire.encode_to_vec()) == Err(HeaderError::Unknown { what, number: codec })
    };
    assert!(stops(Kind::Range, 2) && stops(Kind::Batch, 1) && stops(Kind::Restored, 1));
    assert!(!stops(Kind::Range, 1) && !stops(Kind::Batch, 0));
}

#[test]
fn an_earlier_lifes_position_is_shared_up_to_the_least_fork() {
    let mut lineage = Lineage::default();
    let lives: Vec<Life> = (1..=3)
        .map(|number| Life {
            number,
            nonce: number,
        })
        .collect();
    for (life, fork) in lives.iter().zip([0, 90, 70]) {
        assert!(lineage.begin(LifeLink {
            life: *life,
            parent: lineage.current(),
            fork: Sequence(fork)
        }));
    }
    let shared = |life: usize, sequence| {
        lineage.shared_through(Position {
            life: lives[life],
            sequence: Sequence(sequence),
        })
    };
    assert_eq!(shared(0, 100), Some(Sequence(70)));
    assert_eq!(shared(1, 60), Some(Sequence(60)));
    assert_eq!(shared(2, 100), Some(Sequence(100)));
    let stranger = Position {
        life: Life { number: 2, nonce: 9 },
        sequence: Sequence(1),
    };
    assert_eq!(lineage.shared_through(stranger), None);
}
