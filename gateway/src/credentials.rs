//! The credentials of this gateway and the peers that it trusts, from its settings.

use std::sync::Arc;

use isthmus_door::certificates::{self, Ends};
use isthmus_link::{CredentialFiles, Credentials, CredentialsError, Place, TrustSource};
use isthmus_runtime::Process;
use isthmus_runtime::settings::{GatewaySettings, SettingsError};
use isthmus_runtime::supervise::TaskKind;

/// The name of these credentials in events and metrics.
const LINK: &str = "link";

/// Loads the credentials that `settings` name.
///
/// # Errors
/// [`SettingsError`] if a file can't be used: it names the place in the settings and the fix. An
/// invalid trust domain is an error too.
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

/// Turns an error about a file into one that points to the place in the settings that names the
/// file.
fn located(settings: &GatewaySettings, error: CredentialsError) -> anyhow::Error {
    let (process, link) = (&settings.process, &settings.link);
    let Some(file) = error.file() else {
        return error.into();
    };
    let message = certificates::sentence(&error);
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

/// Reloads changed files while the process runs, and reports when the certificate expires. Sessions
/// check their peers again at each new generation of the credentials.
///
/// # Errors
/// When a task can't be started.
pub fn watch(
    process: &Process<GatewaySettings>,
    credentials: &Arc<Credentials>,
    ends: &Ends,
) -> anyhow::Result<()> {
    let (watched, events) = (Arc::clone(credentials), process.events.clone());
    let report = move |outcome| certificates::tell_reload(&events, LINK, outcome);
    let watching = watched.watch(certificates::POLL, report);
    process
        .supervisor
        .spawn_until_stopped(TaskKind::Work, "credentials", watching)?;
    let own = Arc::clone(credentials);
    certificates::watch_end(process, ends, LINK, move || {
        let own = own.own();
        (own.fingerprint(), own.not_after())
    })?;
    Ok(())
}
