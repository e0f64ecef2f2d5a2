//! The fold against arbitrary logs: what two gateways, retries and lost tails can leave in a
//! stream.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::cell::Digest;

#[derive(Debug, Clone)]
struct Stored {
    at: u64,
    token: SubjectToken,
    header: Result<Header, HeaderError>,
}

/// What may be appended: local messages with repeats, ranges that two gateways cut at different
/// places, garbage.
fn stored() -> impl Strategy<Value = Stored> {
    let record = prop_oneof![
        4 => (1u64..30, 99_000u64..101_000).prop_map(|(id, stamp)| batch(id, stamp)),
        6 => (1u64..40, 0u64..8, 1u64..4).prop_map(|(first, more, lives)| {
            let forks: Vec<u64> = (0..lives).map(|n| n * 10).collect();
            range("us-east", &lineage(&forks), first, first + more)
        }),
        1 => (1u64..30, 99_000u64..101_000, 1u64..40, 1u64..3)
            .prop_map(|(id, stamp, described, number)| mark(1000 + id, stamp, described, life(number))),
        1 => (1u64..20, 100u64..20_000).prop_map(|(number, behind)| clock_record(number, 500, behind)),
        1 => (2u64..4, 0u64..40).prop_map(|(number, fork)| life_record(LifeLink {
            life: life(number), parent: Some(life(number - 1)), fork: Sequence(fork),
        })),
    ];
    let header = prop_oneof![
        20 => record.prop_map(|record| Ok(header(&log("eu-west"), record))),
        1 => Just(Err(HeaderError::Malformed("not protobuf"))),
    ];
    (99_000u64..101_000, header).prop_map(|(at, header)| {
        let token = match header.as_ref().map(|header| &header.record) {
            Ok(Record::Batch(_)) => SubjectToken::Origin(name("eu-west")),
            Ok(Record::Range(range)) => SubjectToken::Origin(range.origin.clone()),
            _ => SubjectToken::Agent,
        };
        Stored { at, token, header }
    })
}

fn stream() -> impl Strategy<Value = Vec<Stored>> {
    vec(stored(), 1..120).prop_map(|mut messages| {
        let first = Stored {
            at: 99_000,
            token: SubjectToken::Agent,
            header: Ok(header(&log("eu-west"), first_life())),
        };
        messages.insert(0, first);
        messages
    })
}

fn read(fold: &mut Fold, stored: &Stored) -> Verdict {
    fold.apply(Message {
        sequence: fold.at().sequence.next(),
        timestamp: Wall::from_millis(stored.at),
        token: Some(&stored.token),
        header: stored.header.as_ref(),
    })
    .expect("the next sequence was given")
}

proptest! {
    #[test]
    fn each_range_of_an_origin_counts_once_in_order_without_holes(stream in stream()) {
        let mut fold = Fold::new(log("eu-west"));
        let mut through: Option<Position> = None;
        for stored in &stream {
            let Verdict::Accepted(Accepted::Range { cursor, .. }) = read(&mut fold, stored) else { continue };
            let Ok(Header { record: Record::Range(range), .. }) = &stored.header else { panic!("not a range") };
            let expected = through.map_or(Some(Sequence::NONE), |held| range.lineage.shared_through(held));
            prop_assert_eq!(expected.map(Sequence::next), Some(range.first));
            prop_assert_eq!(cursor.position.sequence, range.through.sequence);
            prop_assert!(through.is_none_or(|held| cursor.position.life.number >= held.life.number));
            through = Some(cursor.position);
        }
    }

    #[test]
    fn scenario_04_a_log_appended_repeatedly_counts_no_write_twice(stream in stream()) {
        let mut fold = Fold::new(log("eu-west"));
        stream.iter().for_each(|stored| drop(read(&mut fold, stored)));
        for _ in 0..20 {
            for stored in &stream {
                let verdict = read(&mut fold, stored);
                prop_assert!(!matches!(verdict, Verdict::Accepted(Accepted::Batch(_))), "{stored:?} counts again");
            }
        }
    }

    #[test]
    fn a_local_message_counts_once_at_most_within_the_clock_limits(stream in stream()) {
        let mut fold = Fold::new(log("eu-west"));
        let mut accepted = std::collections::BTreeSet::new();
        for stored in &stream {
            let floor = fold.admission_floor();
            if let Verdict::Accepted(Accepted::Batch(local)) = read(&mut fold, stored) {
                prop_assert!(accepted.insert((local.message_id, local.lowest_stamp)), "{:?} counted twice", local);
                prop_assert!(local.lowest_stamp > floor);
                prop_assert!(local.highest_stamp.millis() <= stored.at + 500);
            }
        }
    }

    #[test]
    fn the_admission_floor_never_goes_back(stream in stream()) {
        let mut fold = Fold::new(log("eu-west"));
        for stored in &stream {
            let floor = fold.admission_floor();
            read(&mut fold, stored);
            prop_assert!(fold.admission_floor() >= floor);
        }
    }

    #[test]
    fn a_reader_resumed_from_encoded_state_gives_the_same_verdicts(
        stream in stream(), cut: prop::sample::Index
    ) {
        let mut whole = Fold::new(log("eu-west"));
        let (before, after) = stream.split_at(cut.index(stream.len()));
        for stored in before {
            read(&mut whole, stored);
        }
        let mut resumed = Fold::decode(log("eu-west"), &whole.encode()).expect("just encoded");
        prop_assert_eq!(&resumed, &whole);
        for stored in after {
            prop_assert_eq!(read(&mut resumed, stored), read(&mut whole, stored));
        }
        prop_assert_eq!(resumed, whole);
    }

    #[test]
    fn a_rewound_reader_agrees_with_one_that_saw_no_lost_tail(
        kept in stream(), lost in vec(stored(), 0..30), after in vec(stored(), 0..30)
    ) {
        let mut fold = Fold::new(log("eu-west"));
        for stored in &kept {
            read(&mut fold, stored);
        }
        let at_fork = fold.encode();
        for stored in &lost {
            read(&mut fold, stored);
        }
        let mut rewound = Fold::decode(log("eu-west"), &at_fork).expect("just encoded");
        let mut fresh = Fold::new(log("eu-west"));
        for stored in &kept {
            read(&mut fresh, stored);
        }
        let Some(parent) = fresh.lineage().current() else { panic!("the stream begins with a life") };
        let link = LifeLink {
            life: Life { number: parent.number + 1, nonce: 7 },
            parent: Some(parent),
            fork: fresh.at().sequence,
        };
        let begin = Stored {
            at: 101_000,
            token: SubjectToken::Agent,
            header: Ok(header(&log("eu-west"), life_record(link))),
        };
        for stored in after.iter().chain([&begin]) {
            prop_assert_eq!(read(&mut rewound, stored), read(&mut fresh, stored));
        }
        prop_assert_eq!(rewound, fresh);
    }

    #[test]
    fn a_mark_body_round_trips(stream in stream(), wall: u64, digest: u128, cells: u64) {
        let mut fold = Fold::new(log("eu-west"));
        for stored in &stream {
            read(&mut fold, stored);
        }
        let body = MarkBody { wall: Wall::from_micros(wall), fold, digest: Digest(digest), cells };
        prop_assert_eq!(MarkBody::decode(log("eu-west"), &body.encode()), Ok(body));
    }

    #[test]
    fn any_bytes_are_a_state_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        let _: Result<Fold, InvalidState> = Fold::decode(log("eu-west"), &bytes);
        let _: Result<MarkBody, InvalidState> = MarkBody::decode(log("eu-west"), &bytes);
    }
}
