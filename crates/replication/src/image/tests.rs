//! A source that goes on applying its log while it is copied, and sources that misbehave.

#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::cell::{ContentType, Field};
use crate::change::{Change, Op};
use crate::coordinates::Sequence;
use crate::fold::{LogName, Message};
use crate::hlc::Hlc;
use crate::names::{BucketName, GroupName, Key, ProcessName, RegionName, SetName};
use crate::seen::Seen;
use crate::time::{Mono, Wall};
use crate::version::Version;

const RATE: u64 = 1_000_000;

fn log() -> LogName {
    LogName {
        set: SetName::parse("shop").unwrap(),
        region: RegionName::parse("eu-west").unwrap(),
        shard: Shard {
            group: GroupName::parse("default").unwrap(),
            partition: 0,
        },
    }
}

fn agent(name: &str) -> ProcessName {
    ProcessName::parse(name).unwrap()
}

fn change(key: u8, stamp: u64, deletes: bool) -> Change {
    let value = format!("value {stamp}");
    Change {
        id: CellId {
            bucket: BucketName::parse("carts").unwrap(),
            key: Key::parse(&format!("key/{key}")).unwrap(),
            field: Field::NONE,
        },
        version: Version {
            hlc: Hlc::from_bits(stamp),
            region: RegionName::parse("us-east").unwrap(),
            writer: WriterId(1),
        },
        seen: Seen::default(),
        expires_at: None,
        op: match deletes {
            true => Op::Delete,
            false => Op::Put {
                value: value.into(),
                content_type: ContentType::default(),
            },
        },
        trace: None,
    }
}

/// An agent that has applied its log.
struct Agent {
    fold: Fold,
    store: Store,
    history: History,
    serves: bool,
}

impl Agent {
    fn new(run: u64) -> Self {
        Self {
            fold: Fold::new(log()),
            store: Store::default(),
            history: History {
                run: WriterId(run),
                rewinds: 0,
            },
            serves: true,
        }
    }

    /// One message further in the log; it brings the change.
    fn apply(&mut self, change: Change) {
        let malformed = crate::header::HeaderError::Malformed("no header");
        let message = Message {
            sequence: self.fold.at().sequence.next(),
            timestamp: Wall::default(),
            token: None,
            header: Err(&malformed),
        };
        self.fold.apply(message).unwrap();
        self.store.apply(change, Wall::default());
    }

    fn answer(&self, request: &PartRequest) -> bytes::Bytes {
        let decoded = PartRequest::decode(&request.encode()).unwrap();
        assert_eq!(decoded, *request);
        let source = Source {
            fold: &self.fold,
            store: &self.store,
            known_positions: &[Anchor::default()],
            history: self.history,
            serves: self.serves,
            part_bytes: 300,
        };
        answer(&decoded, &source)
    }
}

/// Asks once. Returns the whole image, if this was the last part.
fn step(copier: &mut Copier, now: &mut Mono, sources: &[(&str, &Agent)]) -> Option<Image> {
    let names: Vec<ProcessName> = sources.iter().map(|(name, _)| agent(name)).collect();
    if let Some(at) = copier.poll_timeout() {
        *now = (*now).max(at);
    }
    if let Some(asked) = copier.poll_request(*now, &names) {
        let source = sources.iter().find(|(name, _)| agent(name) == asked.source);
        let part = source.unwrap().1.answer(&asked.request);
        copier.handle_answer(*now, PartAnswer::Part(&part));
    }
    copier.poll_image()
}

fn events(copier: &mut Copier) -> Vec<Event> {
    std::iter::from_fn(|| copier.poll_event()).collect()
}

proptest! {
    #[test]
    fn an_image_and_the_log_from_there_are_the_sources_store(
        before in vec((0u8..40, any::<bool>()), 0..120),
        meanwhile in vec(vec((0u8..40, any::<bool>()), 0..6), 0..60),
        parts in 0usize..4,
    ) {
        let mut source = Agent::new(1);
        let mut written = Vec::new();
        let mut stamp = 0;
        let mut write = |source: &mut Agent, (key, deletes): (u8, bool)| {
            // Later messages may bring older writes.
            stamp += 1;
            let made = change(key, stamp ^ 3, deletes);
            written.push(made.clone());
            source.apply(made);
        };
        before.into_iter().for_each(|one| write(&mut source, one));
        let (mut copier, mut now) = (Copier::new(log(), RATE), Mono::default());
        let mut rounds = meanwhile.into_iter();
        let image = loop {
            if let Some(image) = step(&mut copier, &mut now, &[("a", &source)]) {
                break image;
            }
            let progress = copier.progress().unwrap().1;
            prop_assert!(progress.cells > 0);
            for _ in 0..=parts {
                rounds.next().unwrap_or_default().into_iter().for_each(|one| write(&mut source, one));
            }
        };
        prop_assert!(image.serve_from.sequence <= source.fold.at().sequence);
        prop_assert!(image.fold.at().sequence <= image.serve_from.sequence);
        let mut target = image.store;
        for made in &written[image.fold.at().sequence.0 as usize..] {
            target.apply(made.clone(), Wall::default());
        }
        prop_assert_eq!(target.digest(), source.store.digest());
        prop_assert_eq!(target.cells(), source.store.cells());
        prop_assert_eq!(target.bytes(), source.store.bytes());
    }

    #[test]
    fn garbage_ends_a_copy_and_is_not_applied(bytes in vec(any::<u8>(), 0..200)) {
        let mut copier = Copier::new(log(), RATE);
        copier.poll_request(Mono::default(), &[agent("a")]).unwrap();
        copier.handle_answer(Mono::default(), PartAnswer::Part(&bytes));
        prop_assert!(copier.poll_image().is_none());
        PartRequest::decode(&bytes).ok();
    }
}

fn source_of(keys: u8) -> Agent {
    let mut source = Agent::new(1);
    for key in 0..keys {
        source.apply(change(key, u64::from(key) + 1, false));
    }
    source
}

#[test]
fn a_source_that_does_not_serve_is_passed_over() {
    let (mut starting, serving) = (Agent::new(1), source_of(3));
    starting.serves = false;
    let (mut copier, mut now) = (Copier::new(log(), RATE), Mono::default());
    assert!(step(&mut copier, &mut now, &[("a", &starting)]).is_none());
    assert!(step(&mut copier, &mut now, &[("a", &starting)]).is_none());
    assert_eq!(events(&mut copier), []);
    let sources = [("a", &starting), ("b", &serving)];
    let image = (0..4).find_map(|_| step(&mut copier, &mut now, &sources));
    assert_eq!(image.unwrap().store.cells(), 3);
}

#[test]
fn a_source_that_read_its_log_again_begins_the_copy_again() {
    let (mut source, mut now) = (source_of(30), Mono::default());
    let mut copier = Copier::new(log(), RATE);
    assert!(step(&mut copier, &mut now, &[("a", &source)]).is_none());
    source.history.rewinds += 1;
    assert!(step(&mut copier, &mut now, &[("a", &source)]).is_none());
    let found = events(&mut copier);
    assert!(
        matches!(found[..], [Event::Began { .. }, Event::Interrupted { .. }]),
        "{found:?}"
    );
    assert!(copier.progress().is_none());
    let image = (0..40).find_map(|_| step(&mut copier, &mut now, &[("a", &source)]));
    assert_eq!(image.unwrap().store.digest(), source.store.digest());
}

#[test]
fn a_silent_source_is_given_up_and_asked_again_later() {
    let source = source_of(1);
    let (mut copier, mut now) = (Copier::new(log(), RATE), Mono::default());
    for _ in 0..3 {
        copier.poll_request(now, &[agent("a")]).unwrap();
        copier.handle_answer(now, PartAnswer::Unanswered);
    }
    assert_eq!(copier.poll_request(now, &[agent("a")]), None);
    assert!(copier.poll_timeout().unwrap() > now);
    let image = (0..3).find_map(|_| step(&mut copier, &mut now, &[("a", &source)]));
    assert_eq!(image.unwrap().store.cells(), 1);
}

#[test]
fn the_rate_is_kept() {
    let source = source_of(200);
    let (mut copier, mut now) = (Copier::new(log(), 1000), Mono::default());
    while step(&mut copier, &mut now, &[("a", &source)]).is_none() {}
    let bytes = source
        .store
        .cells_after(None)
        .map(|(_, held)| held.to_stored().len());
    let least = bytes.sum::<usize>() as u64 / 1000;
    assert!(
        now.since(Mono::default()).as_secs() >= least,
        "{now:?}, {least} s"
    );
}

/// Parts that are not what was asked for, after a first part of three cells.
#[test]
fn wrong_parts_end_a_copy_and_nothing_is_applied() {
    let source = source_of(40);
    let part = |change: &dyn Fn(&mut wire::Part)| {
        let asked = PartRequest {
            shard: log().shard,
            begun: Some(source.history),
            after: Some(change_id(10)),
            floor: Hlc::ZERO,
        };
        let mut part = wire::Part::decode(source.answer(&asked)).unwrap();
        change(&mut part);
        part.encode_to_vec()
    };
    let twice = |part: &mut wire::Part| part.rows.push(part.rows[0].clone());
    let before = |part: &mut wire::Part| part.rows[0].name = change_id(0).to_stored().into();
    let back = |part: &mut wire::Part| part.through = 0;
    let nothing = |part: &mut wire::Part| part.rows.clear();
    let again = |part: &mut wire::Part| {
        let head = Head {
            history: source.history,
            fold: Fold::new(log()),
            known_positions: Vec::new(),
            cells: 0,
            bytes: 0,
        };
        part.head = Some(head.to_wire());
    };
    let wrong: [&dyn Fn(&mut wire::Part); 5] = [&twice, &before, &back, &nothing, &again];
    for change in wrong {
        let (mut copier, mut now) = (Copier::new(log(), RATE), Mono::default());
        assert!(step(&mut copier, &mut now, &[("a", &source)]).is_none());
        now = copier.poll_timeout().unwrap();
        copier.poll_request(now, &[agent("a")]).unwrap();
        copier.handle_answer(now, PartAnswer::Part(&part(change)));
        let found = events(&mut copier);
        assert!(
            matches!(found[..], [Event::Began { .. }, Event::Violation { .. }]),
            "{found:?}"
        );
        assert!(copier.progress().is_none() && copier.poll_image().is_none());
    }
}

fn change_id(key: u8) -> CellId {
    change(key, 1, false).id
}

#[test]
fn a_position_of_the_image_is_the_sources() {
    let source = source_of(2);
    let (mut copier, mut now) = (Copier::new(log(), RATE), Mono::default());
    let image = (0..3)
        .find_map(|_| step(&mut copier, &mut now, &[("a", &source)]))
        .unwrap();
    assert_eq!(image.fold.at().sequence, Sequence(2));
    assert_eq!(image.serve_from, source.fold.at());
    assert_eq!(image.known_positions, [Anchor::default()]);
}
