//! Settings that are reloaded while the process runs, at SIGHUP or when a file has changed.
//!
//! An invalid file changes nothing. From a valid one the keys in [`Settings::LIVE`] take effect at
//! once, the others at the next start of the process; the event lists both.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::events::Severity;
use crate::run::Process;
use crate::settings::{Environment, Settings};
use crate::supervise::{SpawnRefused, TaskKind};
use crate::telemetry::Telemetry;

/// Polling interval of files. A change must also stay stable for this long.
const LOOK: Duration = Duration::from_secs(1);

/// Reloads the settings at `path` and publishes them.
pub(crate) fn reload<S: Settings>(path: &Path, process: &Process<S>, telemetry: &Telemetry) {
    let events = &process.events;
    let settings = match S::load(path, &Environment::of_process()) {
        Ok(settings) => settings,
        Err(error) => {
            let message = format!("the settings are invalid, the old ones stay in effect: {error}");
            return events.record(Severity::Warning, "settings_refused", message, Value::Null);
        }
    };
    let (held, new) = (process.current(), settings.process());
    let mut changed = held.process().document.changes(&new.document);
    if held.process().set.digest != new.set.digest {
        changed.push("set.yaml".to_owned());
    }
    if changed.is_empty() {
        return tracing::info!("the settings are unchanged");
    }
    let (now, later): (Vec<_>, Vec<_>) = changed.into_iter().partition(|key| is_live::<S>(key));
    telemetry.filter_logs(&new.telemetry.log);
    process.publish(settings);
    let mut message = "the settings have changed".to_owned();
    for (when, keys) in [("in effect", &now), ("at the next start", &later)] {
        if !keys.is_empty() {
            message.push_str(&format!("; {when}: {}", keys.join(", ")));
        }
    }
    let fields = json!({ "in_effect": now, "at_next_start": later });
    events.record(Severity::Notice, "settings_changed", message, fields);
}

fn is_live<S: Settings>(key: &str) -> bool {
    S::LIVE.iter().any(|live| {
        key.strip_prefix(live)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// The files of a process's settings, with their last seen contents.
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    seen: Vec<Option<Vec<u8>>>,
}

impl Files {
    /// The files at `paths` with their current contents.
    pub(crate) async fn new(paths: Vec<PathBuf>) -> Self {
        let seen = read(&paths).await;
        Self { paths, seen }
    }

    /// Waits until a file has changed and stayed stable for a moment. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            looks.tick().await;
            let found = read(&self.paths).await;
            if found == self.seen {
                before = None;
            } else if before.as_ref() == Some(&found) {
                self.seen = found;
                return;
            } else {
                before = Some(found);
            }
        }
    }

    /// Takes the current contents as seen.
    pub(crate) async fn reload_changed(&mut self) {
        self.seen = read(&self.paths).await;
    }
}

async fn read(paths: &[PathBuf]) -> Vec<Option<Vec<u8>>> {
    let mut contents = Vec::with_capacity(paths.len());
    for path in paths {
        contents.push(tokio::fs::read(path).await.ok());
    }
    contents
}

impl<S: Settings> Process<S> {
    /// The settings as last read. Only keys of [`Settings::LIVE`] may be used from here; for the
    /// others [`Process::settings`] is valid until the next start.
    #[must_use]
    pub fn current(&self) -> Arc<S> {
        self.reloaded.borrow().clone()
    }

    /// Calls `take` with the settings, and again after each reload, in a task with this name.
    ///
    /// # Errors
    /// If the task could not be started.
    pub fn on_reload(&self, name: String, take: impl Fn(&S) + Send + 'static) -> Result<(), SpawnRefused> {
        let mut reloads = self.reloaded.subscribe();
        self.supervisor.spawn(TaskKind::Work, name, |stop| async move {
            loop {
                take(&reloads.borrow_and_update());
                tokio::select! {
                    Ok(()) = reloads.changed() => {}
                    () = stop.cancelled() => return Ok::<(), Infallible>(()),
                }
            }
        })
    }

    fn publish(&self, settings: S) {
        self.reloaded.send_replace(Arc::new(settings));
    }
}
