//! The logs of a process: to standard error, with a filter that may change while it runs.

use std::fmt;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use super::TelemetryError;
use crate::printable::{Form, LogLines};
use crate::settings::{LogFormat, TelemetrySettings};

pub(super) struct Logs(Box<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logs")
    }
}

impl Logs {
    /// Starts the logs, once per process.
    pub(super) fn start(settings: &TelemetrySettings) -> Result<Self, TelemetryError> {
        let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&settings.log)?);
        let form = match settings.log_format {
            LogFormat::Text => Form::Text,
            LogFormat::Json => Form::Json,
        };
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || LogLines::new(std::io::stderr(), form));
        let logs = tracing_subscriber::registry().with(filter);
        let started = match settings.log_format {
            LogFormat::Text => logs.with(lines).try_init(),
            LogFormat::Json => logs.with(lines.json().flatten_event(true)).try_init(),
        };
        if let Err(error) = started {
            tracing::debug!(%error, "logs have been started before");
        }
        Ok(Self(Box::new(move |text| {
            let changed = EnvFilter::try_new(text).map(|filter| handle.reload(filter));
            if !matches!(changed, Ok(Ok(()))) {
                tracing::warn!(filter = text, "the log filter is unchanged");
            }
        })))
    }

    #[cfg(test)]
    pub(super) fn off() -> Self {
        Self(Box::new(|_| {}))
    }

    /// Changes the filter; the settings have checked it.
    pub(super) fn filter(&self, filter: &str) {
        (self.0)(filter);
    }
}
