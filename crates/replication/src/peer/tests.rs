use proptest::prelude::*;

use super::*;
use crate::coordinates::{Life, MessageId};

fn life() -> impl Strategy<Value = Life> {
    (any::<u64>(), any::<u64>()).prop_map(|(number, nonce)| Life { number, nonce })
}

fn a_position() -> impl Strategy<Value = Position> {
    (life(), any::<u64>()).prop_map(|(life, sequence)| Position {
        life,
        sequence: Sequence(sequence),
    })
}

fn a_cursor() -> impl Strategy<Value = Cursor> {
    (a_position(), any::<u64>()).prop_map(|(position, id)| Cursor {
        position,
        message_id: MessageId(id),
    })
}

fn a_region() -> impl Strategy<Value = RegionName> {
    "[a-z0-9-]{1,32}".prop_map(|name| RegionName::parse(&name).expect("drawn as a valid name"))
}

fn a_process() -> impl Strategy<Value = ProcessName> {
    "[a-z0-9-]{1,32}".prop_map(|name| ProcessName::parse(&name).expect("drawn as a valid name"))
}

fn a_shard() -> impl Strategy<Value = Shard> {
    ("[a-z0-9-]{1,32}", 0..limits::PARTITIONS).prop_map(|(group, partition)| Shard {
        group: GroupName::parse(&group).expect("drawn as a valid name"),
        partition,
    })
}

fn cursors() -> impl Strategy<Value = PeerCursors> {
    let applied = proptest::option::of(a_position().prop_map(AppliedThrough));
    let peer = (
        a_region(),
        any::<bool>(),
        proptest::option::of(a_cursor()),
        applied,
        any::<bool>(),
    )
        .prop_map(|(peer, connected, cursor, applied, stuck)| PeerCursor {
            peer,
            connected,
            cursor,
            applied,
            stuck,
        });
    (a_shard(), a_process(), proptest::collection::vec(peer, 0..4)).prop_map(|(shard, gateway, peers)| {
        PeerCursors {
            shard,
            gateway,
            peers,
        }
    })
}

fn applied() -> impl Strategy<Value = AppliedPositions> {
    let stage = (0..Stage::ALL.len(), any::<u64>())
        .prop_map(|(stage, micros)| (Stage::ALL[stage], Duration::from_micros(micros)));
    let delay = (proptest::collection::vec(stage, 0..4), any::<Option<u64>>())
        .prop_map(|(stages, uncertainty)| Delay::of_stages(stages, uncertainty.map(Duration::from_micros)));
    let delay = proptest::option::of(delay);
    let origin =
        (a_region(), a_position(), any::<u64>(), delay).prop_map(|(origin, position, appended, delay)| {
            OriginApplied {
                origin,
                applied: AppliedThrough(position),
                appended: Wall::from_micros(appended),
                delay,
            }
        });
    let own = proptest::option::of(a_position().prop_map(AppliedThrough));
    let rest = (any::<u64>(), any::<u64>(), any::<bool>());
    let runway = (a_region(), any::<u64>()).prop_map(|(peer, millis)| (peer, Duration::from_millis(millis)));
    let runways = proptest::collection::vec(runway, 0..4);
    let origins = proptest::collection::vec(origin, 0..4);
    (a_shard(), a_process(), own, rest, origins, runways).prop_map(
        |(shard, agent, own, (run, checkpointed, needs_sync), origins, runways)| AppliedPositions {
            shard,
            agent,
            run: WriterId(run),
            own,
            checkpointed: Sequence(checkpointed),
            needs_sync,
            origins,
            runways,
        },
    )
}

fn doubt() -> impl Strategy<Value = PeerDoubt> {
    let landmarks = proptest::collection::vec(a_cursor(), 0..limits::LANDMARKS);
    let lineage = crate::header::tests::lineage();
    (a_shard(), a_process(), a_region(), a_cursor(), landmarks, lineage).prop_map(
        |(shard, gateway, peer, cursor, landmarks, lineage)| PeerDoubt {
            shard,
            gateway,
            peer,
            cursor,
            landmarks,
            lineage,
        },
    )
}

proptest! {
    #[test]
    fn a_doubt_round_trips(message in doubt()) {
        prop_assert_eq!(PeerDoubt::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn cursors_round_trip(message in cursors()) {
        prop_assert_eq!(PeerCursors::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn applied_positions_round_trip(message in applied()) {
        prop_assert_eq!(AppliedPositions::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _: Result<PeerCursors, InvalidPeerMessage> = PeerCursors::decode(&bytes);
        let _: Result<AppliedPositions, InvalidPeerMessage> = AppliedPositions::decode(&bytes);
        let _: Result<PeerDoubt, InvalidPeerMessage> = PeerDoubt::decode(&bytes);
    }
}
