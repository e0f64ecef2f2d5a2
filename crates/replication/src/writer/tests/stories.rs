//! One situation for each test.

use super::*;
use crate::hlc::Hlc;
use crate::limits;
use crate::seen::Seen;
use crate::version::Version;

fn accepted(outcome: &Outcome) -> (&Version, Sequence, bool) {
    match outcome {
        Outcome::Accepted {
            version,
            position,
            superseded,
        } => (version, position.sequence, *superseded),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_taken_before_the_barrier_was_read_back() {
    let mut log = Log::new();
    let mut agent = Agent::new(1);
    assert_eq!(agent.write(0, "k", "v", 1000), Err(Refused::NotReady));
    let barrier = agent.poll(0).unwrap();
    assert!(matches!(barrier.header.record, Record::Barrier(_)));
    assert_eq!(barrier.token, SubjectToken::Agent);
    log.append(0, barrier.token, barrier.header, barrier.body);
    agent.read(0, &log);
    assert_eq!(agent.write(0, "k", "v", 1000), Err(Refused::NotReady));
    agent.read(0, &log);
    assert_eq!(agent.events, [Event::Ready]);
    assert!(agent.write(0, "k", "v", 1000).is_ok());
}

#[test]
fn a_void_barrier_is_followed_by_another() {
    let mut log = Log::default();
    let mut agent = Agent::new(1);
    agent.commit(0, &mut log);
    assert_eq!(agent.events, [Event::BarrierVoid(Void::NoLife)]);
    log.append(
        1,
        SubjectToken::Agent,
        life_header(1, None, Sequence::NONE),
        Bytes::new(),
    );
    agent.commit(1, &mut log);
    assert!(!agent.writer.is_ready());
    agent.commit(600, &mut log);
    assert!(agent.writer.is_ready());
}

#[test]
fn a_write_is_sent_again_until_a_new_log_has_its_first_life() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let ticket = agent.write(10, "k", "v", 5000).unwrap();
    let lost = agent.poll(10).unwrap();
    let mut anew = Log::default();
    agent.fold = Fold::new(log_name());
    agent.writer.handle_rewind(&agent.fold);
    anew.append(11, lost.token, lost.header, lost.body);
    agent.read_all(11, &anew);
    assert!(agent.outcomes.is_empty(), "{:?}", agent.outcomes);
    anew.append(
        12,
        SubjectToken::Agent,
        life_header(1, None, Sequence::NONE),
        Bytes::new(),
    );
    agent.commit(600, &mut anew);
    assert_eq!(accepted(&agent.outcomes[&ticket]).1, Sequence(3));
}

#[test]
fn a_write_is_accepted_by_its_read_back_not_its_acknowledgement() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let ticket = agent.write(10, "k", "v", 1000).unwrap();
    let append = agent.poll(10).unwrap();
    let sequence = log.append(10, append.token, append.header, append.body);
    agent.writer.handle_published(append.message_id, sequence);
    agent.collect();
    assert!(agent.outcomes.is_empty());
    agent.read_all(11, &log);
    let (version, at, superseded) = accepted(&agent.outcomes[&ticket]);
    assert_eq!((at, superseded), (sequence, false));
    assert_eq!(agent.store.held(&cell("k")).unwrap().cell.version, *version);
    assert!(agent.writer.is_idle() && agent.writer.held_bytes() == 0);
}

#[test]
fn writes_are_grouped_while_messages_are_in_flight() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    agent.write(10, "k", "0", 1000).unwrap();
    let first = agent.poll(10).unwrap();
    for n in 1..=9 {
        agent.write(10, "k", &n.to_string(), 1000).unwrap();
    }
    assert_eq!(agent.poll(10), None);
    let waits = agent.writer.poll_timeout().unwrap();
    assert_eq!(waits.1, Deadline::GroupCommit);
    let second = agent.poll(12).unwrap();
    assert_eq!((first.header.body.changes, second.header.body.changes), (1, 9));
}

#[test]
fn a_message_is_bounded_and_a_larger_value_travels_alone() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let large = "x".repeat(limits::MESSAGE_BODY_BYTES);
    let small = "x".repeat(limits::MESSAGE_BODY_BYTES / 3);
    for value in [&small, &large, &small, &small, &small] {
        agent.write(10, "k", value, 1000).unwrap();
    }
    let sizes: Vec<(u32, bool)> = std::iter::from_fn(|| agent.poll(20))
        .map(|append| {
            let bounded = append.body.len() <= limits::MESSAGE_BODY_BYTES;
            (append.header.body.changes, bounded)
        })
        .collect();
    assert_eq!(sizes, [(1, true), (1, false), (2, true), (1, true)]);
}

#[test]
fn what_is_held_is_bounded() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let value = "x".repeat(limits::WRITER_BYTES / 5);
    for _ in 0..4 {
        assert!(agent.write(10, "k", &value, 1000).is_ok());
    }
    assert_eq!(agent.write(10, "k", &value, 1000), Err(Refused::Overloaded));
    agent.commit(20, &mut log);
    assert!(agent.write(20, "k", &value, 1000).is_ok());
    let large = "x".repeat(limits::VALUE_BYTES + 1);
    assert_eq!(agent.write(20, "k", &large, 1000), Err(Refused::TooLarge));
}

#[test]
fn a_write_saw_the_store_and_what_own_writes_in_flight_saw() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let other = RegionName::parse("us-east").unwrap();
    let stamp = Hlc::at(Wall::from_millis(EPOCH));
    let remote = Change {
        id: cell("k"),
        version: Version {
            hlc: stamp,
            region: other.clone(),
            writer: WriterId(9),
        },
        seen: Seen::default(),
        expires_at: None,
        op: Op::Delete,
        trace: None,
    };
    agent.store.apply(remote, Wall::default());
    agent.write(10, "k", "1", 1000).unwrap();
    agent.write(10, "k", "2", 1000).unwrap();
    let changes: Vec<Change> = std::iter::from_fn(|| agent.poll(20))
        .flat_map(|append| body::decode(&log_name().region, append.body).unwrap())
        .collect();
    assert_eq!(changes.len(), 2);
    let newest = |at: usize| changes[at].seen.newest(&other).map(|stamp| stamp.hlc);
    assert_eq!([newest(0), newest(1)], [Some(stamp), Some(stamp)]);
    // The one in flight may turn out void; its writer already shows that it was known.
    assert_eq!(changes[1].seen.newest(&log_name().region), None);
    assert_eq!(changes[1].version.writer, changes[0].version.writer);
    assert!(changes[0].version.hlc < changes[1].version.hlc);
}

#[test]
fn an_end_is_counted_from_the_stamp() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let write = Write {
        id: cell("k"),
        op: Op::Delete,
        ttl: Some(Duration::from_micros(1500)),
        trace: None,
        deadline: Mono::from_nanos(u64::MAX),
    };
    agent.writer.handle_write(agent.now(10), write).unwrap();
    agent.commit(20, &mut log);
    let held = &agent.store.held(&cell("k")).unwrap().cell;
    assert_eq!(
        held.expires_at,
        Some(Wall::from_millis(held.version.hlc.millis() + 1))
    );
}

#[test]
fn an_unanswered_message_is_sent_again_and_counts_once() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let ticket = agent.write(10, "k", "v", 9000).unwrap();
    let first = agent.poll(10).unwrap();
    agent.timeout(1010);
    assert_eq!(agent.poll(1010), None);
    agent.timeout(1510);
    let second = agent.poll(1510).unwrap();
    assert_eq!((first.sending, second.sending), (1, 2));
    assert_eq!(first.header.encode(), second.header.encode());
    assert_eq!(first.body, second.body);
    log.append(1511, second.token, second.header, second.body);
    log.append(1512, first.token, first.header, first.body);
    agent.read_all(1513, &log);
    accepted(&agent.outcomes[&ticket]);
    assert_eq!(agent.outcomes.len(), 1);
}

#[test]
fn a_deadline_before_the_read_back_leaves_the_outcome_unknown() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let ticket = agent.write(10, "k", "v", 100).unwrap();
    let append = agent.poll(10).unwrap();
    assert_eq!(agent.writer.poll_timeout().unwrap().1, Deadline::Client);
    agent.timeout(110);
    assert!(matches!(agent.outcomes[&ticket], Outcome::Unknown { .. }));
    assert!(agent.writer.is_idle());
    log.append(111, append.token, append.header, append.body);
    agent.read_all(112, &log);
    assert_eq!(agent.outcomes.len(), 1);
}

#[test]
fn a_silent_log_refuses_writes_and_is_probed_once_a_second() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let sent = agent.write(0, "k", "v", 60_000).unwrap();
    assert!(agent.poll(0).is_some());
    let queued = (0..limits::APPENDS_IN_FLIGHT + 1).map(|_| agent.write(0, "k", "w", 60_000).unwrap());
    let queued: Vec<Ticket> = queued.collect();
    let mut sendings = Vec::new();
    for now in (10..9000).step_by(10) {
        agent.timeout(now);
        while let Some(append) = agent.poll(now) {
            if agent.events.contains(&Event::NotWritable) {
                sendings.push((now, append.message_id));
            }
        }
    }
    assert!(!agent.writer.is_writable());
    assert_eq!(agent.write(9000, "k", "v", 1000), Err(Refused::NotWritable));
    assert!(!agent.outcomes.contains_key(&sent), "it may be in the log");
    assert!(
        queued.iter().all(|ticket| !agent.outcomes.contains_key(ticket)),
        "sent with the second message"
    );
    assert!((4..=7).contains(&sendings.len()), "{sendings:?}");
    assert!(sendings.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 1000));
    agent.timeout(9990);
    let probe = agent.poll(9990).unwrap();
    let sequence = log.append(9990, probe.token, probe.header, probe.body);
    agent.writer.handle_published(probe.message_id, sequence);
    agent.read_all(9990, &log);
    assert_eq!(agent.events.last(), Some(&Event::Writable));
    assert!(agent.write(9991, "k", "v", 1000).is_ok());
}

#[test]
fn a_silent_log_is_noticed_although_clients_give_up_first() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let mut first = None;
    for now in (0..5000).step_by(10) {
        if now % 200 == 0 && agent.writer.is_writable() {
            agent.write(now, "k", "v", 150).unwrap();
        }
        agent.timeout(now);
        while let Some(append) = agent.poll(now) {
            first.get_or_insert(append);
        }
        if !agent.writer.is_writable() {
            break;
        }
    }
    assert!(!agent.writer.is_writable());
    assert_eq!(agent.write(5000, "k", "v", 150), Err(Refused::NotWritable));
    let first = first.unwrap();
    let late = log.append(5001, first.token, first.header, first.body);
    agent.writer.handle_published(first.message_id, late);
    assert!(agent.writer.is_writable(), "a late answer is an answer");
}

#[test]
fn a_burst_that_goes_unanswered_together_is_one_silence() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    for n in 0..limits::APPENDS_IN_FLIGHT as u64 {
        agent.write(10 * n, "k", "v", 60_000).unwrap();
        assert!(agent.poll(10 * n + 5).is_some());
    }
    agent.timeout(1100);
    assert!(agent.writer.is_writable());
    agent.commit(2000, &mut log);
    assert!(agent.writer.is_writable());
}

#[test]
fn an_idle_writer_probes_a_silent_log_with_a_barrier() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    agent.write(0, "k", "v", 5000).unwrap();
    let mut probes = Vec::new();
    for now in (0..20_000).step_by(10) {
        agent.timeout(now);
        while let Some(append) = agent.poll(now) {
            probes.push((now, append));
        }
        if now == 10_000 {
            assert_eq!(agent.outcomes.len(), 1);
        }
    }
    let (_, last) = probes.pop().unwrap();
    assert!(matches!(last.header.record, Record::Barrier(_)));
    assert!(probes.len() < 25, "{}", probes.len());
    log.append(20_000, last.token, last.header, last.body);
    agent.read_all(20_000, &log);
    assert!(agent.writer.is_writable() && agent.writer.is_idle());
}

#[test]
fn a_full_log_fails_what_is_in_it_for_certain_not() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    let certain = agent.write(0, "k", "v", 60_000).unwrap();
    let append = agent.poll(0).unwrap();
    agent
        .writer
        .handle_publish_failed(agent.now(1), append.message_id, PublishError::Full);
    let uncertain = agent.write(1, "k", "v", 9000).unwrap();
    let append = agent.poll(1).unwrap();
    agent.timeout(1001);
    agent.timeout(1501);
    assert_eq!(agent.poll(1501).unwrap().message_id, append.message_id);
    agent
        .writer
        .handle_publish_failed(agent.now(1502), append.message_id, PublishError::Full);
    agent.timeout(9001);
    assert_eq!(agent.outcomes[&certain], Outcome::Failed(Failure::LogFull));
    assert!(matches!(agent.outcomes[&uncertain], Outcome::Unknown { .. }));
}

#[test]
fn a_clock_ahead_fails_writes_only_until_it_is_corrected() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    agent.skew = 8 * 3600 * 1000;
    let ahead: Vec<Ticket> = (0..3).map(|_| agent.write(10, "k", "v", 9000).unwrap()).collect();
    agent.commit(20, &mut log);
    for ticket in &ahead {
        let failed = Outcome::Failed(Failure::Void(Void::ClockAhead));
        assert_eq!(agent.outcomes[ticket], failed);
    }
    agent.skew = 0;
    let mended = agent.write(30, "k", "v", 9000).unwrap();
    agent.commit(40, &mut log);
    accepted(&agent.outcomes[&mended]);
}

#[test]
fn own_messages_in_flight_stay_within_half_of_max_behind() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    agent.write(10, "k", "held up", 60_000).unwrap();
    let held_up = agent.poll(10).unwrap();
    agent.write(4000, "k", "v", 60_000).unwrap();
    let second = agent.poll(4002).unwrap();
    log.append(4002, second.token, second.header, second.body);
    agent.read_all(4002, &log);
    let late = agent.write(5100, "k", "w", 60_000).unwrap();
    let early: Vec<Append> = std::iter::from_fn(|| agent.poll(5200)).collect();
    assert!(early.iter().all(|append| append.message_id == held_up.message_id));
    assert!(
        agent
            .writer
            .poll_timeout()
            .is_none_or(|(_, what)| what != Deadline::GroupCommit)
    );
    log.append(5300, held_up.token, held_up.header, held_up.body);
    agent.read_all(5300, &log);
    agent.commit(5300, &mut log);
    accepted(&agent.outcomes[&late]);
    assert!(
        agent
            .outcomes
            .values()
            .all(|outcome| matches!(outcome, Outcome::Accepted { .. }))
    );
}

#[test]
fn an_acknowledgement_shows_a_lost_tail_and_a_rewind_repairs_it() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    agent.write(10, "k", "lost", 60_000).unwrap();
    agent.commit(10, &mut log);
    let at_fork = {
        let mut fold = Fold::new(log_name());
        while fold.at().sequence < Sequence(2) {
            log.read(&mut fold).unwrap();
        }
        fold
    };
    log.0.truncate(2);
    let ticket = agent.write(20, "k", "v", 60_000).unwrap();
    let append = agent.poll(20).unwrap();
    agent.writer.handle_published(append.message_id, Sequence(3));
    agent.collect();
    let suspected = Event::LifeSuspected {
        acknowledged: Anchor {
            sequence: Sequence(3),
            message_id: append.message_id,
        },
        read: Sequence(3),
    };
    assert_eq!(agent.events.last(), Some(&suspected));
    log.append(20, append.token, append.header, append.body);
    let parent = at_fork.position().unwrap().life;
    log.append(
        30,
        SubjectToken::Agent,
        life_header(2, Some(parent), Sequence(2)),
        Bytes::new(),
    );
    agent.fold = at_fork;
    agent.writer.handle_rewind(&agent.fold);
    agent.read_all(40, &log);
    let (_, at, _) = accepted(&agent.outcomes[&ticket]);
    assert_eq!(at, Sequence(3));
}

#[test]
fn a_message_acknowledged_where_another_was_read_is_sent_again() {
    let mut log = Log::new();
    let mut agent = ready(&mut log);
    agent.write(10, "k", "v", 60_000).unwrap();
    let append = agent.poll(10).unwrap();
    agent.writer.handle_published(append.message_id, Sequence(3));
    assert_eq!(agent.poll(10), None);
    let mut other = Agent::new(2);
    other.commit(11, &mut log);
    agent.read_all(11, &log);
    assert_eq!(agent.poll(11).unwrap().message_id, append.message_id);
}
