//! Notifications to the service manager that started the process (sd_notify(3),
//! systemd.service(5)): ready, stopping, reloading, what the process waits for, and the watchdog.
//! Without `NOTIFY_SOCKET` nothing is sent.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::health::{ConditionReport, Health, Probe, STARTING};
use crate::printable;

/// Whether [`ready`] was sent; once per process.
static READY: AtomicBool = AtomicBool::new(false);

/// Interval between two checks of what the process waits for and, for the watchdog, of whether it
/// is alive.
const LOOK: Duration = Duration::from_secs(1);

/// Sent once the process is assembled: its region's NATS answers and has what the process needs.
pub(crate) fn ready() {
    READY.store(true, Ordering::Relaxed);
    tell(&[NotifyState::Ready]);
}

/// Sent when the process was asked to stop.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Sent while `reload` rereads the settings. A process that is not ready yet does not send it,
/// because the end of a reload signals readiness.
pub(crate) fn reloading(reload: impl FnOnce()) {
    if !READY.load(Ordering::Relaxed) {
        return reload();
    }
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager could not be notified of a reload"),
    }
    reload();
    tell(&[NotifyState::Ready]);
}

/// Reports what the process waits for, and feeds the watchdog while the process is alive, for ever.
/// That this task runs at all shows that the process's threads are not stuck.
pub(crate) async fn keep(health: &Health) -> Infallible {
    let every = sd_notify::watchdog_enabled().map_or(LOOK, |within| LOOK.min(within / 2));
    let mut sent = String::new();
    loop {
        let status = status(health);
        if status != sent {
            tell(&[NotifyState::Status(&status)]);
            sent = status;
        }
        if health.report(Probe::Live).ready {
            tell(&[NotifyState::Watchdog]);
        }
        tokio::time::sleep(every).await;
    }
}

/// One line for `systemctl status`. A condition with a specific reason takes precedence over one
/// that is only starting.
fn status(health: &Health) -> String {
    let report = health.report(Probe::Write);
    let unmet = report.conditions.into_iter().filter(|condition| !condition.met);
    let only_starts = |condition: &ConditionReport| condition.reason.as_deref() == Some(STARTING);
    match unmet.min_by_key(only_starts) {
        None => "takes writes".to_owned(),
        Some(condition) => {
            let reason = condition.reason.unwrap_or_default().replace('\n', " ");
            printable::line(format_args!("waits for {}: {reason}", condition.name))
        }
    }
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, "the service manager could not be notified");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_one_line_with_what_is_waited_for() {
        let health = Health::new();
        assert_eq!(status(&health), "takes writes");
        let running = health.condition("a process", &[Probe::Write]);
        assert_eq!(status(&health), "waits for a process: starting");
        let log = health.condition("log", &[Probe::Write]);
        log.unmet("connecting\nto NATS");
        assert_eq!(status(&health), "waits for log: connecting to NATS");
        log.unmet("a peer says \x1b[2J");
        assert_eq!(status(&health), "waits for log: a peer says \\u{1b}[2J");
        log.met();
        running.met();
        assert_eq!(status(&health), "takes writes");
    }
}
