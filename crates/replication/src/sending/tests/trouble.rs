//! Failures of a sending lane, and the lag that shows them.

use super::*;
use crate::link::lane::Hold;

#[test]
fn a_message_that_is_not_the_peers_at_its_cursor_is_a_lost_tail() {
    let mut lane = TestLane::new(5);
    let foreign = Cursor {
        message_id: MessageId(99),
        ..cursor(4)
    };
    lane.connect(&report(Some(foreign)));
    lane.read_all();
    assert_eq!(lane.sent(), []);
    let found = Anchor {
        sequence: Sequence(4),
        message_id: MessageId(4),
    };
    assert_eq!(
        lane.sending.poll_event(),
        Some(LaneEvent::LifeSuspected {
            cursor: foreign,
            found
        })
    );
    assert_eq!(lane.sending.state(), LaneState::Stalled(Stall::LifeSuspected));
}

#[test]
fn a_cursor_that_another_gateway_brought_is_checked_too() {
    let mut lane = TestLane::new(5);
    lane.connect(&report(None));
    lane.read_all();
    assert_eq!(lane.sent(), [(1, 6, 20)]);
    lane.write(b"more");
    lane.read_all();
    lane.sending.handle_ack(lane.now, &report(Some(cursor(4))));
    assert_eq!(lane.sending.state(), LaneState::Streaming);
    let foreign = Cursor {
        message_id: MessageId(99),
        ..cursor(5)
    };
    lane.sending.handle_ack(lane.now, &report(Some(foreign)));
    let found = Anchor {
        sequence: Sequence(5),
        message_id: MessageId(5),
    };
    assert_eq!(
        lane.sending.poll_event(),
        Some(LaneEvent::LifeSuspected {
            cursor: foreign,
            found
        })
    );
    assert_eq!(lane.sent(), []);
}

#[test]
fn a_cursor_ahead_of_the_reader_is_checked_when_it_comes_there() {
    let mut lane = TestLane::new(5);
    lane.connect(&report(None));
    let foreign = Cursor {
        message_id: MessageId(99),
        ..cursor(4)
    };
    lane.sending.handle_ack(lane.now, &report(Some(foreign)));
    lane.read_all();
    assert_eq!(lane.sent(), []);
    assert!(matches!(
        lane.sending.poll_event(),
        Some(LaneEvent::LifeSuspected { .. })
    ));
}

#[test]
fn a_log_that_ends_before_the_peers_cursor_has_lost_its_tail() {
    let mut lane = TestLane::new(2);
    lane.connect(&report(Some(cursor(9))));
    lane.read_all();
    assert_eq!(lane.sending.poll_event(), None);
    lane.wait(2000);
    assert!(matches!(
        lane.sending.poll_event(),
        Some(LaneEvent::LifeSuspected { .. })
    ));
}

#[test]
fn a_new_life_begins_the_lane_again_after_the_fork() {
    let mut lane = TestLane::new(5);
    lane.connect(&report(Some(cursor(6))));
    lane.log.truncate(4);
    lane.append(SubjectToken::Agent, b"", |message_id| {
        Record::Life(LifeRecord {
            message_id,
            link: LifeLink {
                life: Life { number: 2, nonce: 2 },
                parent: Some(LIFE),
                fork: Sequence(4),
            },
            lost_before: false,
        })
    });
    lane.write(b"new");
    let head = lane.fold(lane.log.len());
    lane.sending.handle_head(lane.now, &head);
    lane.start();
    lane.read_all();
    assert_eq!(lane.sent(), [(5, 6, 3)]);
}

#[test]
fn trimmed_and_unknown_lives_need_a_sync_and_say_why() {
    let mut lane = TestLane::new(5);
    lane.sending.handle_welcome(lane.now, &report(Some(cursor(2))));
    let Some(ReaderOrder::Start { run, .. }) = lane.sending.poll_reader() else {
        panic!("no reader asked for")
    };
    let first = Sequence(5);
    lane.sending
        .handle_reader_failed(lane.now, run, ReaderFailure::Trimmed { first });
    let reason = SyncReason::Trimmed {
        cursor: Sequence(2),
        first,
    };
    assert_eq!(lane.sending.poll_event(), Some(LaneEvent::NeedsSync(reason)));
    assert_eq!(lane.sending.state(), LaneState::Stalled(Stall::NeedsSync(reason)));

    let stranger = Cursor {
        position: Position {
            life: Life { number: 1, nonce: 9 },
            sequence: Sequence(2),
        },
        ..cursor(2)
    };
    lane.sending.handle_disconnected(lane.now);
    lane.sending.handle_welcome(lane.now, &report(Some(stranger)));
    let suspected = LaneEvent::LifeSuspected {
        cursor: stranger,
        found: Anchor::default(),
    };
    assert_eq!(
        lane.sending.poll_event(),
        Some(suspected),
        "another life of that number: the log was made anew"
    );
}

#[test]
fn work_without_progress_asks_to_connect_again_unless_held() {
    let mut lane = TestLane::new(1);
    lane.connect(&report(None));
    lane.read_all();
    assert_eq!(lane.sent().len(), 1);
    lane.wait(10_000);
    assert_eq!(lane.sending.poll_event(), Some(LaneEvent::NoProgress));
    let held = LaneReport {
        hold: Some(Hold::Clock),
        ..report(None)
    };
    lane.sending.handle_ack(lane.now, &held);
    assert_eq!(lane.sending.state(), LaneState::Stalled(Stall::Held(Hold::Clock)));
    lane.wait(60_000);
    assert_eq!(lane.sending.poll_event(), None);
}

#[test]
fn a_peer_that_misses_something_of_the_log_confirms_nothing() {
    let mut lane = TestLane::new(3);
    lane.connect(&report(Some(cursor(3))));
    lane.read_all();
    assert_eq!(lane.sending.verified(), Some(cursor(3)));
    let gapped = LaneReport {
        needs_sync: true,
        ..report(Some(cursor(4)))
    };
    lane.sending.handle_ack(lane.now, &gapped);
    assert_eq!(lane.sending.verified(), None);
}

#[test]
fn a_reader_that_fails_is_asked_for_again() {
    let mut lane = TestLane::new(1);
    lane.connect(&report(None));
    lane.sending
        .handle_reader_failed(lane.now, lane.run, ReaderFailure::Unavailable);
    assert_eq!(lane.sending.poll_reader(), Some(ReaderOrder::Stop));
    lane.wait(500);
    lane.start();
    lane.read_all();
    assert_eq!(lane.sent().len(), 1);
}

#[test]
fn a_body_that_is_not_what_was_sealed_is_not_sent() {
    let mut lane = TestLane::new(1);
    let last = lane.log.len() - 1;
    lane.log[last].3 = Bytes::from_static(b"flip");
    lane.connect(&report(None));
    lane.read_all();
    assert_eq!(lane.sent(), [(1, 2, 0)]);
    assert!(matches!(
        lane.sending.poll_event(),
        Some(LaneEvent::BrokenSeal(_))
    ));
}

#[test]
fn lag_is_the_age_of_the_oldest_record_that_is_not_applied() {
    let mut lane = TestLane::new(1);
    assert!(!lane.sending.lag(lane.now).proven);
    lane.connect(&report(None));
    lane.read_all();
    lane.wait(300);
    lane.write(b"body");
    lane.read_all();
    lane.wait(40);
    assert_eq!(lane.sending.lag(lane.now).at_least, Duration::from_millis(340));
    lane.sending.handle_ack(lane.now, &report(Some(cursor(2))));
    let lag = lane.sending.lag(lane.now);
    assert_eq!((lag.at_least, lag.proven), (Duration::from_millis(40), true));
    lane.sending.handle_ack(lane.now, &report(Some(cursor(3))));
    assert_eq!(lane.sending.lag(lane.now).at_least, Duration::ZERO);
}

#[test]
fn lag_grows_while_the_link_is_down_though_nothing_is_read() {
    let mut lane = TestLane::new(1);
    lane.connect(&report(Some(cursor(2))));
    assert_eq!(lane.sending.lag(lane.now).at_least, Duration::ZERO);
    lane.sending.handle_disconnected(lane.now);
    assert_eq!(lane.sending.state(), LaneState::Idle);
    lane.wait(61_000);
    let lag = lane.sending.lag(lane.now);
    assert_eq!(
        (lag.at_least, lag.still),
        (Duration::from_secs(60), Duration::from_secs(61))
    );
}

#[test]
fn a_cursor_confirms_nothing_until_its_message_is_found() {
    let mut lane = TestLane::new(5);
    lane.sending.handle_welcome(lane.now, &report(Some(cursor(4))));
    assert_eq!(lane.sending.verified(), None);
    lane.start();
    assert_eq!(lane.sending.verified(), Some(cursor(4)));
    lane.read_all();
    lane.sent();
    lane.sending.handle_ack(lane.now, &report(Some(cursor(6))));
    assert_eq!(lane.sending.verified(), Some(cursor(6)));
    lane.write(b"more");
    lane.read_all();
    let foreign = Cursor {
        message_id: MessageId(99),
        ..cursor(7)
    };
    lane.sending.handle_ack(lane.now, &report(Some(foreign)));
    assert_eq!(
        lane.sending.verified(),
        None,
        "the log is not what the peer has of it"
    );
    let mut lane = TestLane::new(5);
    lane.connect(&report(Some(cursor(4))));
    lane.read_all();
    lane.sending.handle_disconnected(lane.now);
    assert_eq!(lane.sending.verified(), None);
}
