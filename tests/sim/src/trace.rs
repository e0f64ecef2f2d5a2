//! The trace: one line per event, with the time and the machine. The same seed gives the same
//! lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::disk;
use crate::time::Time;

static TRACE: Mutex<Trace> = Mutex::new(Trace {
    shown: None,
    folder: String::new(),
    unsaid: String::new(),
    at: Duration::ZERO,
    machine: None,
    hash: 0xcbf2_9ce4_8422_2325,
    lines: 0,
    alarms: BTreeMap::new(),
    warnings: Vec::new(),
});

struct Trace {
    shown: Option<Level>,
    /// The path of the scratch folder, which differs from run to run. Lines leave it out.
    folder: String,
    /// Lines that wait until the disk is not full.
    unsaid: String,
    at: Duration,
    machine: Option<Arc<str>>,
    hash: u64,
    lines: u64,
    alarms: BTreeMap<String, Vec<String>>,
    warnings: Vec<String>,
}

fn trace() -> MutexGuard<'static, Trace> {
    TRACE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects the log lines of every process, and prints those of at least level `shown`; none if
/// that is `None`.
///
/// # Errors
/// When another tracing subscriber is set already.
pub fn begin(shown: Option<Level>) -> anyhow::Result<()> {
    trace().shown = shown;
    let subscriber = tracing_subscriber::registry().with(Lines);
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}

/// Leaves the path of this folder out of every line from here on.
pub fn leave_out(folder: &Path) {
    trace().folder = folder.display().to_string();
}

/// While this exists, log lines are attributed to a machine.
pub struct Within(Option<Arc<str>>);

/// Attributes log lines from here on to `machine`, at the present time.
pub fn enter(machine: &Arc<str>, time: &Time) -> Within {
    let mut trace = trace();
    trace.at = time.now();
    Within(trace.machine.replace(Arc::clone(machine)))
}

impl Drop for Within {
    fn drop(&mut self) {
        trace().machine = self.0.take();
    }
}

/// A hash over all lines, and their number.
pub fn sum() -> (u64, u64) {
    let trace = trace();
    (trace.hash, trace.lines)
}

/// The alarms raised, by kind; errors without a kind have the kind `error`.
pub fn alarms() -> BTreeMap<String, Vec<String>> {
    trace().alarms.clone()
}

/// The first warnings.
pub fn warnings() -> Vec<String> {
    trace().warnings.clone()
}

/// Adds a line about the world itself.
pub fn world(time: &Time, text: &str) {
    let mut trace = trace();
    trace.at = time.now();
    trace.line(Level::INFO, "world", text);
}

impl Trace {
    fn line(&mut self, level: Level, who: &str, text: &str) {
        let mut line = format!("{:>9.3}s {who:<14} {level:<5} {text}", self.at.as_secs_f64());
        if !self.folder.is_empty() {
            line = line.replace(&self.folder, "");
        }
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if self.shown.is_some_and(|shown| level <= shown) {
            self.unsaid.push_str(&line);
            self.unsaid.push('\n');
            if !disk::is_full() {
                // The reader may have closed the pipe.
                let _ = std::io::stdout().write_all(std::mem::take(&mut self.unsaid).as_bytes());
            }
        }
    }
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        if !metadata.target().starts_with("isthmus") {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let mut trace = trace();
        let who = trace.machine.clone().unwrap_or_else(|| "world".into());
        let level = *metadata.level();
        let line = format!("{}{}", text.message, text.fields);
        let refused = text.kind.as_deref() == Some("link_refused");
        if level == Level::ERROR || refused {
            let kind = text.kind.unwrap_or_else(|| "error".to_owned());
            trace
                .alarms
                .entry(kind)
                .or_default()
                .push(format!("{who}: {line}"));
        }
        if level == Level::WARN && trace.warnings.len() < 8 {
            trace.warnings.push(format!("{who}: {line}"));
        }
        trace.line(level, &who, &line);
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
    kind: Option<String>,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "kind" => self.kind = Some(format!("{value:?}").trim_matches('"').to_owned()),
            name => {
                let _ = write!(self.fields, " {name}={value:?}");
            }
        }
    }
}
