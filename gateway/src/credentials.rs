//! What this gateway proves itself with and whom it trusts, as its settings say.

use std::sync::Arc;
use std::time::Duration;

use isthmus_link::{CredentialFiles, Credentials, CredentialsError, Place, TrustSource};
use isthmus_replication::time::Mono;
use isthmus_runtime::Process;
use isthmus_runtime::doctor;
use isthmus_runtime::events::Severity;
use isthmus_runtime::settings::{GatewaySettings, SettingsError};
use isthmus_runtime::supervise::TaskKind;
use serde_json::json;
use tokio::time::sleep;

/// How long this gateway's certificate holds is looked at this often.
const LOOK: Duration = Duration::from_secs(60);
/// That it ends soon is told from here on.
const SOON: u64 = doctor::CERTIFICATE_SOON.as_secs();
/// And is an alarm from here on; it is told again after as long.
const NOW: u64 = doctor::CERTIFICATE_NOW.as_secs();
const TELL_AGAIN: Duration = doctor::CERTIFICATE_NOW;
/// Files are read again this often where the system gives no notice of a change.
const POLL: Duration = Duration::from_secs(2);

/// Loads the credentials that `settings` name.
///
/// # Errors
/// [`SettingsError`] with the place in the settings that names the file, and the mend; a trust domain that is none is an error
/// too.
pub fn load(settings: &GatewaySettings) -> anyhow::Result<Arc<Credentials>> {
    let set = &settings.process.set;
    let place = Place {
        trust_domain: set.trust_domain.parse()?,
        set: set.name.clone(),
        region: settings.process.region.clone(),
    };
    let trust = set.regions.iter().map(|(name, region)| {
        let derived = place.gateway_uri(name);
        let source = TrustSource {
            file: region.trust.clone(),
            identity: (region.identity != derived).then(|| region.identity.clone()),
        };
        (name.clone(), source)
    });
    let files = CredentialFiles {
        certificate: settings.link.certificate.clone(),
        key: settings.link.key.clone(),
        revoked: settings.link.revoked.clone(),
        trust: trust.collect(),
    };
    let loaded = Credentials::load(place, files).map_err(|error| located(settings, error));
    Ok(Arc::new(loaded?))
}

/// What is wrong with a file, at the place in the settings that names it.
fn located(settings: &GatewaySettings, error: CredentialsError) -> anyhow::Error {
    let (process, link) = (&settings.process, &settings.link);
    let Some(file) = error.file() else {
        return error.into();
    };
    let message = sentence(&error);
    let trusted = process
        .set
        .regions
        .iter()
        .find(|(_, region)| region.trust == file);
    let fault: SettingsError = if let Some((region, _)) = trusted {
        let keys = ["regions", region.as_str(), "trust"];
        process.set.document().fault(&keys, message, "")
    } else if *file == *link.key {
        process.document.fault(&["link", "key"], message, "")
    } else if *file == *link.certificate {
        process.document.fault(&["link", "certificate"], message, "")
    } else {
        process.document.fault(&["link", "revoked"], message, "")
    };
    fault.into()
}

/// An error with its causes.
fn sentence(error: &CredentialsError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(&format!(" ({source})"));
        cause = source.source();
    }
    text
}

/// Takes up changed files while the process runs. Sessions judge their peers again at each new generation.
///
/// # Errors
/// The task could not be started.
pub fn watch(process: &Process<GatewaySettings>, credentials: &Arc<Credentials>) -> anyhow::Result<()> {
    let credentials = Arc::clone(credentials);
    let events = process.events.clone();
    let report = move |outcome: Result<u64, CredentialsError>| match outcome {
        Ok(generation) => events.record(
            Severity::Notice,
            "credentials_reloaded",
            "certificates and trust were read again; every session is judged by them",
            json!({ "generation": generation }),
        ),
        Err(error) => events.record(
            Severity::Warning,
            "credentials_refused",
            format!("changed certificates or trust are not used: {error}"),
            json!({}),
        ),
    };
    process
        .supervisor
        .spawn(TaskKind::Work, "credentials", |stop| async move {
            tokio::select! {
                () = credentials.watch(POLL, report) => {}
                () = stop.cancelled() => {}
            }
            Ok::<(), std::convert::Infallible>(())
        })?;
    Ok(())
}

/// Tells while this gateway's certificate is about to end.
///
/// # Errors
/// The task could not be started.
pub fn watch_end(process: &Process<GatewaySettings>, credentials: &Arc<Credentials>) -> anyhow::Result<()> {
    let (credentials, clock, events) = (
        Arc::clone(credentials),
        process.clock.clone(),
        process.events.clone(),
    );
    let watching = async move {
        let mut told: Option<(Mono, Severity)> = None;
        loop {
            let (now, own) = (clock.now(), credentials.own());
            let left = own.not_after().saturating_sub(now.wall.micros() / 1_000_000);
            let is_news = |severity| {
                told.is_none_or(|(at, before)| before != severity || now.mono.since(at) >= TELL_AGAIN)
            };
            match ending(left) {
                None => told = None,
                Some((severity, kind)) if is_news(severity) => {
                    told = Some((now.mono, severity));
                    let text = format!(
                        "the certificate of this gateway ends in {} h: put a new one in its place, it is taken up without a restart",
                        left / 3_600
                    );
                    let fields =
                        json!({ "fingerprint": own.fingerprint().to_string(), "seconds_left": left });
                    events.record(severity, kind, text, fields);
                }
                Some(_) => {}
            }
            sleep(LOOK).await;
        }
    };
    let supervisor = &process.supervisor;
    supervisor.spawn(TaskKind::Work, "certificate's end", |stop| async move {
        tokio::select! {
            () = watching => {}
            () = stop.cancelled() => {}
        }
        Ok::<(), std::convert::Infallible>(())
    })?;
    Ok(())
}

/// How grave it is that a certificate holds for so many seconds more; none if it is not.
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
    fn a_certificates_end_is_a_warning_for_two_weeks_and_an_alarm_on_its_last_day() {
        let told = [0, NOW - 1, NOW, SOON - 1, SOON].map(|left| ending(left).map(|(severity, _)| severity));
        let (alarm, warning) = (Some(Severity::Alarm), Some(Severity::Warning));
        assert_eq!(told, [alarm, alarm, warning, warning, None]);
    }
}
