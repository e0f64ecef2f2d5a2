//! Authentication and authorisation: the tokens and certificates of each request are looked up in
//! the settings.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isthmus_link::{ClientCertificate, DoorTls, Fingerprint};
use isthmus_replication::names::CallerName;
use isthmus_runtime::settings::{BucketRights, Buckets, CallerSettings, DoorSettings, Role};

use crate::code::ErrorCode;
use crate::problem::Problem;
use crate::refusals::{Refusals, Refused};
use crate::serve::From;

/// An authenticated caller, or everybody if the settings name no callers.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller<R> {
    /// Its name in the settings; `None` for everybody.
    pub name: Option<CallerName>,
    /// Its rights.
    pub rights: R,
}

/// The rights of callers if the settings name none: everything.
pub trait Rights: Send + Sync + 'static {
    /// All rights.
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

/// The callers in the settings, by token and by certificate name.
struct Callers<R> {
    everybody: Option<Arc<Caller<R>>>,
    tokens: HashMap<[u8; 32], Arc<Caller<R>>>,
    certificates: HashMap<String, Arc<Caller<R>>>,
}

impl<R: Rights + Clone> Callers<R> {
    /// If `settings` name no callers: everybody on a door that only this machine reaches, else
    /// nobody.
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

/// The access control of a door. Clones share it.
pub struct Gate<R> {
    door: &'static str,
    /// Whether only this machine reaches the door. Fixed while the door is open: reloaded settings
    /// may contain another address.
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
    /// The gate of the door with these `settings`.
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

    /// Admits `callers` and nobody else from now on. If there are none, a door that other machines
    /// reach admits nobody.
    pub fn replace(&self, callers: &BTreeMap<CallerName, CallerSettings<R>>) {
        self.callers
            .store(Arc::new(Callers::new(callers, self.on_loopback)));
    }

    /// Whether the door has TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The caller that presents `proof`, according to the current settings. If there is a token, it
    /// decides.
    ///
    /// # Errors
    /// The problem for the response; the refusal has been counted.
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

    /// The response to a caller that lacks the right for its request. It is counted and recorded as
    /// an event.
    #[must_use]
    pub fn forbid(&self, caller: &Caller<R>, from: Option<SocketAddr>, detail: &str) -> Box<Problem> {
        self.refuse(Refused::Forbidden, caller.name.as_ref(), from, detail)
    }

    /// The response to a request that a page of another site may have caused, with the reason. It
    /// is counted and recorded as an event.
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

/// The credentials of a request, and its address. A long-running response calls [`Gate::identify`]
/// with it repeatedly, so that it ends when the caller's rights are removed.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The hash of its token.
    token: Option<Fingerprint>,
    certificate: Option<Arc<ClientCertificate>>,
    /// The address that the request comes from.
    pub from: Option<SocketAddr>,
}

impl Proof {
    /// The credentials that `request` presents.
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

/// The token that a request presents: a bearer token, or the password of a browser's login
/// dialogue.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
