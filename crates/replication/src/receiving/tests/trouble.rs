//! Failures on a receiving lane.

use super::*;

#[test]
fn an_unusable_body_becomes_a_gap_and_the_lane_goes_on() {
    let mut lane = TestLane::new();
    let garbage = Bytes::from_static(b"\xff\xff");
    let sealed = header(Record::Range(range(1, 3)), &garbage);
    lane.receiving
        .handle_range(lane.now, frame_of(&sealed, garbage.clone()))
        .expect("no violation");
    let broken = header(Record::Range(range(4, 5)), b"another body");
    lane.receiving
        .handle_range(lane.now, frame_of(&broken, Bytes::new()))
        .expect("no violation");
    let appends = lane.appends();
    for append in &appends {
        assert_eq!((&append.token, append.body.len()), (&SubjectToken::Gateway, 0));
        assert!(lane.stores(append));
        assert!(matches!(
            lane.receiving.poll_event(),
            Some(ReceivingEvent::Undecodable(_))
        ));
    }
    assert!(
        lane.head
            .origin(&origin())
            .is_some_and(|origin| origin.needs_sync())
    );
    assert_eq!(lane.cursor(), 5);
}

#[test]
fn a_range_too_large_for_the_own_log_becomes_a_gap() {
    let mut lane = TestLane::new();
    lane.take(1, 3);
    let appends = lane.appends();
    lane.receiving
        .handle_append_failed(lane.now, appends[0].id, AppendFailure::TooLarge);
    let again = lane.appends();
    assert_eq!(again[0].token, SubjectToken::Gateway);
    assert!(lane.stores(&again[0]));
}

#[test]
fn a_peer_that_breaks_the_protocol_learns_how() {
    let mut lane = TestLane::new();
    let body = Bytes::new();
    let refused = |lane: &mut TestLane, frame| {
        lane.receiving
            .handle_range(at(0), frame)
            .expect_err("a violation")
    };
    let foreign = Range {
        origin: RegionName::parse("ap-south").expect("a valid name"),
        ..range(1, 3)
    };
    assert_eq!(refused(&mut lane, frame(foreign)).label(), "origin");
    let gap = header(Record::Gap(range(1, 3)), &body);
    assert_eq!(
        refused(&mut lane, frame_of(&gap, body.clone())),
        Violation::Kind(Kind::Gap)
    );
    let other = Header {
        set: SetName::parse("other").expect("a valid name"),
        ..header(Record::Range(range(1, 3)), &body)
    };
    assert_eq!(
        refused(&mut lane, frame_of(&other, body.clone())),
        Violation::Foreign
    );
    let garbage = RangeFrame {
        header: Bytes::from_static(b"\xff"),
        ..frame(range(1, 3))
    };
    assert_eq!(
        refused(&mut lane, garbage),
        Violation::Header(HeaderError::Malformed("not protobuf"))
    );
    let ahead = RangeFrame {
        generation: 2,
        ..frame(range(1, 3))
    };
    assert_eq!(refused(&mut lane, ahead).label(), "generation");
    lane.receiving = Receiving::new(log(), origin(), Duration::ZERO, &lane.head).with_window(10);
    lane.take(1, 3);
    assert_eq!(refused(&mut lane, frame(range(4, 6))).label(), "credit");
}

#[test]
fn stamps_ahead_of_the_clock_wait_and_far_ahead_hold_the_lane() {
    let mut lane = TestLane::new();
    let ahead = |first, through, millis| {
        frame(Range {
            highest_stamp: Hlc::at(at(millis).wall),
            ..range(first, through)
        })
    };
    lane.receiving
        .handle_range(lane.now, ahead(1, 3, 100))
        .expect("an honest range");
    assert_eq!(lane.appends(), []);
    assert_eq!(lane.receiving.hold(), None);
    let due = lane.now.mono.after(Duration::from_millis(100));
    assert_eq!(
        lane.receiving.poll_timeout(lane.now),
        Some((due, Deadline::Clock))
    );
    lane.wait(100);
    let appends = lane.appends();
    assert!(lane.stores(&appends[0]));
    lane.receiving
        .handle_range(lane.now, ahead(4, 5, 5000))
        .expect("an honest range");
    assert_eq!(lane.receiving.hold(), Some(Hold::Clock));
    lane.wait(3000);
    assert_eq!(lane.receiving.hold(), None);
    assert_eq!(lane.appends(), []);
    lane.wait(1900);
    assert_eq!(firsts(&lane.appends()), [4]);
}

#[test]
fn a_log_that_answers_nothing_holds_the_lane_and_is_probed() {
    let mut lane = TestLane::new();
    lane.take(1, 3);
    for _ in 0..3 {
        let appends = lane.appends();
        lane.receiving
            .handle_append_failed(lane.now, appends[0].id, AppendFailure::Unanswered);
        lane.wait(500);
    }
    lane.take(4, 6);
    assert_eq!(lane.receiving.hold(), Some(Hold::LogNotWritable));
    let probe = lane.appends();
    assert_eq!(firsts(&probe), [1]);
    lane.receiving.handle_appended(lane.now, probe[0].id);
    assert_eq!(lane.receiving.hold(), None);
    assert_eq!(firsts(&lane.appends()), [4]);
}

#[test]
fn older_lives_and_unknown_lineages_are_refused() {
    for (lives, hold) in [(1, Hold::OlderLife), (9, Hold::UnknownLineage)] {
        let mut lane = TestLane::new();
        let second = frame(Range {
            lineage: lineage(2),
            ..range(1, 20)
        });
        assert!(matches!(
            lane.store(&SubjectToken::Origin(origin()), &header_of(&second)),
            Verdict::Accepted(_)
        ));
        while lane.receiving.poll_report().is_some() {}
        let links = lineage(lives);
        let stranger = if lives == 1 { links } else { strangers() };
        let refused = Range {
            lineage: stranger,
            ..range(21, 22)
        };
        lane.receiving
            .handle_range(lane.now, frame(refused))
            .expect("no violation");
        let Some(Frame::Reset(reset)) = lane.receiving.poll_report() else {
            panic!("no reset")
        };
        assert_eq!(reset.hold, Some(hold));
        let position = Position {
            life: Life { number: 2, nonce: 2 },
            sequence: Sequence(20),
        };
        assert_eq!(reset.cursor.map(|cursor| cursor.position), Some(position));
    }
}

/// A lineage that no longer includes its first lives.
fn strangers() -> Lineage {
    let mut lineage = Lineage::default();
    for number in 9..10 + crate::limits::LINEAGE as u64 {
        let life = Life { number, nonce: 9 };
        let parent = lineage.current();
        let fork = Sequence::NONE;
        assert!(lineage.begin(LifeLink { life, parent, fork }));
    }
    lineage
}

#[test]
fn nothing_is_taken_before_the_own_logs_first_life() {
    let empty = Fold::new(log());
    let mut receiving = Receiving::new(log(), origin(), Duration::ZERO, &empty);
    let welcome = receiving.poll_welcome();
    assert_eq!((welcome.window, welcome.hold), (0, Some(Hold::Starting)));
    let refused = receiving
        .handle_range(at(0), frame(range(1, 3)))
        .expect_err("no credit was given");
    assert_eq!(refused.label(), "credit");
}
