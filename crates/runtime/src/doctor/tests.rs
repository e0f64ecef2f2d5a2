#![allow(clippy::unwrap_used)]

use super::machine::{Room, TcpWindows};
use super::*;

const MIB: u64 = 1024 * 1024;

fn verdicts<const N: usize>(findings: [Finding; N]) -> [Verdict; N] {
    for finding in &findings {
        assert_eq!(
            finding.mend.is_some(),
            finding.verdict != Verdict::Ok,
            "{finding:?}"
        );
    }
    findings.map(|finding| finding.verdict)
}

#[test]
fn what_is_worse_is_greater() {
    assert!(Verdict::Ok < Verdict::Warn && Verdict::Warn < Verdict::Fail);
}

#[test]
fn a_clock_warns_from_a_fifth_of_its_limit_on() {
    let limit = Duration::from_millis(500);
    let at = |micros| clock("", Some((micros, Duration::from_millis(1))), limit);
    assert_eq!(
        verdicts([
            at(99_000),
            at(-100_000),
            at(499_000),
            at(-500_000),
            clock("", None, limit)
        ]),
        [
            Verdict::Ok,
            Verdict::Warn,
            Verdict::Warn,
            Verdict::Fail,
            Verdict::Warn
        ]
    );
    assert_eq!(
        at(-100_000).found,
        "-100.0 ms, give or take 1.0 ms; the limit is 500 ms"
    );
    let vague = clock("", Some((0, Duration::from_millis(900))), limit);
    assert_eq!(vague.verdict, Verdict::Warn);
    at(i64::MIN);
}

#[test]
fn a_certificate_warns_two_weeks_before_its_end() {
    let left = |seconds| certificate("own", Some(Duration::from_secs(seconds)));
    assert_eq!(
        verdicts([
            left(14 * DAY),
            left(14 * DAY - 1),
            left(DAY),
            left(DAY - 1),
            left(0),
            certificate("own", None)
        ]),
        [
            Verdict::Ok,
            Verdict::Warn,
            Verdict::Warn,
            Verdict::Fail,
            Verdict::Fail,
            Verdict::Fail
        ]
    );
}

#[test]
fn a_path_carries_its_smaller_window_each_round_trip() {
    let windows = |send, receive| Some(TcpWindows { send, receive });
    let rtt = Some(Duration::from_millis(80));
    let enough = path("us-east", rtt, windows(4 * MIB, 6 * MIB), 4 * MIB);
    assert!(
        enough.found.ends_with("carry at most 52.4 MB/s"),
        "{}",
        enough.found
    );
    assert_eq!(
        verdicts([
            enough,
            path("", rtt, windows(4 * MIB, MIB), 4 * MIB),
            path("", None, windows(4 * MIB, MIB), 4 * MIB),
            path("", rtt, None, 4 * MIB)
        ]),
        [Verdict::Ok, Verdict::Warn, Verdict::Warn, Verdict::Ok]
    );
    assert_eq!(machine::most("4096\t16384\t4194304\n"), Some(4 * MIB));
    assert_eq!(machine::most("4096 16384"), None);
}

#[test]
fn versions_are_compared_as_numbers() {
    assert_eq!(major_and_minor("nats-server: v2.15.1\n"), Some((2, 15)));
    assert_eq!(major_and_minor("nats-server: v2.9.10"), Some((2, 9)));
    assert!(major_and_minor("nats-server: v2.9.10") < Some(LEAST_NATS));
    assert_eq!(major_and_minor("something else"), None);
    assert_eq!(major_and_minor(""), None);
    let of = |version| nats_version("", Some(version));
    assert_eq!(
        verdicts([
            of("2.12.0"),
            of("v2.15.1-preview"),
            of("3.0"),
            of("2.9.10"),
            of("dev"),
            nats_version("", None)
        ]),
        [
            Verdict::Ok,
            Verdict::Ok,
            Verdict::Ok,
            Verdict::Fail,
            Verdict::Warn,
            Verdict::Fail
        ]
    );
}

#[test]
fn a_stream_wants_a_majority_of_its_copies_and_more_than_one() {
    let of = |wanted, current, led| copies("", StreamCopies { wanted, current, led });
    assert_eq!(
        verdicts([
            of(3, 3, true),
            of(3, 2, true),
            of(3, 1, true),
            of(3, 3, false),
            of(1, 1, true),
            of(1, 0, false)
        ]),
        [
            Verdict::Ok,
            Verdict::Warn,
            Verdict::Fail,
            Verdict::Fail,
            Verdict::Warn,
            Verdict::Fail
        ]
    );
}

#[test]
fn storage_warns_before_it_is_full() {
    assert_eq!(
        verdicts([
            stream_room("", 79, 100),
            stream_room("", 80, 100),
            stream_room("", 95, 100),
            stream_room("", 0, 0)
        ]),
        [Verdict::Ok, Verdict::Warn, Verdict::Fail, Verdict::Ok]
    );
    assert_eq!(
        verdicts([
            server_storage("", 10, 100, 100),
            server_storage("", 10, 101, 100),
            server_storage("", 80, 100, 100),
            server_storage("", 95, 100, 100)
        ]),
        [Verdict::Ok, Verdict::Warn, Verdict::Warn, Verdict::Fail]
    );
    assert_eq!(
        verdicts([memory(79, 100), memory(80, 100), memory(100, 100)]),
        [Verdict::Ok, Verdict::Warn, Verdict::Fail]
    );
    let minutes = Duration::from_secs(120);
    assert_eq!(
        verdicts([
            sync_interval("", true, minutes),
            sync_interval("", false, minutes)
        ]),
        [Verdict::Ok, Verdict::Warn]
    );
    let free = |free| Room {
        free: free * MIB,
        total: 100_000 * MIB,
    };
    assert_eq!(
        verdicts([
            disk("", free(1_000), 1_000 * MIB),
            disk("", free(999), 1_000 * MIB),
            disk("", free(511), 0),
            disk("", free(255), 0)
        ]),
        [Verdict::Ok, Verdict::Warn, Verdict::Warn, Verdict::Fail]
    );
}

#[test]
fn the_machine_says_what_room_it_has() {
    let room = machine::room(&std::env::temp_dir()).unwrap();
    assert!(room.total >= room.free && room.total > 0);
    machine::room(std::path::Path::new("/no/such/folder")).unwrap_err();
}
