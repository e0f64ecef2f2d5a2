//! A session: the order of frames on one connection, from Hello to Goodbye.
//!
//! The dialer sends Hello with the shards that it can send. The acceptor answers with Welcome: the
//! shards that it takes, and where each begins. Then ranges go to the acceptor, Acks and Resets to
//! the dialer, and all other frames both ways.
//!
//! The other end must speak a version of the protocol that this end speaks, and be of the same set
//! and of the region in its certificate. A different digest of set.yaml is reported, not refused. A
//! frame out of order ends the session, and the other end gets the reason. Pings measure the other
//! clock and show that the other end is alive; a session without incoming frames ends.
//!
//! The shell writes the frames of [`Session::poll_frame`] before the frames of its lanes, and
//! lanes' frames only while [`Session::is_open`].

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::frame::{
    Event, Frame, Goodbye, GoodbyeReason, Hello, LaneOffer, LaneReport, NoAnswer, Party, Pong, Response,
    VERSIONS, Versions, Welcome,
};
use crate::coordinates::Shard;
use crate::limits;
use crate::names::RegionName;
use crate::time::{Mono, Now};

mod calls;
mod clock;
mod event;
#[cfg(test)]
mod tests;
mod view;

use calls::Calls;
pub use calls::{CallFailure, CallRefused};
pub use clock::ClockEstimate;
use clock::PeerClock;
pub use event::{Deadline, End, SessionEvent};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Dialer,
    Acceptor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Greeting,
    Welcoming,
    Open,
    Ended,
}

/// One end of a session.
#[derive(Debug)]
pub struct Session {
    role: Role,
    versions: Versions,
    /// The version that both ends speak, once they have exchanged greetings.
    version: u32,
    local: Party,
    certified: RegionName,
    state: State,
    began: Mono,
    heard: Mono,
    /// No frame came since the greeting: the other end's first frame may be up to a round trip
    /// later.
    newly_open: bool,
    next_ping: Mono,
    peer: Option<Party>,
    lanes: BTreeSet<Shard>,
    paused_here: bool,
    paused_there: bool,
    clock: PeerClock,
    calls: Calls,
    frames: VecDeque<Frame>,
    events: VecDeque<SessionEvent>,
}

impl Session {
    /// Creates the dialer's end of a connection to a gateway with a certificate for `certified`;
    /// offers `lanes`.
    #[must_use]
    pub fn dialer(now: Now, local: Party, certified: RegionName, lanes: Vec<LaneOffer>) -> Self {
        Self::dialer_speaking(VERSIONS, now, local, certified, lanes)
    }

    /// Creates the dialer's end of a release that speaks `versions`.
    fn dialer_speaking(
        versions: Versions,
        now: Now,
        local: Party,
        certified: RegionName,
        lanes: Vec<LaneOffer>,
    ) -> Self {
        let mut session = Self::new(versions, now, Role::Dialer, local, certified);
        session.lanes = lanes.iter().map(|lane| lane.shard.clone()).collect();
        session.frames.push_back(Frame::Hello(Hello {
            versions: session.versions,
            party: session.local.clone(),
            lanes,
        }));
        session
    }

    /// Creates the acceptor's end of a connection from a gateway with a certificate for
    /// `certified`.
    #[must_use]
    pub fn acceptor(now: Now, local: Party, certified: RegionName) -> Self {
        Self::new(VERSIONS, now, Role::Acceptor, local, certified)
    }

    fn new(versions: Versions, now: Now, role: Role, local: Party, certified: RegionName) -> Self {
        Self {
            role,
            versions,
            version: versions.least,
            local,
            certified,
            state: State::Greeting,
            began: now.mono,
            heard: now.mono,
            newly_open: false,
            next_ping: now.mono,
            peer: None,
            lanes: BTreeSet::new(),
            paused_here: false,
            paused_there: false,
            clock: PeerClock::default(),
            calls: Calls::default(),
            frames: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The version of the protocol that both ends speak, once they have exchanged greetings.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Input: the bytes of a frame.
    pub fn handle_bytes(&mut self, now: Now, bytes: Bytes) {
        match Frame::decode(bytes) {
            Ok(frame) => self.handle_frame(now, frame),
            Err(invalid) => {
                let farewell = Goodbye::new(GoodbyeReason::Violation, &invalid.to_string());
                self.end(End::Invalid(invalid), Some(farewell));
            }
        }
    }

    /// Input: bytes of a frame are arriving. The other end is not silent, although a large frame on
    /// a slow path takes long.
    pub fn handle_progress(&mut self, now: Now) {
        self.heard = now.mono;
    }

    /// Input: a frame from the other end. After the session's end it is ignored.
    pub fn handle_frame(&mut self, now: Now, frame: Frame) {
        self.heard = now.mono;
        self.newly_open = false;
        match (self.state, frame) {
            (State::Ended, _) => {}
            (_, Frame::Goodbye(goodbye)) => self.end(End::Farewell(goodbye), None),
            (State::Greeting, Frame::Hello(hello)) if self.role == Role::Acceptor => self.hello(hello),
            (State::Greeting, Frame::Welcome(welcome)) if self.role == Role::Dialer => {
                self.welcomed(now, welcome)
            }
            (State::Open, frame) => self.open_frame(now, frame),
            (_, frame) => self.violation(&format!("a {} frame before the greeting", frame.label())),
        }
        self.check_queues();
    }

    fn hello(&mut self, hello: Hello) {
        if !self.accepts(hello.versions, &hello.party) {
            return;
        }
        self.lanes = hello.lanes.iter().map(|lane| lane.shard.clone()).collect();
        if self.lanes.len() != hello.lanes.len() {
            return self.violation("one lane was offered twice");
        }
        self.state = State::Welcoming;
        self.event(SessionEvent::Hello(hello));
    }

    /// Answers the Hello with the offered lanes that are taken, and where each begins. Lanes that
    /// were not offered are left out.
    pub fn welcome(&mut self, now: Now, mut lanes: Vec<LaneReport>) {
        if self.state != State::Welcoming {
            return;
        }
        lanes.retain(|lane| self.lanes.contains(&lane.shard));
        self.lanes = lanes.iter().map(|lane| lane.shard.clone()).collect();
        self.frames.push_back(Frame::Welcome(Welcome {
            version: self.version,
            party: self.local.clone(),
            lanes,
        }));
        self.open(now);
    }

    fn welcomed(&mut self, now: Now, welcome: Welcome) {
        let chosen = Versions {
            least: welcome.version,
            newest: welcome.version,
        };
        if !self.accepts(chosen, &welcome.party) {
            return;
        }
        let taken: BTreeSet<Shard> = welcome.lanes.iter().map(|lane| lane.shard.clone()).collect();
        if taken.len() != welcome.lanes.len() || !taken.is_subset(&self.lanes) {
            return self.violation("a lane was taken twice or without an offer");
        }
        self.lanes = taken;
        self.open(now);
        self.event(SessionEvent::Welcome(welcome));
    }

    fn open(&mut self, now: Now) {
        self.state = State::Open;
        self.newly_open = true;
        self.next_ping = now.mono;
        if self.paused_here {
            self.frames.push_back(Frame::Pause);
        }
    }

    /// Checks for a common version, the same set and the certificate's region; ends the session
    /// otherwise.
    fn accepts(&mut self, theirs: Versions, party: &Party) -> bool {
        let Some(version) = self.versions.common(theirs) else {
            let text = format!(
                "protocol version {theirs} where {} is supported: upgrade the older region",
                self.versions
            );
            self.refuse(GoodbyeReason::Version, &text);
            return false;
        };
        self.version = version;
        let text = if party.set != self.local.set {
            format!(
                "set {} where {} was expected: compare both set.yaml",
                party.set, self.local.set
            )
        } else if party.region != self.certified || party.region == self.local.region {
            format!(
                "region {} under a certificate of {}: compare the settings",
                party.region, self.certified
            )
        } else {
            if (party.set_digest, party.generation) != (self.local.set_digest, self.local.generation) {
                self.event(SessionEvent::SetDiffers { peer: party.clone() });
            }
            self.peer = Some(party.clone());
            return true;
        };
        self.refuse(GoodbyeReason::Identity, &text);
        false
    }

    fn open_frame(&mut self, now: Now, frame: Frame) {
        match frame {
            Frame::Range(range) if self.takes(Role::Acceptor, &range.shard) => {
                self.event(SessionEvent::Range(range))
            }
            Frame::Ack(report) if self.takes(Role::Dialer, &report.shard) => {
                self.event(SessionEvent::Ack(report))
            }
            Frame::Reset(report) if self.takes(Role::Dialer, &report.shard) => {
                self.event(SessionEvent::Reset(report))
            }
            Frame::Ping(ping) => self.frames.push_back(Frame::Pong(Pong {
                number: ping.number,
                ping_sent: ping.sent,
                received: now.wall,
                sent: now.wall,
            })),
            Frame::Pong(pong) => self.clock.handle_pong(now, &pong),
            Frame::Pause => self.pause_there(true),
            Frame::Resume => self.pause_there(false),
            Frame::Request(request) => match self.calls.accept(request.id) {
                Ok(()) => self.event(SessionEvent::Request(request)),
                Err(refusal) => self.frames.push_back(Frame::Response(refusal)),
            },
            Frame::Response(Response { id, outcome }) => {
                if self.calls.answered(id) {
                    let outcome = outcome.map_err(CallFailure::Refused);
                    self.event(SessionEvent::Response { id, outcome });
                }
            }
            Frame::Event(event) => self.event(SessionEvent::PeerEvent(event)),
            frame => self.violation(&format!(
                "a {} frame that is not allowed on this link",
                frame.label()
            )),
        }
    }

    fn takes(&self, role: Role, shard: &Shard) -> bool {
        self.role == role && self.lanes.contains(shard)
    }

    fn pause_there(&mut self, paused: bool) {
        let before = self.is_paused();
        self.paused_there = paused;
        self.tell_pause(before);
    }

    /// Starts or ends this end's pause of ranges. It also applies when set before the session
    /// opens.
    pub fn pause(&mut self, paused: bool) {
        let before = self.is_paused();
        if self.paused_here != paused && self.state == State::Open {
            self.frames
                .push_back(if paused { Frame::Pause } else { Frame::Resume });
        }
        self.paused_here = paused;
        self.tell_pause(before);
    }

    fn tell_pause(&mut self, before: bool) {
        if self.is_paused() != before {
            self.event(SessionEvent::Paused(self.is_paused()));
        }
    }

    /// Calls the other end; the answer arrives as an event with the same identifier.
    ///
    /// # Errors
    /// [`CallRefused`].
    pub fn request(&mut self, now: Now, method: &str, body: Bytes) -> Result<u64, CallRefused> {
        if self.state != State::Open {
            return Err(CallRefused::NotOpen);
        }
        let request = self.calls.ask(now.mono, method, body)?;
        let id = request.id;
        self.frames.push_back(Frame::Request(request));
        Ok(id)
    }

    /// Answers a call of the other end: with the method's own encoding, or with a sentence why
    /// there is no answer.
    pub fn respond(&mut self, id: u64, outcome: Result<Bytes, NoAnswer>) {
        if let Some(response) = self.calls.answer(id, outcome)
            && self.state == State::Open
        {
            self.frames.push_back(Frame::Response(response));
        }
    }

    /// Sends a message to the other end's operator; nothing unless the session is open.
    pub fn tell(&mut self, event: Event) {
        if self.state == State::Open {
            self.frames.push_back(Frame::Event(event));
        }
    }

    /// Ends the session with a Goodbye to the other end.
    pub fn refuse(&mut self, reason: GoodbyeReason, text: &str) {
        let goodbye = Goodbye::new(reason, text);
        self.end(End::Refused(goodbye.clone()), Some(goodbye));
    }

    fn violation(&mut self, text: &str) {
        self.refuse(GoodbyeReason::Violation, text);
    }

    fn end(&mut self, end: End, farewell: Option<Goodbye>) {
        if self.state == State::Ended {
            return;
        }
        self.state = State::Ended;
        self.frames.extend(farewell.map(Frame::Goodbye));
        for id in self.calls.end() {
            self.events.push_back(SessionEvent::Response {
                id,
                outcome: Err(CallFailure::Ended),
            });
        }
        self.events.push_back(SessionEvent::Ended(end));
    }

    /// Queues an event; nothing after the end.
    fn event(&mut self, event: SessionEvent) {
        if self.state != State::Ended {
            self.events.push_back(event);
            self.check_queues();
        }
    }

    fn check_queues(&mut self) {
        if self.events.len() > limits::SESSION_QUEUE || self.frames.len() > limits::SESSION_QUEUE {
            self.violation("more frames than this end can process in time");
        }
    }

    /// Handles what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((_, deadline)) = self.poll_timeout().filter(|(at, _)| *at <= now.mono) {
            match deadline {
                Deadline::Greeting => {
                    let farewell = Goodbye::new(GoodbyeReason::NoProgress, "no greeting arrived in time");
                    self.end(End::NoGreeting, Some(farewell));
                }
                Deadline::Silence => {
                    let farewell =
                        Goodbye::new(GoodbyeReason::NoProgress, "nothing was received for too long");
                    self.end(End::Silence, Some(farewell));
                }
                Deadline::Ping => {
                    let ping = self.clock.ping(now);
                    self.frames.push_back(Frame::Ping(ping));
                    self.next_ping = now.mono.after(limits::PING_INTERVAL);
                }
                Deadline::Call => {
                    for id in self.calls.expired(now.mono) {
                        let outcome = Err(CallFailure::Unanswered);
                        self.events.push_back(SessionEvent::Response { id, outcome });
                    }
                    self.check_queues();
                }
            }
        }
    }

    /// The next deadline, and which one it is; none after the end.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Mono, Deadline)> {
        match self.state {
            State::Ended => None,
            State::Greeting | State::Welcoming => {
                Some((self.began.after(limits::GREETING), Deadline::Greeting))
            }
            State::Open => {
                let patience = if self.newly_open {
                    limits::GREETING
                } else {
                    limits::SESSION_SILENCE
                };
                let silence = (self.heard.after(patience), Deadline::Silence);
                let ping = (self.next_ping, Deadline::Ping);
                let call = self.calls.next_expiry().map(|at| (at, Deadline::Call));
                [Some(silence), Some(ping), call].into_iter().flatten().min()
            }
        }
    }

    /// The next frame of the control lane to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// The next event for the shell.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }
}
