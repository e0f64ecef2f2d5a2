//! Decoders of a link: frames, a session of them, a lane's ranges, the landmarks call.

use std::time::Duration;

use bytes::Bytes;
use isthmus_replication::coordinates::WriterId;
use isthmus_replication::fold::Fold;
use isthmus_replication::limits;
use isthmus_replication::link::frame::{Frame, LaneOffer, LaneReport, Party};
use isthmus_replication::link::landmarks::{self, LandmarksAnswer};
use isthmus_replication::link::session::{Session, SessionEvent};
use isthmus_replication::names::{ProcessName, SetName};
use isthmus_replication::receiving::Receiving;
use isthmus_replication::time::{Mono, Now, Wall};

use crate::log::{Input, log, region, shard};

pub(crate) fn frame(input: &[u8]) {
    match Frame::decode(Bytes::copy_from_slice(input)) {
        Ok(frame) => assert_eq!(Frame::decode(frame.encode()).as_ref(), Ok(&frame)),
        Err(invalid) => assert!(!invalid.to_string().is_empty()),
    }
}

pub(crate) fn landmarks(input: &[u8]) {
    if let Ok(shard) = landmarks::asked(input) {
        assert_eq!(landmarks::asked(&landmarks::question(&shard)), Ok(shard));
    }
    if let Ok(answer) = LandmarksAnswer::decode(input) {
        assert_eq!(LandmarksAnswer::decode(&answer.encode()).as_ref(), Ok(&answer));
    }
}

/// A session that receives anything, at any time, from a peer that reads or does not: `role, (step,
/// times, frame length, frame)*`.
pub(crate) fn session(input: &[u8]) {
    let mut input = Input(input);
    let mut end = SessionEnd::new(input.u8().is_multiple_of(2));
    let mut heard_at_most = 2 * limits::SESSION_QUEUE;
    while !input.0.is_empty() {
        let step = input.u8();
        match step % 8 {
            0 => end.pass(Duration::from_millis(input.u16().into())),
            1 => end.write(),
            2 => end.read(),
            3 => end.session.pause(input.u8().is_multiple_of(2)),
            4 => {
                let _ = end.session.request(end.now, "status", Bytes::new());
            }
            _ => {
                let times = usize::from(input.u8()).pow(2).min(heard_at_most);
                heard_at_most -= times;
                let length = input.u16();
                end.hear(input.take(length.into()), times);
            }
        }
        end.check();
    }
    end.close();
}

/// One end of a session with the state of its shell.
struct SessionEnd {
    session: Session,
    now: Now,
    ended: bool,
}

impl SessionEnd {
    fn new(dials: bool) -> Self {
        let now = Now {
            mono: Mono::from_nanos(1_000_000_000),
            wall: Wall::from_millis(1_700_000_000_000),
        };
        let (own, other) = if dials {
            ("us-east", "eu-west")
        } else {
            ("eu-central", "eu-west")
        };
        let party = Party {
            set: SetName::parse("shop").expect("a valid name"),
            set_digest: [0xab; 16],
            generation: 7,
            region: region(own),
            process: ProcessName::parse("gateway-2").expect("a valid name"),
            run: WriterId(1),
        };
        let offer = LaneOffer {
            shard: shard(),
            life: None,
        };
        let session = if dials {
            Session::dialer(now, party, region(other), vec![offer])
        } else {
            Session::acceptor(now, party, region(other))
        };
        Self {
            session,
            now,
            ended: false,
        }
    }

    fn hear(&mut self, frame: &[u8], times: usize) {
        let frame = Bytes::copy_from_slice(frame);
        for _ in 0..=times {
            self.session.handle_bytes(self.now, frame.clone());
        }
    }

    fn pass(&mut self, duration: Duration) {
        self.now.mono = self.now.mono.after(duration);
        self.now.wall = self.now.wall.after(duration);
        self.session.handle_timeout(self.now);
    }

    fn write(&mut self) {
        for sent in 0.. {
            let Some(frame) = self.session.poll_frame() else {
                break;
            };
            assert!(
                sent <= limits::SESSION_QUEUE + 1,
                "more frames than a session may hold"
            );
            assert_eq!(Frame::decode(frame.encode()).as_ref(), Ok(&frame));
        }
    }

    fn read(&mut self) {
        for polled in 0.. {
            let Some(event) = self.session.poll_event() else {
                break;
            };
            assert!(
                polled <= limits::SESSION_QUEUE + limits::CALLS + 1,
                "more events than a session may hold"
            );
            assert!(!self.ended, "{event:?} after the end");
            self.answer(event);
        }
    }

    fn answer(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Hello(hello) => {
                let reports = hello.lanes.into_iter().map(|lane| LaneReport {
                    shard: lane.shard,
                    generation: 1,
                    life: lane.life,
                    cursor: None,
                    applied: None,
                    window: 1024,
                    hold: None,
                    needs_sync: false,
                });
                self.session.welcome(self.now, reports.collect());
            }
            SessionEvent::Request(request) => self.session.respond(request.id, Ok(request.body)),
            SessionEvent::Ended(_) => self.ended = true,
            _ => {}
        }
    }

    fn check(&self) {
        assert!(!(self.session.is_open() && self.session.is_ended()));
        assert_eq!(self.session.poll_timeout().is_none(), self.session.is_ended());
        let _ = (
            self.session.is_quiet(self.now),
            self.session.peer_clock(),
            self.session.peer(),
        );
    }

    /// Whatever came before, a silent session ends and reports that once.
    fn close(mut self) {
        self.pass(limits::GREETING + limits::SESSION_SILENCE);
        self.write();
        self.read();
        assert!(self.ended && self.session.is_ended());
    }
}

/// A receiving lane that gets any ranges: `(frame length, frame)*`.
pub(crate) fn lane(input: &[u8]) {
    let mut input = Input(input);
    let length = input.u16();
    let Ok(head) = Fold::decode(log("us-east"), input.take(length.into())) else {
        return;
    };
    let mut lane = Receiving::new(log("us-east"), region("eu-west"), limits::MAX_OFFSET, &head);
    let mut now = Now {
        mono: Mono::from_nanos(1_000_000_000),
        wall: Wall::from_millis(1_700_000_000_000),
    };
    lane.poll_welcome();
    while !input.0.is_empty() {
        let length = input.u16();
        let Ok(Frame::Range(range)) = Frame::decode(Bytes::copy_from_slice(input.take(length.into()))) else {
            continue;
        };
        if lane.handle_range(now, range).is_err() {
            return;
        }
        now.mono = now.mono.after(Duration::from_millis(length.into()));
        lane.handle_timeout(now);
        while lane.poll_append(now).is_some() {}
        while let Some(report) = lane.poll_report() {
            assert_eq!(Frame::decode(report.encode()).as_ref(), Ok(&report));
        }
        while lane.poll_event().is_some() {}
        assert!(lane.held_bytes() <= u64::from(limits::LANE_WINDOW_BYTES) + limits::FRAME_BYTES as u64);
    }
}
