//! Checks of streams, servers and disks.

use std::path::PathBuf;
use std::time::Duration;

use isthmus_report::{Finding, Verdict};

use super::graded;
use super::machine::Room;

const MIB: u64 = 1024 * 1024;
/// Free space below this is a failure, whatever is stored.
const LEAST_FREE: u64 = 256 * MIB;

/// The replicas of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamCopies {
    /// The configured number.
    pub wanted: usize,
    /// The number that is up to date, the leader included.
    pub current: usize,
    /// Whether it has a leader.
    pub led: bool,
}

/// Checks the replicas of a stream.
#[must_use]
pub fn copies(of: &str, copies: StreamCopies) -> Finding {
    let check = "replicas";
    let StreamCopies { wanted, current, led } = copies;
    if !led || current * 2 <= wanted {
        let found = format!("{current} of {wanted} copies are current: it accepts no writes");
        return Finding::fail(check, of, found, "start the region's NATS servers that are down");
    }
    if current < wanted {
        let found = format!("{current} of {wanted} copies are current");
        return Finding::warn(
            check,
            of,
            found,
            "check the region's NATS servers that are behind or down",
        );
    }
    if wanted == 1 {
        let mend = "set log.replicas: 3 and run three NATS servers in the region, unless this is development";
        return Finding::warn(check, of, "one copy: what its server loses is lost", mend);
    }
    Finding::ok(check, of, format!("{current} copies"))
}

/// Checks for files with values or secrets that other users can read; `wider` contains them with
/// their permissions.
#[must_use]
pub fn permissions(wider: &[(PathBuf, u32)]) -> Finding {
    let check = "permissions";
    if wider.is_empty() {
        return Finding::ok(check, "", "nobody else can read checkpoints or keys");
    }
    let wider_texts = wider
        .iter()
        .take(3)
        .map(|(path, mode)| format!("{} has {mode:04o}", path.display()));
    let mut found = wider_texts.collect::<Vec<_>>().join(", ");
    if wider.len() > 3 {
        found.push_str(&format!(", and {} more", wider.len() - 3));
    }
    let mend = "chmod go= them; give each agent its own `data` folder with nothing else in it";
    Finding::warn(check, "", found, mend)
}

/// Checks how full a stream is.
#[must_use]
pub fn stream_room(of: &str, bytes: u64, most: u64) -> Finding {
    let check = "stream limit";
    let share = bytes as f64 / most.max(1) as f64;
    let found = format!("{} of {} MiB", bytes / MIB, most / MIB);
    let mend = "raise log.max_bytes and the stream's limit, or find out why the log is not trimmed (isthmus status shows which peer is behind)";
    Finding::of_verdict(graded(&share, &0.8, &0.95), check, of, found, mend)
}

/// Checks how much of a NATS server's storage is used (`used`) and reserved for streams
/// (`reserved`).
#[must_use]
pub fn server_storage(of: &str, used: u64, reserved: u64, most: u64) -> Finding {
    let check = "nats storage";
    let found = format!(
        "{} MiB stored, streams may grow to {} MiB, the server's limit is {} MiB",
        used / MIB,
        reserved / MIB,
        most / MIB
    );
    let mend = "raise jetstream.max_file_store above the limits of all streams: a server that reaches its own limit can wedge a stream";
    let share = used as f64 / most.max(1) as f64;
    let verdict = if reserved > most {
        Verdict::Warn
    } else {
        Verdict::Ok
    };
    Finding::of_verdict(verdict.max(graded(&share, &0.8, &0.95)), check, of, found, mend)
}

/// Checks when a NATS server syncs acknowledged data to the disk: always, or every `interval`.
#[must_use]
pub fn sync_interval(of: &str, always: bool, interval: Duration) -> Finding {
    let check = "sync interval";
    if always {
        return Finding::ok(check, of, "always");
    }
    let found = format!(
        "{} s: a power loss destroys what was acknowledged since",
        interval.as_secs_f64()
    );
    Finding::warn(
        check,
        of,
        found,
        "set jetstream.sync_interval: always, unless this is development",
    )
}

/// Checks a disk on which up to `may_grow` more bytes may be needed.
#[must_use]
pub fn disk(of: &str, room: Room, may_grow: u64) -> Finding {
    let check = "disk";
    let found = format!(
        "{} MiB of {} MiB free, {} MiB may be needed",
        room.free / MIB,
        room.total / MIB,
        may_grow / MIB
    );
    let verdict = match room.free {
        free if free < LEAST_FREE => Verdict::Fail,
        free if free < may_grow.max(2 * LEAST_FREE) => Verdict::Warn,
        _ => Verdict::Ok,
    };
    Finding::of_verdict(verdict, check, of, found, "make room, or use a larger disk")
}

/// Checks the memory of an agent's stores; from `limit` on, puts are refused.
#[must_use]
pub fn memory(used: u64, limit: u64) -> Finding {
    let check = "memory";
    let share = used as f64 / limit.max(1) as f64;
    let found = format!(
        "{} MiB of cells; from {} MiB on puts are refused",
        used / MIB,
        limit / MIB
    );
    let mend = "raise memory.soft, give keys a time to live, or split the set";
    Finding::of_verdict(graded(&share, &0.8, &1.0), check, "", found, mend)
}
