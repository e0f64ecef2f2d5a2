//! The required settings of streams, which are created with them or compared with them one by one.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::time::Wall;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::request::{NAME_IN_USE, NO_STORAGE, NO_SUITABLE_PEERS, TEMPORARILY_UNAVAILABLE, Unfulfilled};
use crate::journal::journal_bounds;
use crate::{Difference, EnsureError, JournalName, LogSettings, RegionNames};

/// [`ensure`] gives up after this long without an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);
/// Number of "no such stream" answers after which a stream counts as missing: a cluster gives such
/// answers for a moment during an election.
const ABSENCES: u32 = 3;

/// The stream of a shard's log (design.md section 5).
pub(super) fn log(names: &RegionNames, shard: &Shard, settings: &LogSettings) -> Config {
    Config {
        name: names.stream(shard),
        subjects: vec![names.subjects(shard)],
        max_bytes: i64::try_from(settings.max_bytes).unwrap_or(i64::MAX),
        num_replicas: usize::from(settings.replicas),
        deny_delete: true,
        ..unlimited()
    }
}

/// The stream of the lease bucket (design.md section 7): one message per lease, each with its time
/// to live.
pub(super) fn leases(names: &RegionNames, replicas: u8) -> Config {
    const MARKERS: Duration = Duration::from_secs(60);
    let bucket = names.lease_bucket();
    Config {
        subjects: vec![format!("$KV.{bucket}.>")],
        name: format!("KV_{bucket}"),
        max_messages_per_subject: 1,
        num_replicas: usize::from(replicas),
        deny_delete: true,
        allow_rollup: true,
        allow_direct: true,
        allow_message_ttl: true,
        subject_delete_marker_ttl: Some(MARKERS),
        max_bytes: -1,
        ..unlimited()
    }
}

/// The stream of a journal: one message per entry; the oldest are dropped.
pub(super) fn journal(names: &RegionNames, journal: &JournalName, replicas: u8) -> Config {
    let bounds = journal_bounds(journal);
    Config {
        name: names.journal(journal),
        subjects: vec![names.journal_subjects(journal)],
        discard: DiscardPolicy::Old,
        max_bytes: i64::try_from(bounds.bytes).unwrap_or(i64::MAX),
        max_age: bounds.age.unwrap_or_default(),
        max_messages_per_subject: 1,
        num_replicas: usize::from(replicas),
        deny_delete: true,
        ..unlimited()
    }
}

/// How a stream's bounds are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bounds {
    /// They must equal the required ones.
    Exact,
    /// An operator may have chosen others, but there must be a limit in bytes.
    AnyButNone,
}

fn unlimited() -> Config {
    Config {
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        max_age: Duration::ZERO,
        ..Config::default()
    }
}

/// Creates the stream if it is missing and may be created, and always compares it.
pub(super) async fn ensure(
    connection: &Connection,
    wanted: &Config,
    create: bool,
    bounds: Bounds,
) -> Result<(), EnsureError> {
    let (deadline, stream) = (Instant::now() + PATIENCE, &wanted.name);
    let mut absences = 0;
    while Instant::now() < deadline {
        match connection.stream_info(stream).await {
            Ok(info) => return compare(&info.config, &to_compare(&info.config, wanted, bounds)),
            Err(Unfulfilled::Refused { code, description }) if !passes(code) => {
                return Err(refused(stream, code, description));
            }
            Err(Unfulfilled::NoStream) if create => {
                if try_create(connection, wanted).await? {
                    continue;
                }
            }
            Err(Unfulfilled::NoStream) => {
                absences += 1;
                if absences == ABSENCES {
                    return Err(EnsureError::Missing {
                        stream: stream.clone(),
                    });
                }
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
    }
    Err(EnsureError::Unanswered {
        stream: stream.clone(),
    })
}

pub(super) async fn made_at(connection: &Connection, stream: &str) -> Result<Wall, EnsureError> {
    match connection.stream_info(stream).await {
        Ok(info) => Ok(info.made_at()),
        Err(Unfulfilled::NoStream) => Err(EnsureError::Missing {
            stream: stream.to_owned(),
        }),
        Err(Unfulfilled::Refused { code, description }) if !passes(code) => {
            Err(refused(stream, code, description))
        }
        Err(_) => Err(EnsureError::Unanswered {
            stream: stream.to_owned(),
        }),
    }
}

fn to_compare(found: &Config, wanted: &Config, bounds: Bounds) -> Config {
    let mut wanted = wanted.clone();
    if bounds == Bounds::AnyButNone && found.max_bytes > 0 {
        wanted.max_bytes = found.max_bytes;
        wanted.max_age = found.max_age;
    }
    wanted
}

#[derive(Deserialize)]
struct Created {}

/// Returns whether the stream was created; false if the caller may try again.
async fn try_create(connection: &Connection, wanted: &Config) -> Result<bool, EnsureError> {
    let stream = &wanted.name;
    match connection
        .ask::<_, Created>(format!("STREAM.CREATE.{stream}"), wanted)
        .await
    {
        Ok(Created {}) => Ok(true),
        Err(Unfulfilled::Refused { code: NO_STORAGE, .. }) => Err(EnsureError::NoStorage {
            stream: stream.clone(),
            max_bytes: u64::try_from(wanted.max_bytes).unwrap_or(0),
        }),
        Err(Unfulfilled::Refused { code, description }) if !passes(code) => {
            Err(refused(stream, code, description))
        }
        Err(_) => Ok(false),
    }
}

/// Whether a refusal is temporary: a cluster that is forming or electing, or another process that
/// creates the same stream.
fn passes(code: u64) -> bool {
    [TEMPORARILY_UNAVAILABLE, NO_SUITABLE_PEERS, NAME_IN_USE].contains(&code)
}

fn refused(stream: &str, code: u64, description: String) -> EnsureError {
    EnsureError::Refused {
        stream: stream.to_owned(),
        code,
        description,
    }
}

const MEND_FIXED: &str = "the stream was not created for this; move its data away and create it again";
const MEND_EDIT: &str = "change it with nats stream edit, or the setting here (log.*)";

fn compare(found: &Config, wanted: &Config) -> Result<(), EnsureError> {
    let fixed = [
        differs("subjects", &found.subjects, &wanted.subjects, MEND_FIXED),
        differs("retention", &found.retention, &wanted.retention, MEND_FIXED),
        differs("storage", &found.storage, &wanted.storage, MEND_FIXED),
        differs("mirror", &found.mirror.is_some(), &false, MEND_FIXED),
        differs(
            "sources",
            &found.sources.as_ref().is_some_and(|sources| !sources.is_empty()),
            &false,
            MEND_FIXED,
        ),
        differs(
            "subject_transform",
            &found.subject_transform.is_some(),
            &false,
            MEND_FIXED,
        ),
        differs("sealed", &found.sealed, &false, MEND_FIXED),
        differs("deny_delete", &found.deny_delete, &wanted.deny_delete, MEND_FIXED),
        differs("deny_purge", &found.deny_purge, &false, MEND_FIXED),
        differs(
            "allow_msg_ttl",
            &found.allow_message_ttl,
            &wanted.allow_message_ttl,
            MEND_FIXED,
        ),
    ];
    let editable = [
        differs("discard", &found.discard, &wanted.discard, MEND_EDIT),
        differs("max_age", &found.max_age, &wanted.max_age, MEND_EDIT),
        differs("max_msgs", &found.max_messages, &wanted.max_messages, MEND_EDIT),
        differs(
            "max_msgs_per_subject",
            &found.max_messages_per_subject,
            &wanted.max_messages_per_subject,
            MEND_EDIT,
        ),
        differs("max_bytes", &found.max_bytes, &wanted.max_bytes, MEND_EDIT),
        differs(
            "num_replicas",
            &found.num_replicas,
            &wanted.num_replicas,
            MEND_EDIT,
        ),
        differs(
            "allow_direct",
            &found.allow_direct,
            &wanted.allow_direct,
            MEND_EDIT,
        ),
        differs("no_ack", &found.no_ack, &false, MEND_EDIT),
    ];
    match fixed.into_iter().chain(editable).flatten().next() {
        Some(difference) => Err(EnsureError::Differs {
            stream: wanted.name.clone(),
            difference,
        }),
        None => Ok(()),
    }
}

fn differs<T: PartialEq + std::fmt::Debug>(
    setting: &'static str,
    found: &T,
    wanted: &T,
    mend: &'static str,
) -> Option<Difference> {
    (found != wanted).then(|| Difference {
        setting,
        found: format!("{found:?}"),
        wanted: format!("{wanted:?}"),
        mend,
    })
}
