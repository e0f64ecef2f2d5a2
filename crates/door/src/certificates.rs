//! The certificates of a process's listeners: loaded, reloaded when their files change, with
//! warnings before they expire.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isthmus_link::{CredentialsError, DoorFiles, DoorTls, Fingerprint};
use isthmus_replication::reminder::Reminder;
use isthmus_report::Finding;
use isthmus_runtime::Process;
use isthmus_runtime::doctor;
use isthmus_runtime::events::Severity;
use isthmus_runtime::metrics::{Gauge, Labels};
use isthmus_runtime::settings::{Document, DoorSettings, Settings, SettingsError};
use isthmus_runtime::supervise::{SpawnRefused, TaskKind};
use serde_json::json;
use tokio::time::sleep;

/// Interval between two checks of a certificate's expiry.
const LOOK: Duration = Duration::from_secs(60);
/// Remaining validity in seconds from which on a warning is recorded.
const SOON: u64 = doctor::CERTIFICATE_SOON.as_secs();
/// Remaining validity in seconds from which on it is an alarm. This is also the interval of
/// reminders.
const NOW: u64 = doctor::CERTIFICATE_NOW.as_secs();
const REPORTED_EVERY: Duration = doctor::CERTIFICATE_NOW;
/// How often files are read again.
pub const POLL: Duration = Duration::from_secs(2);

/// A door's name and its TLS.
pub type OfDoor = (&'static str, Arc<DoorTls>);

/// The TLS that a door's settings require; `within` is the path of keys to its key `tls`.
///
/// # Errors
/// [`SettingsError`] at the key that names the file, with the fix.
pub fn load<R>(
    document: &Document,
    within: &[&str],
    settings: &DoorSettings<R>,
) -> Result<Option<Arc<DoorTls>>, SettingsError> {
    let Some(tls) = &settings.tls else { return Ok(None) };
    let files = DoorFiles {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        clients: tls.clients.clone(),
        revoked: tls.revoked.clone(),
    };
    DoorTls::load(files)
        .map(|tls| Some(Arc::new(tls)))
        .map_err(|error| {
            let file = error.file();
            let key = match () {
                () if file == Some(&*tls.key) => "key",
                () if file == tls.clients.as_deref() => "clients",
                () if file == tls.revoked.as_deref() => "revoked",
                () => "certificate",
            };
            let keys: Vec<&str> = within.iter().copied().chain(["tls", key]).collect();
            document.fault(&keys, sentence(&error), "")
        })
}

/// An error with its causes as one sentence.
#[must_use]
pub fn sentence(error: &CredentialsError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(" ({source})"));
        cause = source.source();
    }
    text
}

/// Reloads a door's certificate when its files change, and warns before it expires. `name` is the
/// door's.
///
/// # Errors
/// If a task could not be started.
pub fn keep<S: Settings>(
    process: &Process<S>,
    ends: &Ends,
    name: &'static str,
    tls: &Arc<DoorTls>,
) -> Result<(), SpawnRefused> {
    let (events, watched) = (process.events.clone(), Arc::clone(tls));
    let report = move |outcome| tell_reload(&events, name, outcome);
    let task = format!("credentials of the {name}");
    let watching = watched.watch(POLL, report);
    process
        .supervisor
        .spawn_until_stopped(TaskKind::Work, task, watching)?;
    let tls = Arc::clone(tls);
    watch_end(process, ends, name, move || tls.own())
}

/// Records the event of reloaded credentials, or of a failed reload.
pub fn tell_reload(
    events: &isthmus_runtime::events::Events,
    of: &'static str,
    outcome: Result<u64, CredentialsError>,
) {
    match outcome {
        Ok(generation) => events.record(
            Severity::Notice,
            "credentials_reloaded",
            format!("the {of} certificate and its trust were reloaded; existing connections are checked against them"),
            json!({ "of": of, "generation": generation }),
        ),
        Err(error) => events.record(
            Severity::Warning,
            "credentials_refused",
            format!(
                "a changed {of} certificate or trust is not used: {}",
                sentence(&error)
            ),
            json!({ "of": of }),
        ),
    }
}

/// Shows the expiry of a certificate of this process as a metric, and records events before it.
/// `own` returns its fingerprint and expiry.
///
/// # Errors
/// If the task could not be started.
pub fn watch_end<S: Settings>(
    process: &Process<S>,
    ends: &Ends,
    of: &'static str,
    own: impl Fn() -> (Fingerprint, u64) + Clone + Send + Sync + 'static,
) -> Result<(), SpawnRefused> {
    let shown = own.clone();
    ends.add(move || vec![(vec![("of", of.to_owned()), ("peer", String::new())], shown().1)]);
    let (clock, events) = (process.clock.clone(), process.events.clone());
    let watching = async move {
        let mut reminder = Reminder::every(REPORTED_EVERY);
        let mut reported = None;
        loop {
            let (now, (fingerprint, end)) = (clock.now(), own());
            let left = end.saturating_sub(now.wall.micros() / 1_000_000);
            let ending = ending(left);
            let severity = ending.map(|(severity, _)| severity);
            if reported != severity {
                reported = severity;
                reminder.end();
            }
            match ending {
                Some((severity, kind)) if reminder.take(now.mono) => {
                    let when = match left {
                        0 => "has expired".to_owned(),
                        left => format!("expires in {} h", left.div_ceil(3_600)),
                    };
                    let text = format!(
                        "the {of} certificate {when}: put a new one in its place; it is loaded without a restart"
                    );
                    let fields =
                        json!({ "of": of, "fingerprint": fingerprint.to_string(), "seconds_left": left });
                    events.record(severity, kind, text, fields);
                }
                _ => {}
            }
            sleep(LOOK).await;
        }
    };
    let task = format!("end of the {of}'s certificate");
    process
        .supervisor
        .spawn_until_stopped(TaskKind::Work, task, watching)
}

/// The expiry of all certificates that a process has or sees, as one metric. Clones share it.
#[derive(Clone)]
pub struct Ends(Arc<Mutex<Vec<Source>>>);

/// Certificates by their labels, with their expiry in seconds since the Unix epoch.
type Source = Box<dyn Fn() -> Vec<(Labels, u64)> + Send>;

impl Ends {
    /// Without certificates. Call it once for a process.
    #[must_use]
    pub fn new<S>(process: &Process<S>) -> Self {
        let ends = Self(Arc::default());
        let shown = ends.clone();
        process.metrics.sampled(move || vec![shown.gauge()]);
        ends
    }

    /// Adds a source of certificates. It is called for each sample of the metric and must not
    /// block.
    pub fn add(&self, source: impl Fn() -> Vec<(Labels, u64)> + Send + 'static) {
        self.sources().push(Box::new(source));
    }

    fn gauge(&self) -> Gauge {
        let help = "When a certificate expires, in seconds since the Unix epoch";
        let mut gauge = Gauge::new("certificate_not_after_timestamp_seconds", help, None);
        for (labels, end) in self.sources().iter().flat_map(|source| source()) {
            #[allow(clippy::cast_precision_loss)]
            gauge.sample(labels, Some(end as f64));
        }
        gauge
    }

    fn sources(&self) -> MutexGuard<'_, Vec<Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ends").field(&self.sources().len()).finish()
    }
}

/// The doctor's findings about the certificates of a process's doors, at `now` in seconds since the
/// Unix epoch.
pub fn findings(doors: impl IntoIterator<Item = OfDoor>, now: u64) -> Vec<Finding> {
    let one = |(of, tls): OfDoor| {
        let left = tls.own().1.checked_sub(now).map(Duration::from_secs);
        doctor::certificate(&format!("the {of} door"), left)
    };
    doors.into_iter().map(one).collect()
}

/// The severity of a certificate that is valid for `left` more seconds; `None` if that is long
/// enough.
fn ending(left: u64) -> Option<(Severity, &'static str)> {
    match left {
        0..NOW => Some((Severity::Alarm, "certificate_ends")),
        NOW..SOON => Some((Severity::Warning, "certificate_ends")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_warns_for_two_weeks_and_alarms_on_its_last_day() {
        let found = [0, NOW - 1, NOW, SOON - 1, SOON].map(|left| ending(left).map(|(severity, _)| severity));
        let (alarm, warning) = (Some(Severity::Alarm), Some(Severity::Warning));
        assert_eq!(found, [alarm, alarm, warning, warning, None]);
    }
}
