//! Who asks, and whether they may: tokens and certificates are looked up in what the settings say, at every request.
//!
//! What is refused is counted, and told as an event: of one kind of refusal of one caller at most once a minute, with
//! the number of those that were not told.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isthmus_link::{ClientCertificate, DoorTls, Fingerprint};
use isthmus_replication::names::CallerName;
use isthmus_replication::time::Mono;
use isthmus_runtime::Process;
use isthmus_runtime::clock::Clock;
use isthmus_runtime::events::{Events, Severity};
use isthmus_runtime::settings::{BucketRights, Buckets, CallerSettings, DoorSettings, Role};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde_json::json;

use crate::code::ErrorCode;
use crate::problem::Problem;
use crate::serve::From;

/// A refusal of one kind and caller is told at most this often.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Somebody who has proven who it is, or everybody where the settings name nobody.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller<R> {
    /// Its name in the settings.
    pub name: Option<CallerName>,
    /// What it may do.
    pub rights: R,
}

/// What somebody may do where the settings name nobody: everything.
pub trait Rights: Send + Sync + 'static {
    /// Everything.
    fn all() -> Self;
}

impl Rights for Role {
    fn all() -> Self {
        Self::Destroy
    }
}

impl Rights for BucketRights {
    fn all() -> Self {
        Self {
            read: Buckets::All,
            write: Buckets::All,
        }
    }
}

/// Why a request is refused. The label of a metric and of an event; never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// It presents nothing.
    NoCredentials,
    /// Its token is nobody's.
    UnknownToken,
    /// Its certificate names nobody.
    UnknownCertificate,
    /// Its certificate holds no longer: it has ended, is revoked, or its CA is not trusted any more.
    EndedCertificate,
    /// It may do less than this.
    Forbidden,
    /// A browser sends it for a page of another site, or asks by a name that is none of the door's.
    ForeignPage,
    /// No TLS came to be: it speaks none, or trusts or shows a certificate that the other end does not.
    Handshake,
}

impl Refused {
    const ALL: [Self; 7] = [
        Self::NoCredentials,
        Self::UnknownToken,
        Self::UnknownCertificate,
        Self::EndedCertificate,
        Self::Forbidden,
        Self::ForeignPage,
        Self::Handshake,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::UnknownToken => "unknown_token",
            Self::UnknownCertificate => "unknown_certificate",
            Self::EndedCertificate => "ended_certificate",
            Self::Forbidden => "forbidden",
            Self::ForeignPage => "foreign_page",
            Self::Handshake => "handshake",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::NoCredentials => {
                "send Authorization: Bearer with a token, or a certificate, that this door knows"
            }
            Self::UnknownToken => "this door does not know the token; it may have been replaced",
            Self::UnknownCertificate => "this door knows none of the names in the certificate",
            Self::EndedCertificate => {
                "the certificate has ended or is revoked, or its CA is no longer trusted; connect with another"
            }
            Self::Forbidden => "the caller may not do this",
            Self::ForeignPage => "a page of another site asks",
            Self::Handshake => "no TLS came to be",
        }
    }
}

/// The callers of the settings, by what proves them.
struct Callers<R> {
    everybody: Option<Arc<Caller<R>>>,
    tokens: HashMap<[u8; 32], Arc<Caller<R>>>,
    certificates: HashMap<String, Arc<Caller<R>>>,
}

impl<R: Rights + Clone> Callers<R> {
    /// Where nobody is named: everybody if only this machine reaches the door, else nobody.
    fn new(settings: &BTreeMap<CallerName, CallerSettings<R>>, on_loopback: bool) -> Self {
        let everybody = (settings.is_empty() && on_loopback).then(|| {
            Arc::new(Caller {
                name: None,
                rights: R::all(),
            })
        });
        let mut callers = Self {
            everybody,
            tokens: HashMap::new(),
            certificates: HashMap::new(),
        };
        for (name, settings) in settings {
            let caller = Arc::new(Caller {
                name: Some(name.clone()),
                rights: settings.rights.clone(),
            });
            let tokens = settings.tokens.iter();
            callers
                .tokens
                .extend(tokens.map(|hash| (hash.0, Arc::clone(&caller))));
            let certificates = settings.certificates.iter();
            callers
                .certificates
                .extend(certificates.map(|one| (one.clone(), Arc::clone(&caller))));
        }
        callers
    }
}

/// What stands before a door. Clones share it.
pub struct Gate<R> {
    door: &'static str,
    /// Whether only this machine reaches the door, as long as it is open: settings that are read again may say another address.
    on_loopback: bool,
    tls: Option<Arc<DoorTls>>,
    callers: Arc<ArcSwap<Callers<R>>>,
    refusals: Refusals,
}

impl<R> Clone for Gate<R> {
    fn clone(&self) -> Self {
        Self {
            door: self.door,
            on_loopback: self.on_loopback,
            tls: self.tls.clone(),
            callers: Arc::clone(&self.callers),
            refusals: self.refusals.clone(),
        }
    }
}

impl<R> fmt::Debug for Gate<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}

impl<R: Rights + Clone> Gate<R> {
    /// The gate of the door that `settings` describe.
    #[must_use]
    pub fn new(
        door: &'static str,
        tls: Option<Arc<DoorTls>>,
        settings: &DoorSettings<R>,
        refusals: Refusals,
    ) -> Self {
        refusals.prepare(door);
        let on_loopback = settings.listen.ip().is_loopback();
        Self {
            door,
            on_loopback,
            tls,
            callers: Arc::new(ArcSwap::from_pointee(Callers::new(
                &settings.callers,
                on_loopback,
            ))),
            refusals,
        }
    }

    /// Lets `callers` in from now on, and nobody else. A door that other machines reach is open to nobody when they are none.
    pub fn replace(&self, callers: &BTreeMap<CallerName, CallerSettings<R>>) {
        self.callers
            .store(Arc::new(Callers::new(callers, self.on_loopback)));
    }

    /// Whether the door has TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Who presents `proof`, as things stand at this moment. A token decides where there is one.
    ///
    /// # Errors
    /// The problem to answer with; the refusal has been counted.
    pub fn identify(&self, proof: &Proof) -> Result<Arc<Caller<R>>, Box<Problem>> {
        self.find(proof)
            .map_err(|why| self.refuse(why, None, proof.from, why.detail()))
    }

    fn find(&self, proof: &Proof) -> Result<Arc<Caller<R>>, Refused> {
        let callers = self.callers.load();
        if let Some(everybody) = &callers.everybody {
            return Ok(Arc::clone(everybody));
        }
        if let Some(token) = &proof.token {
            let known = callers.tokens.get(token.as_bytes());
            return known.cloned().ok_or(Refused::UnknownToken);
        }
        let (Some(certificate), Some(tls)) = (&proof.certificate, &self.tls) else {
            return Err(Refused::NoCredentials);
        };
        if !tls.still_holds(certificate) {
            return Err(Refused::EndedCertificate);
        }
        let mut known = certificate
            .names()
            .iter()
            .filter_map(|name| callers.certificates.get(name));
        known.next().cloned().ok_or(Refused::UnknownCertificate)
    }

    /// The answer to a caller that may not do what it asks; it is counted and told.
    #[must_use]
    pub fn forbid(&self, caller: &Caller<R>, from: Option<SocketAddr>, detail: &str) -> Box<Problem> {
        self.refuse(Refused::Forbidden, caller.name.as_ref(), from, detail)
    }

    /// The answer to a request that a page of another site may have caused, and why; it is counted and told.
    #[must_use]
    pub fn forbid_page(&self, request: &Request, why: &str) -> Box<Problem> {
        self.refuse(Refused::ForeignPage, None, from(request), why)
    }

    fn refuse(
        &self,
        why: Refused,
        caller: Option<&CallerName>,
        from: Option<SocketAddr>,
        detail: &str,
    ) -> Box<Problem> {
        self.refusals.count(self.door, why, caller, from, detail);
        if matches!(why, Refused::Forbidden | Refused::ForeignPage) {
            return Box::new(Problem::new(ErrorCode::Forbidden, detail));
        }
        let challenge = HeaderValue::from_static("Bearer, Basic realm=\"isthmus\"");
        let problem = Problem::new(ErrorCode::Unauthenticated, detail);
        Box::new(problem.with_header(header::WWW_AUTHENTICATE, challenge))
    }
}

/// What a request presented, and where it comes from. Whoever answers for long asks [`Gate::identify`] again and again with it: what was
/// taken away meanwhile ends what goes on, too.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The hash of its token.
    token: Option<Fingerprint>,
    certificate: Option<Arc<ClientCertificate>>,
    /// The address that it comes from.
    pub from: Option<SocketAddr>,
}

impl Proof {
    /// What `request` presents.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        Self {
            token: token(request.headers()).map(|token| Fingerprint::of_bytes(&token)),
            certificate: extensions.get::<Arc<ClientCertificate>>().cloned(),
            from: from(request),
        }
    }
}

/// The address that a request comes from.
fn from(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<From>().map(|from| from.0)
}

/// What a request presents: a bearer token, or one as the password of a browser's dialogue.
fn token(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, rest) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// Counts and tells what the doors of a process refuse. Clones share it.
#[derive(Clone)]
pub struct Refusals {
    clock: Clock,
    events: Events,
    counts: Family<Vec<(&'static str, &'static str)>, Counter>,
    told: Arc<Mutex<HashMap<Kind, Told>>>,
}

/// Which door, why, and whom.
type Kind = (&'static str, Refused, Option<CallerName>);

fn labels(door: &'static str, why: Refused) -> Vec<(&'static str, &'static str)> {
    vec![("door", door), ("reason", why.label())]
}

/// When a refusal was told, and how often it happened since.
struct Told {
    at: Mono,
    untold: u64,
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").finish_non_exhaustive()
    }
}

impl Refusals {
    /// Nothing refused yet. Called once for a process.
    #[must_use]
    pub fn new<S>(process: &Process<S>) -> Self {
        let counts = Family::default();
        process.metrics.register(|registry| {
            registry.register(
                "door_refused",
                "Requests that a door refused to their caller, by reason",
                counts.clone(),
            );
        });
        Self {
            clock: process.clock.clone(),
            events: process.events.clone(),
            counts,
            told: Arc::default(),
        }
    }

    /// Every reason is counted from the start.
    fn prepare(&self, door: &'static str) {
        for why in Refused::ALL {
            drop(self.counts.get_or_create(&labels(door, why)));
        }
    }

    /// A handshake that failed; `cause` is what TLS says.
    pub(crate) fn of_handshake(&self, door: &'static str, cause: &str, from: SocketAddr) {
        self.count(door, Refused::Handshake, None, Some(from), cause);
    }

    fn count(
        &self,
        door: &'static str,
        why: Refused,
        caller: Option<&CallerName>,
        from: Option<SocketAddr>,
        detail: &str,
    ) {
        self.counts.get_or_create(&labels(door, why)).inc();
        let Some(before) = self.news(door, why, caller) else {
            return;
        };
        let who = caller.map_or("somebody", CallerName::as_str);
        let fields = json!({
            "door": door,
            "reason": why.label(),
            "caller": caller.map(CallerName::as_str),
            "from": from.map(|from| from.ip().to_string()),
            "untold_before": before,
        });
        let message = format!("the {door} door refused {who}: {detail}");
        self.events
            .record(Severity::Warning, "access_refused", message, fields);
    }

    /// How many refusals of this kind were not told, if this one is to be.
    fn news(&self, door: &'static str, why: Refused, caller: Option<&CallerName>) -> Option<u64> {
        let now = self.clock.now().mono;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get_mut(&(door, why, caller.cloned())) {
            Some(last) if now.since(last.at) < TELL_AGAIN => {
                last.untold += 1;
                None
            }
            Some(last) => {
                last.at = now;
                Some(std::mem::take(&mut last.untold))
            }
            None => {
                told.insert((door, why, caller.cloned()), Told { at: now, untold: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
