use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::coordinates::{AppliedThrough, Cursor, MessageId, Position, Sequence, Shard};
use crate::header::tests::{life, region_name};
use crate::names::GroupName;

fn words() -> impl Strategy<Value = String> {
    "[ -~é]{0,40}"
}

fn body() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn wall() -> impl Strategy<Value = Wall> {
    any::<u64>().prop_map(Wall::from_micros)
}

fn shard() -> impl Strategy<Value = Shard> {
    ("[a-z0-9-]{1,32}", 0..limits::PARTITIONS).prop_map(|(group, partition)| Shard {
        group: GroupName::parse(&group).expect("drawn as a valid name"),
        partition,
    })
}

fn party() -> impl Strategy<Value = Party> {
    let names = ("[a-z0-9-]{1,32}", region_name(), "[a-z0-9-]{1,32}");
    (names, any::<[u8; 16]>(), any::<u64>(), any::<u64>()).prop_map(
        |((set, region, process), set_digest, generation, run)| Party {
            set: SetName::parse(&set).expect("drawn as a valid name"),
            set_digest,
            generation,
            region,
            process: ProcessName::parse(&process).expect("drawn as a valid name"),
            run: WriterId(run),
        },
    )
}

fn position() -> impl Strategy<Value = Position> {
    (life(), any::<u64>()).prop_map(|(life, sequence)| Position {
        life,
        sequence: Sequence(sequence),
    })
}

fn hold() -> impl Strategy<Value = Hold> {
    prop_oneof![
        Just(Hold::Clock),
        Just(Hold::UnknownLineage),
        Just(Hold::OlderLife),
        Just(Hold::LogNotWritable),
        Just(Hold::LogFull),
        Just(Hold::UpgradeNeeded),
        Just(Hold::Starting),
        (100u32..).prop_map(Hold::Other),
    ]
}

fn report() -> impl Strategy<Value = LaneReport> {
    let cursor = (position(), any::<u64>()).prop_map(|(position, id)| Cursor {
        position,
        message_id: MessageId(id),
    });
    (
        (shard(), any::<u64>(), any::<u32>(), any::<bool>()),
        proptest::option::of(life()),
        proptest::option::of(cursor),
        proptest::option::of(position().prop_map(AppliedThrough)),
        proptest::option::of(hold()),
    )
        .prop_map(
            |((shard, generation, window, needs_sync), life, cursor, applied, hold)| LaneReport {
                shard,
                generation,
                life,
                cursor,
                applied,
                window,
                hold,
                needs_sync,
            },
        )
}

fn goodbye() -> impl Strategy<Value = Goodbye> {
    let reason = prop_oneof![
        prop::sample::select(GoodbyeReason::KNOWN.to_vec()),
        (100u32..).prop_map(GoodbyeReason::Other),
    ];
    (reason, words()).prop_map(|(reason, text)| Goodbye { reason, text })
}

fn versions() -> impl Strategy<Value = Versions> {
    (any::<u32>(), any::<u32>()).prop_map(|(one, other)| Versions {
        least: one.min(other),
        newest: one.max(other),
    })
}

fn greeting() -> impl Strategy<Value = Frame> {
    let offer = (shard(), proptest::option::of(life())).prop_map(|(shard, life)| LaneOffer { shard, life });
    prop_oneof![
        (versions(), party(), vec(offer, 0..4)).prop_map(|(versions, party, lanes)| Frame::Hello(Hello {
            versions,
            party,
            lanes
        })),
        (any::<u32>(), party(), vec(report(), 0..4)).prop_map(|(version, party, lanes)| Frame::Welcome(
            Welcome {
                version,
                party,
                lanes
            }
        )),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let outcome = prop_oneof![
        body().prop_map(Ok),
        "[ -~]{1,40}".prop_map(|reason| Err(NoAnswer::because(&reason)))
    ];
    prop_oneof![
        greeting(),
        report().prop_map(Frame::Ack),
        report().prop_map(Frame::Reset),
        (any::<u64>(), wall()).prop_map(|(number, sent)| Frame::Ping(Ping { number, sent })),
        (any::<u64>(), wall(), wall(), wall()).prop_map(|(number, ping_sent, received, sent)| {
            Frame::Pong(Pong {
                number,
                ping_sent,
                received,
                sent,
            })
        }),
        Just(Frame::Pause),
        Just(Frame::Resume),
        (any::<u64>(), words(), body()).prop_map(|(id, method, body)| Frame::Request(Request {
            id,
            method,
            body
        })),
        (any::<u64>(), outcome).prop_map(|(id, outcome)| Frame::Response(Response { id, outcome })),
        (words(), words()).prop_map(|(kind, text)| Frame::Event(Event { kind, text })),
        goodbye().prop_map(Frame::Goodbye),
        (shard(), any::<u64>(), body(), body()).prop_map(|(shard, generation, header, body)| {
            Frame::Range(RangeFrame {
                shard,
                generation,
                header,
                body,
            })
        }),
    ]
}

proptest! {
    #[test]
    fn a_frame_round_trips(frame in frame()) {
        prop_assert_eq!(Frame::decode(frame.encode()), Ok(frame));
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(kind in 0u8..40, bytes in vec(any::<u8>(), 0..400)) {
        let bytes = [vec![kind], bytes].concat();
        let _: Result<Frame, InvalidFrame> = Frame::decode(bytes.into());
    }

    #[test]
    fn a_damaged_frame_is_a_frame_or_an_error(frame in frame(), at: prop::sample::Index, flip in 1u8..) {
        let mut bytes = frame.encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _: Result<Frame, InvalidFrame> = Frame::decode(bytes.into());
    }

    #[test]
    fn text_of_any_length_is_cut_to_what_is_taken(text in "\\PC{0,2000}", control in any::<char>()) {
        let goodbye = Goodbye::new(GoodbyeReason::Draining, &format!("{control}{text}"));
        let frame = Frame::Goodbye(goodbye);
        prop_assert_eq!(Frame::decode(frame.encode()), Ok(frame));
    }
}

#[test]
fn an_unknown_kind_is_refused_with_its_number() {
    for kind in [0, 13, 31, 33, 255] {
        assert_eq!(
            Frame::decode(Bytes::from(vec![kind])),
            Err(InvalidFrame::UnknownKind(kind))
        );
    }
    assert_eq!(Frame::decode(Bytes::new()), Err(InvalidFrame::Empty));
}

#[test]
fn a_frame_beyond_the_bound_is_refused_unread() {
    let bytes = Bytes::from(vec![RANGE; limits::FRAME_BYTES + 1]);
    assert_eq!(
        Frame::decode(bytes),
        Err(InvalidFrame::TooLarge {
            bytes: limits::FRAME_BYTES + 1
        })
    );
}

#[test]
fn the_largest_value_fits_a_frame() {
    let range = RangeFrame {
        shard: Shard {
            group: GroupName::parse("default").expect("a valid name"),
            partition: 0,
        },
        generation: 1,
        header: vec![0; limits::MESSAGE_OVERHEAD_BYTES].into(),
        body: vec![0; limits::VALUE_BYTES + limits::MESSAGE_OVERHEAD_BYTES / 2].into(),
    };
    let frame = Frame::Range(range);
    assert_eq!(Frame::decode(frame.encode()), Ok(frame));
}

#[test]
fn a_body_is_a_slice_of_its_frame() {
    let range = RangeFrame {
        shard: Shard {
            group: GroupName::parse("default").expect("a valid name"),
            partition: 0,
        },
        generation: 1,
        header: Bytes::new(),
        body: Bytes::from_static(b"many bytes"),
    };
    let bytes = Frame::Range(range).encode();
    let within = bytes.as_ptr_range();
    let Ok(Frame::Range(range)) = Frame::decode(bytes) else {
        panic!("just encoded")
    };
    assert!(within.contains(&range.body.as_ptr()));
}

#[test]
fn a_greeting_of_too_many_lanes_is_refused() {
    for kind in [HELLO, WELCOME] {
        let mut bytes = vec![kind];
        bytes.extend([0x1a, 0].repeat(limits::LANES + 1));
        assert_eq!(
            Frame::decode(bytes.into()),
            Err(InvalidFrame::Field("number of lanes"))
        );
    }
}
