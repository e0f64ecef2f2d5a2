//! Callers of a listener and their credentials: `clients` of an agent's door, `operators` of an
//! admin listener.
//!
//! A listener that other machines reach has TLS and names every caller. On loopback both may be
//! omitted; if callers are named, they have to authenticate there too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use isthmus_replication::names::{BucketName, CallerName};
use schemars::JsonSchema;
use serde::Deserialize;

use super::address::{Listen, Name};
use super::document::Document;
use super::error::SettingsError;
use super::process::check_file;

/// The certificate of a listener, and the CAs of client certificates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The listener's certificate chain (PEM), relative to this file.
    pub certificate: PathBuf,
    /// Its key (PEM), relative to this file.
    pub key: PathBuf,
    /// The CAs (PEM) of callers' certificates; without it callers have tokens.
    pub clients: Option<PathBuf>,
    /// A list of SHA-256 fingerprints, one per line, of revoked keys and certificates of callers
    /// and of the intermediates that they present.
    pub revoked: Option<PathBuf>,
}

/// The SHA-256 of a bearer token, as printed by `isthmus token`. The token itself is in no file of
/// Isthmus.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct TokenHash(pub [u8; 32]);

/// Text that is not the hash of a token. The error does not repeat it, because it may be the token
/// itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the hash of a token: write sha256: and 64 hexadecimal digits, as `isthmus token` prints them")]
pub struct InvalidTokenHash;

impl FromStr for TokenHash {
    type Err = InvalidTokenHash;

    fn from_str(text: &str) -> Result<Self, InvalidTokenHash> {
        let digits = text.strip_prefix("sha256:").ok_or(InvalidTokenHash)?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidTokenHash);
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..digits.len()).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| InvalidTokenHash)?;
        }
        Ok(Self(hash))
    }
}

impl TryFrom<String> for TokenHash {
    type Error = InvalidTokenHash;

    fn try_from(text: String) -> Result<Self, InvalidTokenHash> {
        text.parse()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// The rights of an operator; each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See health, metrics, status, events, traces and the page, but no data of applications.
    Read,
    /// Also see data of applications, pause and resume links, probe, restore entries that were set
    /// aside.
    Operate,
    /// Also permanently delete entries that were set aside.
    Destroy,
}

/// Buckets that a client may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Buckets {
    /// All buckets.
    All,
    /// These buckets.
    Named(BTreeSet<BucketName>),
}

impl Buckets {
    /// Whether `bucket` is included.
    #[must_use]
    pub fn contains(&self, bucket: &BucketName) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(bucket),
        }
    }
}

/// The rights of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRights {
    /// The buckets that it may get and list.
    pub read: Buckets,
    /// The buckets in which it may put and delete.
    pub write: Buckets,
}

/// A caller of a listener. Any of its tokens or certificates authenticates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerSettings<R> {
    /// The hashes of its tokens; two during a rotation.
    pub tokens: Vec<TokenHash>,
    /// Names in its certificates: a URI, or a DNS name.
    pub certificates: Vec<String>,
    /// Its rights.
    pub rights: R,
}

/// An HTTP listener and its callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorSettings<R> {
    /// The address it listens on.
    pub listen: SocketAddr,
    /// Its certificate; always present if other machines can reach the listener.
    pub tls: Option<TlsSettings>,
    /// Its callers. If there are none, which is possible only on loopback, everybody has all
    /// rights.
    pub callers: BTreeMap<CallerName, CallerSettings<R>>,
}

/// The administrative listener, as read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminFile {
    /// The address for health, metrics and status: a loopback address unless `tls` and `operators`
    /// are given.
    pub listen: Listen,
    /// The listener's certificate.
    pub tls: Option<TlsSettings>,
    /// The callers. `/healthz` and `/readyz` are open to everybody.
    #[serde(default)]
    pub operators: BTreeMap<Name<CallerName>, OperatorFile>,
}

/// An operator.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OperatorFile {
    /// The hashes of its tokens, as printed by `isthmus token`.
    #[serde(default)]
    tokens: Vec<TokenHash>,
    /// The URIs or DNS names of its certificates.
    #[serde(default)]
    certificates: Vec<String>,
    /// Its role.
    role: Role,
}

/// An application that uses an agent's door.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientFile {
    /// The hashes of its tokens, as printed by `isthmus token`.
    #[serde(default)]
    tokens: Vec<TokenHash>,
    /// The URIs or DNS names of its certificates.
    #[serde(default)]
    certificates: Vec<String>,
    /// The buckets that it may read; `*` means all.
    #[serde(default)]
    read: Vec<BucketPattern>,
    /// The buckets that it may write; `*` means all.
    #[serde(default)]
    write: Vec<BucketPattern>,
}

/// A bucket, or `*`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct BucketPattern(Option<BucketName>);

impl TryFrom<String> for BucketPattern {
    type Error = isthmus_replication::names::InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "*" => Ok(Self(None)),
            name => BucketName::parse(name).map(|name| Self(Some(name))),
        }
    }
}

fn buckets(patterns: Vec<BucketPattern>) -> Buckets {
    let named: Option<BTreeSet<_>> = patterns.into_iter().map(|pattern| pattern.0).collect();
    named.map_or(Buckets::All, Buckets::Named)
}

impl From<OperatorFile> for CallerSettings<Role> {
    fn from(file: OperatorFile) -> Self {
        Self {
            tokens: file.tokens,
            certificates: file.certificates,
            rights: file.role,
        }
    }
}

impl From<ClientFile> for CallerSettings<BucketRights> {
    fn from(file: ClientFile) -> Self {
        Self {
            tokens: file.tokens,
            certificates: file.certificates,
            rights: BucketRights {
                read: buckets(file.read),
                write: buckets(file.write),
            },
        }
    }
}

/// The position of a listener's settings in their file.
pub(super) struct At<'a> {
    /// The path to `listen` and `tls`.
    pub within: &'a [&'a str],
    /// The key of the callers.
    pub callers: &'a str,
}

impl At<'_> {
    fn keys<'k>(&'k self, rest: &[&'k str]) -> Vec<&'k str> {
        self.within.iter().chain(rest).copied().collect()
    }

    /// Checks the listener and resolves its paths.
    pub(super) fn check<R, F: Into<CallerSettings<R>>>(
        &self,
        document: &Document,
        listen: SocketAddr,
        tls: Option<TlsSettings>,
        callers: BTreeMap<Name<CallerName>, F>,
    ) -> Result<DoorSettings<R>, SettingsError> {
        let named = |(name, file): (Name<CallerName>, F)| (name.0, file.into());
        let callers = callers.into_iter().map(named).collect();
        let tls = tls.map(|tls| self.tls(document, tls)).transpose()?;
        let door = DoorSettings { listen, tls, callers };
        if !listen.ip().is_loopback() && (door.tls.is_none() || door.callers.is_empty()) {
            return Err(self.open(document, &door));
        }
        self.check_callers(document, &door)?;
        Ok(door)
    }

    fn tls(&self, document: &Document, tls: TlsSettings) -> Result<TlsSettings, SettingsError> {
        let file = |key, path: &PathBuf| check_file(document, &self.keys(&["tls", key]), path);
        if tls.revoked.is_some() && tls.clients.is_none() {
            let message = "no caller here has a certificate that could be revoked";
            let mend = "name the CAs of callers with tls.clients, or leave it out";
            return Err(document.fault(&self.keys(&["tls", "revoked"]), message, mend));
        }
        Ok(TlsSettings {
            certificate: file("certificate", &tls.certificate)?,
            key: file("key", &tls.key)?,
            clients: tls.clients.map(|path| file("clients", &path)).transpose()?,
            revoked: tls.revoked.map(|path| file("revoked", &path)).transpose()?,
        })
    }

    fn open<R>(&self, document: &Document, door: &DoorSettings<R>) -> SettingsError {
        let lacks = match (door.tls.is_none(), door.callers.is_empty()) {
            (true, true) => "neither TLS nor authentication".to_owned(),
            (true, false) => "no TLS".to_owned(),
            _ => format!("no {}: everybody could use it", self.callers),
        };
        let message = format!(
            "{} can be reached from other machines, and this door has {lacks}",
            door.listen
        );
        let mend = format!(
            "give {} and {}, or listen on 127.0.0.1:{}",
            self.keys(&["tls"]).join("."),
            self.keys(&[self.callers]).join("."),
            door.listen.port()
        );
        document.fault(&self.keys(&["listen"]), message, mend)
    }

    fn check_callers<R>(&self, document: &Document, door: &DoorSettings<R>) -> Result<(), SettingsError> {
        let trusted = door.tls.as_ref().is_some_and(|tls| tls.clients.is_some());
        let mut tokens = BTreeMap::new();
        let mut certificates = BTreeMap::new();
        for (name, caller) in &door.callers {
            let keys = self.keys(&[self.callers, name.as_str()]);
            let fault = |message: String, mend: &str| Err(document.fault(&keys, message, mend));
            if caller.tokens.is_empty() && caller.certificates.is_empty() {
                let mend = "give tokens (`isthmus token` creates one) or certificates";
                return fault(format!("{name} has neither tokens nor certificates"), mend);
            }
            if !trusted && !caller.certificates.is_empty() {
                let mend = "name the CAs of callers with tls.clients, or give tokens";
                return fault(
                    format!("{name} has certificates, but no CA of callers is configured"),
                    mend,
                );
            }
            let mut others = caller.tokens.iter().filter_map(|hash| tokens.insert(hash, name));
            if let Some(other) = others.next() {
                let mend = "give each its own: `isthmus token` creates one";
                return fault(format!("{name} and {other} have the same token"), mend);
            }
            let names = caller.certificates.iter();
            let mut others = names.filter_map(|one| Some((one, certificates.insert(one, name)?)));
            if let Some((one, other)) = others.next() {
                let mend = "give each its own";
                return fault(
                    format!("{name} and {other} have the same certificate {one:?}"),
                    mend,
                );
            }
        }
        Ok(())
    }
}
