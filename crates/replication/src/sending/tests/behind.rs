//! A lane that is behind: what it gathers, how that leaves, and the state of the lane afterwards.

use super::*;
use crate::body;
use crate::cell::{CellId, ContentType, Field};
use crate::change::{Change, Op};
use crate::header::Codec;
use crate::names::{BucketName, Key};
use crate::seen::Seen;
use crate::version::Version;

/// A body with one put of `key`, stamped `n`.
fn put(key: &str, n: u64) -> &'static [u8] {
    let change = Change {
        id: CellId {
            bucket: BucketName::parse("b").expect("a valid name"),
            key: Key::parse(key).expect("a valid key"),
            field: Field::NONE,
        },
        version: Version {
            hlc: Hlc::from_bits(n),
            region: log().region,
            writer: WriterId(1),
        },
        seen: Seen::default(),
        expires_at: None,
        op: Op::Put {
            value: vec![b'v'; 2000].into(),
            content_type: ContentType::default(),
        },
        trace: None,
    };
    body::encode(&log().region, &[change]).to_vec().leak()
}

/// A lane that has sent its first range, and whose window has no room for another until the first
/// is acknowledged.
fn without_credit() -> TestLane {
    let mut lane = TestLane::new(0);
    lane.write(put("k", 1));
    lane.connect(&LaneReport {
        window: 1,
        ..report(None)
    });
    lane.read_all();
    assert_eq!(lane.sent().len(), 1);
    lane
}

/// A range that left: first, through, codec, and its keys with their stamps.
type Left = (u64, u64, Codec, Vec<(String, u64)>);

fn leaving(lane: &mut TestLane) -> Vec<Left> {
    std::iter::from_fn(|| lane.sending.poll_transmit(lane.now))
        .map(|frame| {
            let header = Header::decode(&frame.header).expect("a sound header");
            assert_eq!(header.body.check(&frame.body), Ok(()));
            let Record::Range(range) = header.record else {
                panic!("not a range")
            };
            let changes = body::open(header.body.codec, &log().region, frame.body).expect("a sound body");
            assert_eq!(changes.len(), header.body.changes as usize);
            let named = |change: Change| (change.id.key.as_str().to_owned(), change.version.hlc.bits());
            let changes = changes.into_iter().map(named).collect();
            (
                range.first.0,
                range.through.sequence.0,
                header.body.codec,
                changes,
            )
        })
        .collect()
}

#[test]
fn what_waits_is_packed_into_one_range_and_later_bodies_pass() {
    let mut lane = without_credit();
    (2..200).for_each(|n| lane.write(put(["hot", "other"][usize::from(n == 100)], n)));
    lane.read_all();
    assert!(
        lane.sending
            .poll_timeout()
            .is_some_and(|(_, deadline)| deadline == Deadline::Behind)
    );
    lane.wait(limits::LANE_BEHIND.as_millis() as u64);
    lane.read_all();
    assert!(leaving(&mut lane).is_empty(), "there is no credit yet");
    lane.sending.handle_ack(lane.now, &report(Some(cursor(2))));
    let left = leaving(&mut lane);
    let [(3, 200, Codec::Zstd { .. }, changes)] = &left[..] else {
        panic!("{left:?}")
    };
    assert_eq!(changes, &[("other".to_owned(), 100), ("hot".to_owned(), 199)]);
    assert_eq!(lane.sending.spared().changes, 196);

    lane.sending.handle_ack(lane.now, &report(Some(cursor(200))));
    (200..203).for_each(|n| lane.write(put("hot", n)));
    lane.read_all();
    let left = leaving(&mut lane);
    let [(201, 203, Codec::Plain, changes)] = &left[..] else {
        panic!("{left:?}")
    };
    assert_eq!(changes.len(), 3);
}

#[test]
fn behind_a_full_link_a_lane_waits_for_no_earlier_deadline() {
    let mut lane = TestLane::new(1);
    lane.connect(&report(None));
    lane.read_all();
    assert_eq!(lane.sent().len(), 1);
    lane.sending.handle_link(true);
    lane.write(put("hot", 2));
    lane.read_all();
    for _ in 0..200 {
        lane.wait(1);
        let due = lane.sending.poll_timeout();
        assert!(due.is_none_or(|(due, _)| due > lane.now.mono), "{due:?}");
    }
    lane.write(put("hot", 3));
    lane.read_all();
    lane.sending.handle_link(false);
    let left = leaving(&mut lane);
    let [(.., changes)] = &left[..] else {
        panic!("{left:?}")
    };
    assert_eq!(
        changes,
        &[("hot".to_owned(), 3)],
        "the older one is conflated away"
    );
}

#[test]
fn an_undecodable_body_travels_as_it_is_and_ends_the_window() {
    let mut lane = without_credit();
    for n in 2..300 {
        lane.write(if n == 150 { b"no body" } else { put("hot", n) });
    }
    lane.read_all();
    lane.wait(limits::LANE_BEHIND.as_millis() as u64);
    lane.read_all();
    let mut acknowledged = 2;
    let mut frames = vec![];
    while acknowledged < 300 {
        let wide = LaneReport {
            window: 1_000_000,
            ..report(Some(cursor(acknowledged)))
        };
        lane.sending.handle_ack(lane.now, &wide);
        lane.wait(limits::LANE_GATHER.as_millis() as u64);
        let frame = lane
            .sending
            .poll_transmit(lane.now)
            .expect("a range that may leave");
        let header = Header::decode(&frame.header).expect("a sound header");
        let Record::Range(range) = header.record else {
            panic!("not a range")
        };
        assert_eq!(range.first.0, acknowledged + 1);
        acknowledged = range.through.sequence.0;
        frames.push(frame);
    }
    let undecodable = |frame: &RangeFrame| frame.body.windows(7).any(|part| part == b"no body");
    let at = frames.iter().position(undecodable).expect("it travels");
    assert!(at > 0 && at + 1 < frames.len(), "range {at} of {}", frames.len());
    assert!(frames[0].body.len() < 3000, "what was before it is gathered");
}

#[test]
fn a_cursor_within_a_sent_range_begins_the_lane_again_there() {
    let mut lane = without_credit();
    (2..6000).for_each(|n| lane.write(put("hot", n)));
    lane.read_all();
    lane.wait(limits::LANE_BEHIND.as_millis() as u64);
    lane.read_all();
    lane.sending.handle_ack(lane.now, &report(Some(cursor(2))));
    let [(3, 6000, ..)] = leaving(&mut lane)[..] else {
        panic!("not one range")
    };
    lane.sending.handle_ack(lane.now, &report(Some(cursor(50))));
    assert_eq!(
        lane.sending.state(),
        LaneState::Reading,
        "50 is older than what is remembered"
    );
    lane.start();
    lane.read_all();
    assert_eq!(lane.sending.verified(), Some(cursor(50)));

    lane.sending.handle_ack(lane.now, &report(Some(cursor(6000))));
    lane.read_all();
    assert_eq!(lane.sending.verified(), Some(cursor(6000)));
    assert_eq!(lane.sending.poll_event(), None);
}
