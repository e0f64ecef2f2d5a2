//! Reports to operators that a stream of the region is missing, and that it exists again.

use isthmus_log::{EnsureError, JournalName, LogSettings, MissingStreams, Ports, StreamChange};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::time::Wall;
use isthmus_report::Finding;
use isthmus_report::gateway::MissingStream;
use isthmus_runtime::Process;
use isthmus_runtime::events::{Events, Severity, Source};
use isthmus_runtime::supervise::{SpawnRefused, TaskKind};
use serde_json::json;

use crate::History;

/// Watches the logs of `shards` and the other streams of the region until the process stops, and
/// creates them again if `wanted` allows it.
///
/// # Errors
/// [`SpawnRefused`].
pub fn watch<S>(
    process: &Process<S>,
    ports: Ports,
    shards: Vec<Shard>,
    wanted: LogSettings,
    missing: MissingStreams,
    history: History,
) -> Result<(), SpawnRefused> {
    let events = process.events.clone();
    let watch = async move {
        let tell = |change| tell(&events, &history, change, wanted.create);
        ports.watch_streams(&shards, &wanted, &missing, tell).await;
    };
    process
        .supervisor
        .spawn_until_stopped(TaskKind::Work, "streams", watch)
}

/// Every process of the region observes the change, and the region keeps the event once.
fn tell(events: &Events, history: &History, change: StreamChange, creates: bool) {
    match change {
        StreamChange::Missing { what, was_made } => {
            let stream = name(&what).to_owned();
            let text = missing(&what, creates);
            let fields = json!({ "stream": stream });
            match was_made {
                Some(made) => {
                    let fact = fact(&stream, made);
                    let source = Source::default();
                    events.record_shared(&source, Severity::Alarm, "stream_missing", fact, text, fields);
                }
                None => events.record(Severity::Alarm, "stream_missing", text, fields),
            }
        }
        StreamChange::Back {
            stream,
            made,
            journal,
        } => {
            if journal == Some(JournalName::Events) {
                history.carry_again();
            }
            let fields = json!({ "stream": stream });
            match made {
                Some(made) => {
                    let text = format!(
                        "stream {stream} exists again: it was created again without its old contents"
                    );
                    let fact = fact(&stream, made);
                    let source = Source::default();
                    events.record_shared(&source, Severity::Warning, "stream_back", fact, text, fields);
                }
                None => {
                    let text =
                        format!("the consumers through which this process reads stream {stream} exist again");
                    events.record(Severity::Warning, "stream_back", text, fields);
                }
            }
        }
    }
}

/// The missing streams, for the status, by name.
#[must_use]
pub fn shown(missing: &MissingStreams) -> Vec<MissingStream> {
    let all = missing.all().into_iter();
    all.map(|(stream, what)| MissingStream {
        stream,
        reason: what.to_string(),
    })
    .collect()
}

/// The missing streams, for `isthmus doctor`.
#[must_use]
pub fn findings(missing: &MissingStreams) -> Vec<Finding> {
    let all = missing.all();
    if all.is_empty() {
        return vec![Finding::ok("streams", "", "none was found missing")];
    }
    let mend = "isthmus region init, with the operator's credentials, creates what is missing; no process has to be restarted. A process that may create streams (log.create) does it by itself";
    let missing = all.into_iter();
    missing
        .map(|(stream, what)| Finding::fail("streams", &stream, what.to_string(), mend))
        .collect()
}

fn name(what: &EnsureError) -> &str {
    match what {
        EnsureError::Missing { stream }
        | EnsureError::NoSlot { stream, .. }
        | EnsureError::Differs { stream, .. }
        | EnsureError::NoStorage { stream, .. }
        | EnsureError::Refused { stream, .. }
        | EnsureError::Unanswered { stream } => stream,
    }
}

fn missing(what: &EnsureError, creates: bool) -> String {
    match what {
        EnsureError::Missing { stream } if creates => {
            format!("stream {stream} is gone with all its contents; it is being created again")
        }
        what => what.to_string(),
    }
}

fn fact(stream: &str, made: Wall) -> String {
    format!("{stream}-{}", made.micros())
}
