use std::time::Duration;

use super::*;
use crate::coordinates::{Life, WriterId};
use crate::link::frame::Ping;
use crate::link::lane::RangeFrame;
use crate::names::{GroupName, ProcessName, SetName};
use crate::time::Wall;

fn party(region: &str) -> Party {
    Party {
        set: SetName::parse("shop").expect("a valid name"),
        set_digest: [1; 16],
        generation: 7,
        region: name(region),
        process: ProcessName::parse("gateway-1").expect("a valid name"),
        run: WriterId(1),
    }
}

fn name(region: &str) -> RegionName {
    RegionName::parse(region).expect("a valid name")
}

fn shard(partition: u16) -> Shard {
    Shard {
        group: GroupName::parse("default").expect("a valid name"),
        partition,
    }
}

fn offer(partition: u16) -> LaneOffer {
    LaneOffer {
        shard: shard(partition),
        life: Some(Life { number: 1, nonce: 1 }),
    }
}

fn report(partition: u16) -> LaneReport {
    LaneReport {
        shard: shard(partition),
        generation: 1,
        life: None,
        cursor: None,
        applied: None,
        window: 1000,
        hold: None,
        needs_sync: false,
    }
}

fn range(partition: u16) -> Frame {
    Frame::Range(RangeFrame {
        shard: shard(partition),
        generation: 1,
        header: Bytes::new(),
        body: Bytes::new(),
    })
}

fn at(millis: u64) -> Now {
    Now {
        mono: Mono::from_nanos(millis * 1_000_000),
        wall: Wall::from_millis(1_000_000 + millis),
    }
}

/// Both ends of a link without delay, at one time.
struct TestLink {
    dialer: Session,
    acceptor: Session,
    now: Now,
}

impl TestLink {
    fn new(dialer: Party, acceptor: Party) -> Self {
        let (dials, accepts) = (dialer.region.clone(), acceptor.region.clone());
        Self {
            dialer: Session::dialer(at(0), dialer, accepts, vec![offer(0), offer(1)]),
            acceptor: Session::acceptor(at(0), acceptor, dials),
            now: at(0),
        }
    }

    /// Ends of releases that speak these versions, from the least to the newest.
    fn speaking(dialer: (u32, u32), acceptor: (u32, u32)) -> Self {
        let versions = |(least, newest)| Versions { least, newest };
        let (us, eu) = (party("us-east"), party("eu-west"));
        let (dials, accepts) = (us.region.clone(), eu.region.clone());
        let lanes = vec![offer(0), offer(1)];
        Self {
            dialer: Session::dialer_speaking(versions(dialer), at(0), us, accepts, lanes),
            acceptor: Session::new(versions(acceptor), at(0), Role::Acceptor, eu, dials),
            now: at(0),
        }
    }

    fn open() -> Self {
        let mut link = Self::new(party("us-east"), party("eu-west"));
        link.exchange();
        assert!(
            matches!(link.acceptor.poll_event(), Some(SessionEvent::Hello(hello)) if hello.lanes.len() == 2)
        );
        link.acceptor.welcome(link.now, vec![report(0), report(2)]);
        link.exchange();
        assert!(
            matches!(link.dialer.poll_event(), Some(SessionEvent::Welcome(welcome)) if welcome.lanes.len() == 1)
        );
        assert!(link.dialer.is_open() && link.acceptor.is_open());
        link
    }

    /// Delivers all frames, as bytes.
    fn exchange(&mut self) {
        loop {
            let there = self.dialer.poll_frame();
            let back = self.acceptor.poll_frame();
            if there.is_none() && back.is_none() {
                break;
            }
            if let Some(frame) = there {
                self.acceptor.handle_bytes(self.now, frame.encode());
            }
            if let Some(frame) = back {
                self.dialer.handle_bytes(self.now, frame.encode());
            }
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now = at((self.now.mono.nanos() / 1_000_000) + millis);
        self.dialer.handle_timeout(self.now);
        self.acceptor.handle_timeout(self.now);
    }
}

fn refused(session: &mut Session) -> GoodbyeReason {
    loop {
        match session.poll_event() {
            Some(SessionEvent::Ended(End::Refused(goodbye) | End::Farewell(goodbye))) => {
                return goodbye.reason;
            }
            Some(_) => {}
            None => panic!("the session goes on"),
        }
    }
}

#[test]
fn only_agreed_lanes_carry_ranges_and_only_to_the_acceptor() {
    let mut link = TestLink::open();
    link.acceptor.handle_frame(link.now, range(0));
    assert!(matches!(link.acceptor.poll_event(), Some(SessionEvent::Range(_))));
    link.dialer.handle_frame(link.now, Frame::Ack(report(0)));
    assert!(matches!(link.dialer.poll_event(), Some(SessionEvent::Ack(_))));
    for (to_dialer, frame) in [
        (true, range(0)),
        (false, range(1)),
        (false, Frame::Ack(report(0))),
        (true, Frame::Reset(report(1))),
    ] {
        let mut link = TestLink::open();
        let end = if to_dialer {
            &mut link.dialer
        } else {
            &mut link.acceptor
        };
        end.handle_frame(link.now, frame);
        assert_eq!(refused(end), GoodbyeReason::Violation);
        assert!(matches!(end.poll_frame(), Some(Frame::Goodbye(_))));
        assert_eq!(end.poll_timeout(), None);
    }
}

#[test]
fn another_set_region_or_version_is_refused_at_both_ends() {
    let another_set = Party {
        set: SetName::parse("other").expect("a valid name"),
        ..party("us-east")
    };
    let mut link = TestLink::new(another_set, party("eu-west"));
    link.exchange();
    assert_eq!(refused(&mut link.acceptor), GoodbyeReason::Identity);
    assert_eq!(refused(&mut link.dialer), GoodbyeReason::Identity);

    let mut link = TestLink::new(party("us-east"), party("eu-west"));
    link.acceptor = Session::acceptor(at(0), party("eu-west"), name("ap-south"));
    link.exchange();
    assert_eq!(refused(&mut link.acceptor), GoodbyeReason::Identity);

    let mut link = TestLink::speaking((1, 1), (2, 2));
    link.exchange();
    assert_eq!(refused(&mut link.acceptor), GoodbyeReason::Version);
    assert_eq!(refused(&mut link.dialer), GoodbyeReason::Version);
}

/// A release speaks its newest version and the one before. Releases of two consecutive versions
/// work together, whichever of them dials.
#[test]
fn scenario_28_two_releases_speak_their_newest_common_version() {
    for (dialer, acceptor, expected) in [
        ((1, 1), (1, 1), 1),
        ((1, 2), (1, 1), 1),
        ((1, 1), (1, 2), 1),
        ((1, 2), (1, 2), 2),
        ((2, 3), (1, 2), 2),
        ((1, 2), (2, 3), 2),
    ] {
        let mut link = TestLink::speaking(dialer, acceptor);
        link.exchange();
        link.acceptor.welcome(link.now, vec![report(0)]);
        link.exchange();
        let (here, there) = (&mut link.dialer, &mut link.acceptor);
        assert!(here.is_open() && there.is_open(), "{dialer:?} and {acceptor:?}");
        assert_eq!((here.version, there.version), (expected, expected));
        while there.poll_event().is_some() {}
        there.handle_frame(link.now, range(0));
        assert!(matches!(there.poll_event(), Some(SessionEvent::Range(_))));
    }
}

#[test]
fn a_welcome_in_a_version_that_was_not_offered_is_refused() {
    let mut link = TestLink::speaking((1, 2), (1, 1));
    link.exchange();
    link.acceptor.welcome(link.now, vec![report(0)]);
    let Some(Frame::Welcome(welcome)) = link.acceptor.poll_frame() else {
        panic!("the acceptor answers with a Welcome")
    };
    let other = Welcome {
        version: 3,
        ..welcome
    };
    link.dialer.handle_frame(link.now, Frame::Welcome(other));
    assert_eq!(refused(&mut link.dialer), GoodbyeReason::Version);
}

#[test]
fn a_differing_set_yaml_is_reported_and_not_refused() {
    let newer = Party {
        generation: 8,
        set_digest: [2; 16],
        ..party("us-east")
    };
    let mut link = TestLink::new(newer.clone(), party("eu-west"));
    link.exchange();
    assert_eq!(
        link.acceptor.poll_event(),
        Some(SessionEvent::SetDiffers { peer: newer })
    );
    assert!(matches!(link.acceptor.poll_event(), Some(SessionEvent::Hello(_))));
    link.acceptor.welcome(link.now, vec![report(0)]);
    link.exchange();
    assert!(matches!(
        link.dialer.poll_event(),
        Some(SessionEvent::SetDiffers { .. })
    ));
    assert!(link.dialer.is_open());
}

#[test]
fn a_frame_before_the_greeting_ends_the_session() {
    for frame in [range(0), Frame::Pause, Frame::Ack(report(0))] {
        let mut acceptor = Session::acceptor(at(0), party("eu-west"), name("us-east"));
        acceptor.handle_frame(at(0), frame);
        assert_eq!(refused(&mut acceptor), GoodbyeReason::Violation);
    }
    let mut acceptor = Session::acceptor(at(0), party("eu-west"), name("us-east"));
    acceptor.handle_bytes(at(0), Bytes::from_static(b"GET / HTTP/1.1"));
    assert!(matches!(
        acceptor.poll_event(),
        Some(SessionEvent::Ended(End::Invalid(_)))
    ));
}

#[test]
fn a_session_without_a_greeting_ends() {
    let mut acceptor = Session::acceptor(at(0), party("eu-west"), name("us-east"));
    let due = Mono::default().after(limits::GREETING);
    assert_eq!(acceptor.poll_timeout(), Some((due, Deadline::Greeting)));
    acceptor.handle_timeout(at(10_000));
    assert_eq!(acceptor.poll_event(), Some(SessionEvent::Ended(End::NoGreeting)));
}

#[test]
fn pings_keep_a_session_and_silence_ends_it() {
    let mut link = TestLink::open();
    for _ in 0..100 {
        link.wait(250);
        link.exchange();
    }
    assert!(!link.dialer.is_quiet(link.now));
    let clock = link.dialer.peer_clock().expect("pings were answered");
    assert_eq!((clock.offset_micros, clock.round_trip), (0, Duration::ZERO));
    link.wait(2100);
    assert!(link.dialer.is_quiet(link.now) && link.dialer.is_open());
    link.wait(3000);
    assert!(link.dialer.is_ended());
    assert_eq!(link.dialer.poll_event(), Some(SessionEvent::Ended(End::Silence)));
}

#[test]
fn a_link_opens_over_a_path_of_seconds() {
    let mut acceptor = Session::acceptor(at(0), party("eu-west"), name("us-east"));
    let mut dialer = Session::dialer(at(0), party("us-east"), name("eu-west"), Vec::new());
    let hello = dialer.poll_frame().expect("a hello");
    acceptor.handle_frame(at(0), hello);
    acceptor.welcome(at(0), Vec::new());
    acceptor.handle_timeout(at(6_000));
    assert!(
        acceptor.is_open(),
        "ended before the dialer's first frame could come"
    );
    acceptor.handle_frame(at(6_000), Frame::Pause);
    acceptor.handle_timeout(at(11_000));
    assert!(acceptor.is_ended());
}

#[test]
fn either_end_pauses_and_the_link_runs_when_both_resumed() {
    let mut link = TestLink::open();
    link.acceptor.pause(true);
    link.dialer.pause(true);
    link.exchange();
    assert_eq!(link.dialer.poll_event(), Some(SessionEvent::Paused(true)));
    link.dialer.pause(false);
    link.exchange();
    assert!(link.dialer.is_paused());
    assert_eq!(link.dialer.poll_event(), None);
    link.acceptor.pause(false);
    link.exchange();
    assert_eq!(link.dialer.poll_event(), Some(SessionEvent::Paused(false)));
    assert!(!link.acceptor.is_paused());
}

#[test]
fn a_pause_holds_from_before_the_opening() {
    let mut link = TestLink::new(party("us-east"), party("eu-west"));
    link.acceptor.pause(true);
    link.exchange();
    link.acceptor.welcome(link.now, vec![report(0)]);
    link.exchange();
    assert!(link.dialer.is_paused());
}

#[test]
fn calls_are_answered_refused_or_given_up_in_time_and_number() {
    let mut link = TestLink::open();
    let id = link
        .dialer
        .request(link.now, "status", Bytes::from_static(b"?"))
        .expect("the first call");
    link.exchange();
    let Some(SessionEvent::Request(request)) = link.acceptor.poll_event() else {
        panic!("no request")
    };
    link.acceptor.respond(request.id, Ok(Bytes::from_static(b"!")));
    link.acceptor
        .respond(request.id, Ok(Bytes::from_static(b"twice")));
    link.exchange();
    let outcome = Ok(Bytes::from_static(b"!"));
    assert_eq!(
        link.dialer.poll_event(),
        Some(SessionEvent::Response { id, outcome })
    );
    assert_eq!(link.dialer.poll_event(), None);

    let ids: Vec<u64> = (0..limits::CALLS)
        .map(|_| {
            link.dialer
                .request(link.now, "slow", Bytes::new())
                .expect("within the bound")
        })
        .collect();
    assert_eq!(
        link.dialer.request(link.now, "slow", Bytes::new()),
        Err(CallRefused::TooMany)
    );
    for _ in 0..25 {
        link.exchange();
        link.wait(200);
    }
    for id in ids {
        let outcome = Err(CallFailure::Unanswered);
        assert_eq!(
            link.dialer.poll_event(),
            Some(SessionEvent::Response { id, outcome })
        );
    }
}

#[test]
fn calls_under_way_fail_with_the_session() {
    let mut link = TestLink::open();
    let id = link
        .dialer
        .request(link.now, "status", Bytes::new())
        .expect("the first call");
    link.acceptor.refuse(GoodbyeReason::Draining, "stopping");
    link.exchange();
    let outcome = Err(CallFailure::Ended);
    assert_eq!(
        link.dialer.poll_event(),
        Some(SessionEvent::Response { id, outcome })
    );
    assert_eq!(refused(&mut link.dialer), GoodbyeReason::Draining);
    assert_eq!(
        link.dialer.request(link.now, "status", Bytes::new()),
        Err(CallRefused::NotOpen)
    );
}

#[test]
fn a_flood_ends_the_session_and_not_the_process() {
    let mut link = TestLink::open();
    for _ in 0..=limits::SESSION_QUEUE {
        link.acceptor.handle_frame(link.now, range(0));
    }
    assert!(link.acceptor.is_ended());
}

#[test]
fn pings_of_a_peer_that_reads_no_answer_end_the_session() {
    let mut link = TestLink::open();
    let ping = Frame::Ping(Ping {
        number: 1,
        sent: link.now.wall,
    });
    for _ in 0..=limits::SESSION_QUEUE {
        link.acceptor.handle_frame(link.now, ping.clone());
    }
    assert!(link.acceptor.is_ended());
    let mut waiting = 0;
    while link.acceptor.poll_frame().is_some() {
        waiting += 1;
    }
    assert!(waiting <= limits::SESSION_QUEUE + 2, "{waiting} frames wait");
}

#[test]
fn a_session_reports_nothing_after_its_end() {
    let mut link = TestLink::open();
    link.acceptor.refuse(GoodbyeReason::Draining, "stopping");
    while let Some(event) = link.acceptor.poll_event() {
        assert!(!matches!(event, SessionEvent::Paused(_)), "{event:?}");
    }
    link.acceptor.pause(true);
    assert_eq!(link.acceptor.poll_event(), None);
}
