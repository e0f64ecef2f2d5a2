#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn holder(run: u64) -> Holder {
    Holder {
        process: ProcessName::parse(&format!("gateway-{run}")).unwrap(),
        run: WriterId(run),
    }
}

fn millis(millis: u64) -> Mono {
    Mono::default().after(Duration::from_millis(millis))
}

fn entry(run: u64, revision: u64) -> LeaseEntry {
    LeaseEntry {
        holder: holder(run),
        revision: Revision(revision),
    }
}

/// Takes the machine's request and answers it with the reply.
fn exchange(lease: &mut Lease, now: u64, reply: Reply) -> Operation {
    let request = lease.poll_request(millis(now)).unwrap();
    lease.handle_reply(millis(now), request.id, reply);
    request.operation
}

fn leader(now: u64) -> Lease {
    let mut lease = Lease::new(holder(1));
    assert_eq!(exchange(&mut lease, now, Reply::Read(None)), Operation::Read);
    let created = exchange(&mut lease, now, Reply::Written(Revision(5)));
    assert_eq!(created, Operation::Create);
    let leads = Event::Leads {
        revision: Revision(5),
    };
    assert_eq!(lease.poll_event(), Some(leads));
    lease
}

#[test]
fn the_first_candidate_leads_beats_and_renews() {
    let mut lease = leader(0);
    assert_eq!(lease.poll_beat(millis(0)), Some(entry(1, 5)));
    assert_eq!(lease.poll_beat(millis(99)), None);
    assert_eq!(lease.poll_beat(millis(100)), Some(entry(1, 5)));
    assert_eq!(lease.poll_request(millis(332)), None);
    let renewal = exchange(&mut lease, 333, Reply::Written(Revision(6)));
    let expected = Revision(5);
    assert_eq!(renewal, Operation::Update { expected });
    assert_eq!((lease.leads(), lease.poll_event()), (Some(Revision(6)), None));
}

#[test]
fn a_standby_takes_over_only_when_the_holder_is_silent() {
    let mut lease = Lease::new(holder(2));
    exchange(&mut lease, 0, Reply::Read(Some(entry(1, 5))));
    for beat in [100, 200, 300] {
        lease.handle_beat(millis(beat), entry(1, 5));
    }
    assert_eq!(lease.poll_timeout(), Some((millis(800), Deadline::Silence)));
    lease.handle_watch(millis(400), Some(entry(1, 6)));
    assert_eq!(lease.poll_request(millis(899)), None);
    let expected = Revision(6);
    let taken = exchange(&mut lease, 900, Reply::Written(Revision(7)));
    assert_eq!(taken, Operation::Update { expected });
    assert_eq!(lease.leads(), Some(Revision(7)));
}

#[test]
fn a_leader_without_replies_leads_until_it_sees_another_holder() {
    let mut lease = leader(0);
    for now in (0..6000).step_by(50) {
        lease.handle_timeout(millis(now));
        lease.poll_request(millis(now));
        assert!(lease.leads().is_some());
    }
    lease.handle_watch(millis(6000), Some(entry(2, 5)));
    assert!(lease.leads().is_some(), "not newer");
    lease.handle_beat(millis(6000), entry(2, 9));
    assert_eq!(lease.leads(), None);
    let stepped_down = Event::SteppedDown {
        other: Some(holder(2)),
    };
    assert_eq!(lease.poll_event(), Some(stepped_down));
    assert_eq!(lease.holder(), Some(&holder(2)));
}

#[test]
fn a_lost_reply_is_settled_by_reading() {
    let mut lease = leader(0);
    let update = lease.poll_request(millis(400)).unwrap();
    lease.handle_timeout(millis(700));
    lease.handle_reply(millis(701), update.id, Reply::Conflict);
    assert_eq!(lease.poll_timeout().map(|(_, what)| what), Some(Deadline::Beat));
    let read = exchange(&mut lease, 1100, Reply::Read(Some(entry(1, 6))));
    assert_eq!((read, lease.leads()), (Operation::Read, Some(Revision(6))));
}

#[test]
fn an_expired_entry_is_rewritten_by_its_leader() {
    let mut lease = leader(0);
    lease.handle_watch(millis(100), None);
    assert_eq!(exchange(&mut lease, 100, Reply::Read(None)), Operation::Read);
    assert_eq!(
        exchange(&mut lease, 100, Reply::Written(Revision(9))),
        Operation::Create
    );
    let mut standby = Lease::new(holder(2));
    exchange(&mut standby, 0, Reply::Read(Some(entry(1, 5))));
    standby.handle_watch(millis(90), None);
    standby.handle_beat(millis(95), entry(1, 5));
    exchange(&mut standby, 100, Reply::Read(None));
    assert_eq!(standby.poll_request(millis(400)), None);
}

#[test]
fn a_released_lease_is_deleted_and_not_sought_again() {
    let mut lease = leader(0);
    lease.handle_release();
    assert_eq!(lease.poll_event(), Some(Event::SteppedDown { other: None }));
    assert!(lease.leads().is_none() && !lease.is_released());
    let expected = Revision(5);
    let released = exchange(&mut lease, 10, Reply::Written(Revision(6)));
    assert_eq!(released, Operation::Release { expected });
    assert!(lease.is_released());
    assert_eq!(
        (lease.poll_request(millis(9000)), lease.poll_timeout()),
        (None, None)
    );
}

#[test]
fn a_write_under_way_when_the_lease_is_given_up_is_deleted_too() {
    let mut lease = Lease::new(holder(1));
    exchange(&mut lease, 0, Reply::Read(None));
    let create = lease.poll_request(millis(0)).unwrap();
    lease.handle_release();
    assert!(!lease.is_released());
    lease.handle_reply(millis(10), create.id, Reply::Written(Revision(3)));
    let expected = Revision(3);
    assert_eq!(
        exchange(&mut lease, 10, Reply::Conflict),
        Operation::Release { expected }
    );
    assert!(lease.is_released() && lease.poll_event().is_none());
}

#[test]
fn a_read_reveals_a_bucket_that_counts_from_one_again() {
    let mut lease = leader(0);
    let conflict = exchange(&mut lease, 400, Reply::Conflict);
    assert!(matches!(conflict, Operation::Update { .. }));
    exchange(&mut lease, 600, Reply::Read(Some(entry(2, 1))));
    assert_eq!(lease.leads(), None);
    lease.handle_beat(millis(700), entry(2, 1));
    assert_eq!(lease.poll_timeout(), Some((millis(1200), Deadline::Silence)));
}

/// The bucket: compare-and-set, expiry, and the holder of each revision.
#[derive(Debug, Default)]
struct Bucket {
    entry: Option<(LeaseEntry, u64)>,
    revision: u64,
    held: BTreeMap<Revision, Holder>,
}

impl Bucket {
    fn expire(&mut self, now: u64) -> bool {
        let ttl = limits::LEASE_TTL.as_millis() as u64;
        self.entry.take_if(|(_, written)| *written + ttl <= now).is_some()
    }

    fn carry_out(&mut self, now: u64, own: &Holder, operation: Operation) -> Reply {
        let current = self.entry.as_ref().map(|(entry, _)| entry.revision);
        let expected = match operation {
            Operation::Read => return Reply::Read(self.entry.as_ref().map(|(entry, _)| entry.clone())),
            Operation::Create => None,
            Operation::Update { expected } | Operation::Release { expected } => Some(expected),
        };
        if current != expected {
            return Reply::Conflict;
        }
        self.revision += 1;
        let revision = Revision(self.revision);
        let holder = own.clone();
        self.held.insert(revision, holder.clone());
        let released = matches!(operation, Operation::Release { .. });
        self.entry = (!released).then_some((LeaseEntry { holder, revision }, now));
        Reply::Written(revision)
    }
}

#[derive(Debug)]
enum Arrival {
    Request(Request),
    Reply(u64, Reply),
    Watch(Option<LeaseEntry>),
    Beat(Beat),
}

/// The fate of a message: lost, or delivered after this many milliseconds.
type Fate = Option<u64>;

#[derive(Debug)]
struct World {
    now: u64,
    bucket: Bucket,
    candidates: Vec<Lease>,
    stopped: Vec<bool>,
    network: BTreeMap<(u64, u64), (usize, Arrival)>,
    scheduled: u64,
    fates: Vec<Fate>,
}

impl World {
    fn new(candidates: u64, fates: Vec<Fate>) -> Self {
        Self {
            now: 0,
            bucket: Bucket::default(),
            candidates: (0..candidates).map(|run| Lease::new(holder(run))).collect(),
            stopped: vec![false; candidates as usize],
            network: BTreeMap::new(),
            scheduled: 0,
            fates,
        }
    }

    fn send(&mut self, candidate: usize, arrival: Arrival) {
        let at = self.scheduled as usize;
        self.scheduled += 1;
        let fate = match self.fates.is_empty() {
            true => Some(5),
            false => self.fates[at % self.fates.len()],
        };
        if let Some(after) = fate {
            self.network
                .insert((self.now + after, self.scheduled), (candidate, arrival));
        }
    }

    fn send_all(&mut self, make: impl Fn() -> Arrival) {
        for candidate in 0..self.candidates.len() {
            self.send(candidate, make());
        }
    }

    /// Advances the world by one millisecond.
    fn tick(&mut self) -> Result<(), TestCaseError> {
        self.now += 1;
        if self.bucket.expire(self.now) {
            self.send_all(|| Arrival::Watch(None));
        }
        while let Some(first) = self
            .network
            .first_entry()
            .filter(|first| first.key().0 <= self.now)
        {
            let (candidate, arrival) = first.remove();
            self.arrive(candidate, arrival);
        }
        for candidate in 0..self.candidates.len() {
            if !self.stopped[candidate] {
                self.run(candidate)?;
            }
        }
        Ok(())
    }

    fn arrive(&mut self, candidate: usize, arrival: Arrival) {
        let now = millis(self.now);
        match arrival {
            Arrival::Request(request) => {
                let before = self.bucket.revision;
                let own = holder(candidate as u64);
                let reply = self.bucket.carry_out(self.now, &own, request.operation);
                self.send(candidate, Arrival::Reply(request.id, reply));
                if self.bucket.revision != before {
                    let entry = self.bucket.entry.as_ref().map(|(entry, _)| entry.clone());
                    self.send_all(|| Arrival::Watch(entry.clone()));
                }
            }
            _ if self.stopped[candidate] => {}
            Arrival::Reply(id, reply) => self.candidates[candidate].handle_reply(now, id, reply),
            Arrival::Watch(entry) => self.candidates[candidate].handle_watch(now, entry),
            Arrival::Beat(beat) => self.candidates[candidate].handle_beat(now, beat),
        }
    }

    fn run(&mut self, candidate: usize) -> Result<(), TestCaseError> {
        let now = millis(self.now);
        self.candidates[candidate].handle_timeout(now);
        while let Some(request) = self.candidates[candidate].poll_request(now) {
            self.send(candidate, Arrival::Request(request));
        }
        while let Some(beat) = self.candidates[candidate].poll_beat(now) {
            self.send_all(|| Arrival::Beat(beat.clone()));
        }
        while self.candidates[candidate].poll_event().is_some() {}
        let lease = &self.candidates[candidate];
        prop_assert!(
            lease.poll_timeout().is_none_or(|(at, _)| at > now),
            "{:?} stays due",
            lease.poll_timeout()
        );
        if let Some(revision) = lease.leads() {
            prop_assert_eq!(self.bucket.held.get(&revision), Some(&holder(candidate as u64)));
        }
        Ok(())
    }
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    vec(
        prop_oneof![3 => (0u64..60).prop_map(Some), 1 => (0u64..2000).prop_map(Some), 1 => Just(None)],
        1..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_revision_has_one_holder_and_a_live_candidate_leads_soon(
        fates in fates(),
        candidates in 1u64..4,
        stops in vec((0usize..3, 100u64..1500), 0..6),
        survivor in 0usize..3,
    ) {
        let mut world = World::new(candidates, fates);
        for (candidate, millis) in stops {
            let candidate = candidate % world.candidates.len();
            world.stopped[candidate] ^= true;
            for _ in 0..millis {
                world.tick()?;
            }
        }
        let survivor = survivor % world.candidates.len();
        world.fates.clear();
        world.stopped.fill(true);
        world.stopped[survivor] = false;
        let in_transit = 2000;
        let bound = limits::LEASE_TTL + limits::LEASE_SILENCE + 2 * limits::LEASE_REPLY;
        for _ in 0..in_transit + bound.as_millis() {
            world.tick()?;
        }
        prop_assert!(world.candidates[survivor].leads().is_some(), "{:?}", world);
        let held = world.bucket.entry.as_ref().map(|(entry, _)| entry.holder.clone());
        prop_assert_eq!(held, Some(holder(survivor as u64)));
    }

    #[test]
    fn with_everything_live_one_leads_and_stays(candidates in 1u64..4) {
        let mut world = World::new(candidates, Vec::new());
        for _ in 0..1000 {
            world.tick()?;
        }
        let leaders = |world: &World| -> Vec<bool> { world.candidates.iter().map(|c| c.leads().is_some()).collect() };
        let settled = leaders(&world);
        prop_assert_eq!(settled.iter().filter(|leads| **leads).count(), 1);
        for _ in 0..3000 {
            world.tick()?;
            prop_assert_eq!(&leaders(&world), &settled);
        }
    }
}
