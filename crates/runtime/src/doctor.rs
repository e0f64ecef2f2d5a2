//! Checks that find problems early, and their severity. Each check is a pure function of
//! measurements; processes and the command line measure, and all of them use these functions.

use std::time::Duration;

use isthmus_report::{Finding, Verdict};

pub mod machine;
mod storage;

pub use storage::{
    StreamCopies, copies, disk, memory, permissions, server_storage, stream_room, sync_interval,
};

/// The oldest NATS server on which all required behaviour was verified: major and minor version.
pub const LEAST_NATS: (u32, u32) = (2, 12);
/// A certificate that expires sooner gets a warning.
pub const CERTIFICATE_SOON: Duration = Duration::from_secs(14 * DAY);
/// A certificate that expires sooner is a failure.
pub const CERTIFICATE_NOW: Duration = Duration::from_secs(DAY);
const DAY: u64 = 24 * 3_600;

/// `Fail` from `fail` on, `Warn` from `warn` on.
fn graded<T: PartialOrd>(value: &T, warn: &T, fail: &T) -> Verdict {
    match value {
        value if value >= fail => Verdict::Fail,
        value if value >= warn => Verdict::Warn,
        _ => Verdict::Ok,
    }
}

/// Checks a clock with an offset of `micros` ± `uncertainty`, where `limit` is the maximum that
/// Isthmus tolerates. It warns from a fifth of the limit on, if the offset may reach the limit, and
/// if the offset is unknown.
#[must_use]
pub fn clock(of: &str, offset: Option<(i64, Duration)>, limit: Duration) -> Finding {
    let check = "clock";
    let Some((micros, uncertainty)) = offset else {
        return Finding::warn(
            check,
            of,
            "the offset is not known yet",
            "ask again in a few seconds",
        );
    };
    let off = Duration::from_micros(micros.unsigned_abs());
    let found = format!(
        "{:+.1} ms, give or take {:.1} ms; the limit is {} ms",
        micros as f64 / 1e3,
        uncertainty.as_secs_f64() * 1e3,
        limit.as_millis()
    );
    let mend =
        "synchronize the clocks of both machines with NTP (chronyc tracking shows how far they are off)";
    let verdict = match graded(&off, &(limit / 5), &limit) {
        Verdict::Ok if off + uncertainty >= limit => Verdict::Warn,
        verdict => verdict,
    };
    Finding::of_verdict(verdict, check, of, found, mend)
}

/// Checks a certificate that expires `left` from now; `None` if it has expired or can't be read.
#[must_use]
pub fn certificate(of: &str, left: Option<Duration>) -> Finding {
    let check = "certificate";
    let mend = "put a new one in its place: gateways load it without a restart";
    let Some(left) = left.filter(|left| !left.is_zero()) else {
        return Finding::fail(check, of, "it has expired", mend);
    };
    let verdict = match left {
        left if left < CERTIFICATE_NOW => Verdict::Fail,
        left if left < CERTIFICATE_SOON => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let found = format!("it expires in {} days", left.as_secs() / DAY);
    Finding::of_verdict(verdict, check, of, found, mend)
}

/// Checks the throughput of one connection with this round trip, limited by the maximum TCP windows
/// of the system, where a lane may have `lane` bytes in flight.
#[must_use]
pub fn path(of: &str, rtt: Option<Duration>, windows: Option<machine::TcpWindows>, lane: u64) -> Finding {
    let check = "path";
    let Some(rtt) = rtt.filter(|rtt| !rtt.is_zero()) else {
        return Finding::warn(
            check,
            of,
            "the round trip is not known yet",
            "ask again in a few seconds",
        );
    };
    let millis = rtt.as_secs_f64() * 1e3;
    let Some(windows) = windows else {
        let found = format!("round trip {millis:.1} ms; TCP windows are not known on this system");
        return Finding::ok(check, of, found);
    };
    let window = windows.send.min(windows.receive);
    let found = format!(
        "round trip {millis:.1} ms; TCP windows up to {} KiB out and {} KiB in carry at most {:.1} MB/s",
        windows.send / 1024,
        windows.receive / 1024,
        window as f64 / rtt.as_secs_f64() / 1e6
    );
    let mend = format!(
        "a lane alone fills {} KiB: sysctl -w net.ipv4.tcp_wmem='4096 16384 16777216' net.ipv4.tcp_rmem='4096 131072 16777216', on both ends",
        lane / 1024
    );
    let verdict = if window < lane { Verdict::Warn } else { Verdict::Ok };
    Finding::of_verdict(verdict, check, of, found, &mend)
}

/// Parses the major and minor version from text such as `2.15.1` or `nats-server: v2.15.1`.
#[must_use]
pub fn major_and_minor(said: &str) -> Option<(u32, u32)> {
    let version = said.split_whitespace().next_back()?;
    let mut numbers = version.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Checks the version that a NATS server reports.
#[must_use]
pub fn nats_version(of: &str, version: Option<&str>) -> Finding {
    let check = "nats version";
    let (major, minor) = LEAST_NATS;
    let mend = format!("run nats-server {major}.{minor} or later");
    let Some(version) = version else {
        return Finding::fail(
            check,
            of,
            "the region's NATS is unreachable",
            "check the server and the network to it",
        );
    };
    match major_and_minor(version) {
        Some(found) if found >= LEAST_NATS => Finding::ok(check, of, version),
        Some(_) => Finding::fail(check, of, format!("{version} is too old"), mend),
        None => Finding::warn(check, of, format!("{version:?} is not a known version"), mend),
    }
}

#[cfg(test)]
mod tests;
