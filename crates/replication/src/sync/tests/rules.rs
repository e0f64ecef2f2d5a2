//! The pairwise rule, records that do not count, and sources that misbehave.

use super::region::key;
use super::*;
use crate::header::{SourceFloors, SourcePosition, SyncRecord};
use crate::store::Applied;

fn stamp(millis: u64) -> Hlc {
    Hlc::at(Wall::from_millis(millis))
}

fn held(version: u64) -> HeldCell {
    let cell = Cell {
        version: Version {
            hlc: stamp(version),
            region: name("eu-west"),
            writer: WriterId(1),
        },
        seen: Seen::default(),
        expires_at: None,
        content: crate::cell::Content::Value {
            bytes: Bytes::from_static(b"value"),
            content_type: ContentType::default(),
        },
    };
    HeldCell {
        cell,
        applied_at: Wall::default(),
    }
}

fn floors(collected: u64, floor: u64) -> SourceFloors {
    SourceFloors {
        collected: stamp(collected),
        floor: stamp(floor),
    }
}

#[test]
fn what_lies_below_the_collected_floor_waits_for_the_source() {
    let mut store = Store::default();
    store.collect(stamp(100));
    let now = Wall::default();
    let behind = store.copy(key(1), held(50).cell, floors(0, 99), now);
    assert!(matches!(behind, Applied::Late(_)));
    assert!(store.held(&key(1)).is_none());
    let caught_up = store.copy(key(1), held(50).cell, floors(0, 100), now);
    assert_eq!(caught_up, Applied::Won { conflict: None });
    let above = store.copy(key(2), held(101).cell, floors(0, 0), now);
    assert_eq!(above, Applied::Won { conflict: None });
}

#[test]
fn what_the_source_lacks_is_dropped_only_where_it_may_know_more() {
    let version = held(50).cell.version;
    let dropped = |source, floor, version: &Version| {
        let mut store = Store::default();
        store.copy(key(1), held(50).cell, floors(0, 0), Wall::default());
        let dropped = store.drop_lacked(&key(1), version, floors(source, source), stamp(floor));
        assert_eq!(store.held(&key(1)).is_none(), dropped);
        assert_eq!(store.cells(), u64::from(!dropped));
        dropped
    };
    assert!(dropped(50, 49, &version));
    assert!(!dropped(49, 0, &version), "the source has not collected so far");
    assert!(
        !dropped(50, 50, &version),
        "this store knows every delete that the source collected"
    );
    assert!(
        !dropped(50, 49, &held(51).cell.version),
        "it was written again since"
    );
}

/// A region whose log has begun, and the record that begins a sync there.
fn begun() -> (Region, SyncRecord) {
    let region = Region::new("ap-south");
    let life = region.fold.lineage().current().unwrap();
    let begin = SyncRecord {
        message_id: MessageId(70),
        life,
        begun: MessageId(70),
        step: SyncStep::Begin {
            writer: WriterId(9),
            hlc: stamp(5),
            source: name("eu-west"),
            positions: vec![SourcePosition {
                region: name("eu-west"),
                cursor: crate::coordinates::Cursor {
                    position: crate::coordinates::Position {
                        life: Life { number: 1, nonce: 7 },
                        sequence: Sequence(30),
                    },
                    message_id: MessageId(3000),
                },
                lineage: region.fold.lineage().clone(),
                highest_stamp: stamp(4),
                appended: Wall::default(),
                admission_floor: Hlc::ZERO,
            }],
        },
    };
    (region, begin)
}

#[test]
fn a_record_counts_only_as_the_next_one_of_its_sync() {
    let (mut region, begin) = begun();
    let counts = |region: &mut Region, record: SyncRecord| {
        let at = region.fold.clone();
        region.append_sync(5, Record::Sync(record), Bytes::new());
        let mut passed = at;
        std::mem::swap(&mut passed, &mut region.fold);
        let counts =
            passed.syncing() != region.fold.syncing() || passed.encode().len() != region.fold.encode().len();
        std::mem::swap(&mut passed, &mut region.fold);
        counts
    };
    let cells = |number| SyncRecord {
        message_id: MessageId(71),
        step: SyncStep::Cells {
            number,
            floors: floors(0, 0),
        },
        ..begin.clone()
    };
    let end = |records| SyncRecord {
        message_id: MessageId(72),
        step: SyncStep::End {
            records,
            all_members: false,
        },
        ..begin.clone()
    };
    assert!(!counts(&mut region, cells(0)), "nothing has begun");
    region.append_sync(5, Record::Sync(begin.clone()), Bytes::new());
    assert_eq!(region.fold.syncing(), Some(MessageId(70)));
    let origin = |region: &Region| region.fold.origin(&name("eu-west")).unwrap().clone();
    assert_eq!(origin(&region).cursor.position.sequence, Sequence(30));
    assert!(origin(&region).needs_sync());
    region.append_sync(5, Record::Sync(end(1)), Bytes::new());
    assert!(region.fold.syncing().is_some(), "a record is missing");
    region.append_sync(5, Record::Sync(cells(0)), Bytes::new());
    region.append_sync(5, Record::Sync(cells(0)), Bytes::new());
    let other = SyncRecord {
        begun: MessageId(99),
        ..end(1)
    };
    region.append_sync(5, Record::Sync(other), Bytes::new());
    assert!(region.fold.syncing().is_some(), "it ends another sync");
    region.append_sync(5, Record::Sync(end(1)), Bytes::new());
    assert_eq!(region.fold.syncing(), None);
    assert!(!origin(&region).needs_sync());
    region.append_sync(5, Record::Sync(begin), Bytes::new());
    assert_eq!(region.fold.syncing(), None, "a repeated record is void");
}

#[test]
fn a_new_life_ends_the_sync() {
    let (mut region, begin) = begun();
    region.append_sync(5, Record::Sync(begin.clone()), Bytes::new());
    let parent = region.fold.lineage().current();
    let record = Record::Life(LifeRecord {
        message_id: MessageId(80),
        link: LifeLink {
            life: Life { number: 2, nonce: 8 },
            parent,
            fork: region.fold.at().sequence,
        },
        lost_before: false,
    });
    region.append_sync(5, record, Bytes::new());
    assert_eq!(region.fold.syncing(), None);
    let again = SyncRecord {
        message_id: MessageId(81),
        ..begin
    };
    region.append_sync(6, Record::Sync(again), Bytes::new());
    assert_eq!(region.fold.syncing(), None, "it is of the life before");
}

/// What the target makes of `reply` to the question of the whole store.
fn reaction(reply: impl Fn(&Request) -> Reply) -> Event {
    let mut world = World::new();
    for number in 0..4 {
        world.act(Action::Write {
            region: 1,
            key: number,
            deletes: false,
        });
    }
    let wants = Wants {
        origins: [name("eu-west")].into(),
        lost: false,
        members: [name("eu-west")].into(),
    };
    let mut target = world.regions[0].target(1);
    for second in 0..20 {
        let now = Now {
            mono: Mono::from_nanos(second * 1_000_000_000),
            wall: Wall::from_millis(world.now),
        };
        if let Some(asked) = target.poll_request(now.mono, &world.regions[0].fold, &wants) {
            let reply = match asked.request.ask {
                None => world.regions[1].answer(&asked.request),
                Some(_) => reply(&asked.request),
            };
            let region = &world.regions[0];
            let bytes = reply.encode();
            target.handle_answer(now.mono, SourceAnswer::Bytes(&bytes), &region.fold, &region.store);
        }
        while let Some((record, body)) = target.poll_record(now, &world.regions[0].fold, &wants) {
            world.regions[0].append_sync(world.now, record, body);
            world.regions[0].pass_on(&mut target);
        }
        while let Some(event) = target.poll_event() {
            if !matches!(event, Event::Began { .. }) {
                return event;
            }
        }
    }
    panic!("nothing comes of it");
}

fn span(last: Option<u8>) -> Span {
    Span {
        last: last.map(key),
        digest: Digest(1),
        cells: 1,
    }
}

#[test]
fn a_reply_that_was_not_asked_for_ends_the_sync() {
    let cells = |rows: &[u8], through: Option<u8>| Reply::Cells {
        floor: Hlc::ZERO,
        through: through.map(key),
        rows: rows.iter().map(|number| (key(*number), held(50))).collect(),
    };
    let replies = [
        Reply::Spans(Vec::new()),
        Reply::Spans(vec![span(None), span(Some(1))]),
        Reply::Spans(vec![span(Some(2)), span(Some(1)), span(None)]),
        Reply::Spans(vec![span(Some(1)); SPANS + 1]),
        cells(&[1], None),
    ];
    for reply in replies {
        let event = reaction(|_| reply.clone());
        assert!(matches!(event, Event::Violation { .. }), "{reply:?}: {event:?}");
    }
    // The spans are right, and the cells are not.
    for wrong in [cells(&[1, 1], None), cells(&[2, 1], None), cells(&[9], None)] {
        let event = reaction(|request| match request.ask.as_ref().map(|ask| ask.want) {
            Some(Want::Digests(_)) => Reply::Spans(vec![span(Some(5)), span(Some(8))]),
            _ => wrong.clone(),
        });
        assert!(matches!(event, Event::Violation { .. }), "{wrong:?}: {event:?}");
    }
    let refused = reaction(|_| Reply::Refused {
        lost: false,
        reason: "it is leaving".to_owned(),
    });
    assert!(matches!(refused, Event::Interrupted { .. }));
}

#[test]
fn a_source_that_changed_or_removed_too_much_refuses() {
    let mut world = World::new();
    world.act(Action::Write {
        region: 1,
        key: 1,
        deletes: true,
    });
    let ask = Ask {
        after: None,
        through: None,
        floor: Hlc::ZERO,
        want: Want::Cells,
    };
    let mut request = Request {
        shard: world.regions[1].fold.log().shard.clone(),
        begun: None,
        ask: None,
    };
    let Reply::Begun { begun, .. } = world.regions[1].answer(&request) else {
        panic!("it is a source");
    };
    request.ask = Some(ask);
    request.begun = Some(begun.clone());
    assert!(matches!(world.regions[1].answer(&request), Reply::Cells { rows, .. } if rows.len() == 1));
    let mut restarted = begun.clone();
    restarted.history.run = WriterId(2);
    request.begun = Some(restarted);
    assert!(matches!(world.regions[1].answer(&request), Reply::Refused { .. }));
    request.begun = Some(begun);
    let store = &mut world.regions[1].store;
    store.collect(Hlc::from_bits(u64::MAX));
    store.reclaim(Hlc::from_bits(u64::MAX), 10);
    assert!(matches!(world.regions[1].answer(&request), Reply::Refused { .. }));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _: Result<Request, InvalidRequest> = Request::decode(&bytes);
        let _: Result<Reply, InvalidReply> = Reply::decode(&bytes);
        let _: Result<SyncBody, InvalidBody> = SyncBody::decode(&bytes);
    }

    #[test]
    fn requests_and_bodies_round_trip(after: Option<u8>, through: Option<u8>, want in 0u32..9, rows in vec(any::<u8>(), 0..4)) {
        let request = Request {
            shard: Region::new("ap-south").fold.log().shard.clone(),
            begun: Some(Begun {
                agent: ProcessName::parse("agent-1").unwrap(),
                history: History { run: WriterId(3), rewinds: 4 },
                collected: stamp(5),
            }),
            ask: Some(Ask {
                after: after.map(key),
                through: through.map(key),
                floor: stamp(6),
                want: match want {
                    0 => Want::Cells,
                    cells => Want::Digests(cells),
                },
            }),
        };
        prop_assert_eq!(Request::decode(&request.encode()).unwrap(), request);
        let body = SyncBody {
            rows: rows.iter().map(|number| (key(*number), held(50))).collect(),
            lacked: rows.iter().map(|number| Lacked { id: key(*number), version: held(7).cell.version }).collect(),
        };
        prop_assert_eq!(SyncBody::decode(&body.encode()).unwrap(), body);
    }
}
