//! TLS for the doors of this process: a certificate of its own, and callers who may prove themselves with one of theirs.
//!
//! As with links: TLS 1.3 alone, nothing resumed, new files are checked before they are used. A caller's certificate is
//! judged again at the first request after the trusted CAs have changed, so that one that holds no longer ends there,
//! on a connection that stands too.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::files::Contents;
use super::{CredentialsError, Reload, watch};
use crate::fingerprint::{Fingerprint, Revoked};
use crate::identity;
use crate::tls;

/// What is spoken over a door.
const PROTOCOL: &[u8] = b"http/1.1";

/// The files of a door, all PEM but the list of revoked fingerprints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorFiles {
    /// The door's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The CAs that may vouch for callers; without them no caller is asked for a certificate.
    pub clients: Option<PathBuf>,
    /// The fingerprints of keys and certificates that are refused: callers' own, and those of intermediates that they present.
    pub revoked: Option<PathBuf>,
}

impl DoorFiles {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let named = [&self.certificate, &self.key].into_iter();
        named.chain(&self.clients).chain(&self.revoked)
    }
}

/// The TLS of one door. Shared by its listener and its connections.
#[derive(Debug)]
pub struct DoorTls {
    files: DoorFiles,
    current: ArcSwap<Snapshot>,
    reloading: Mutex<()>,
}

/// One generation of a door's credentials.
#[derive(Debug)]
struct Snapshot {
    number: u64,
    contents: Fingerprint,
    server: Arc<ServerConfig>,
    callers: Option<Arc<dyn ClientCertVerifier>>,
    revoked: Revoked,
    own: CertificateDer<'static>,
}

/// The certificate that a caller has proven to hold.
#[derive(Debug)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    names: BTreeSet<String>,
    not_after: u64,
    /// Twice the generation that judged it last, and 1 more if it holds.
    verdict: AtomicU64,
}

impl ClientCertificate {
    /// The URIs and DNS names that it carries.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}

impl DoorTls {
    /// Reads and checks `files`.
    ///
    /// # Errors
    /// [`CredentialsError`] names the file and the mend.
    pub fn load(files: DoorFiles) -> Result<Self, CredentialsError> {
        let contents = Contents::read(files.paths())?;
        let snapshot = Snapshot::of(&contents, &files, 1)?;
        Ok(Self {
            files,
            current: ArcSwap::from_pointee(snapshot),
            reloading: Mutex::new(()),
        })
    }

    /// Reads the files again and uses them for every later handshake if they are sound.
    ///
    /// # Errors
    /// [`CredentialsError`] names the file and the mend; what was in use stays.
    pub fn reload(&self) -> Result<Reload, CredentialsError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load();
        let contents = Contents::read(self.files.paths())?;
        if contents.fingerprint() == current.contents {
            return Ok(Reload::Unchanged);
        }
        let next = current.number + 1;
        self.current
            .store(Arc::new(Snapshot::of(&contents, &self.files, next)?));
        Ok(Reload::Published(next))
    }

    /// As [`super::Credentials::watch`].
    pub async fn watch(self: Arc<Self>, period: Duration, report: impl FnMut(Result<u64, CredentialsError>)) {
        let paths: Vec<_> = self.files.paths().cloned().collect();
        watch::reload_on_change(&paths, period, move || self.reload(), report).await;
    }

    /// The fingerprint of the door's own certificate, and its end in seconds since the Unix epoch.
    #[must_use]
    pub fn own(&self) -> (Fingerprint, u64) {
        let current = self.current.load();
        (Fingerprint::of(&current.own), identity::not_after(&current.own))
    }

    /// Does the handshake of an accepted connection; the caller bounds its time.
    ///
    /// # Errors
    /// What is wrong with the handshake, the caller's certificate included.
    pub async fn accept<IO>(&self, stream: IO) -> io::Result<(TlsStream<IO>, Option<ClientCertificate>)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let current = self.current.load_full();
        let stream = TlsAcceptor::from(Arc::clone(&current.server))
            .accept(stream)
            .await?;
        let chain = stream.get_ref().1.peer_certificates();
        let proven = chain.and_then(|chain| {
            let own = chain.first()?;
            Some(ClientCertificate {
                names: identity::names(own).into_iter().collect(),
                not_after: identity::not_after(own),
                chain: chain.iter().cloned().map(CertificateDer::into_owned).collect(),
                verdict: AtomicU64::new(current.verdict(!current.has_revoked(chain))),
            })
        });
        Ok((stream, proven))
    }

    /// Whether a caller's certificate holds at this time, by the CAs and the list of revoked ones in use.
    #[must_use]
    pub fn still_holds(&self, certificate: &ClientCertificate) -> bool {
        let current = self.current.load();
        let now = UnixTime::now();
        if certificate.not_after < now.as_secs() {
            return false;
        }
        let known = certificate.verdict.load(Ordering::Relaxed);
        if known >> 1 == current.number {
            return known & 1 == 1;
        }
        let holds = current.vouches_for(&certificate.chain, now);
        certificate
            .verdict
            .store(current.verdict(holds), Ordering::Relaxed);
        holds
    }
}

impl Snapshot {
    fn of(contents: &Contents, files: &DoorFiles, number: u64) -> Result<Self, CredentialsError> {
        let key = Arc::new(contents.certified_key(&files.certificate, &files.key)?);
        let own = key.cert.first().cloned().unwrap_or_else(|| Vec::new().into());
        if identity::not_after(&own) < UnixTime::now().as_secs() {
            let path = files.certificate.clone();
            return Err(CredentialsError::Ended { path });
        }
        let callers = files.clients.as_ref().map(|path| {
            let roots = Arc::new(contents.roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, tls::provider());
            let unusable = |source| CredentialsError::Bundle {
                path: path.clone(),
                source,
            };
            verifier.allow_unauthenticated().build().map_err(unusable)
        });
        let callers = callers.transpose()?;
        let builder = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|source| CredentialsError::Key {
                key: files.key.clone(),
                certificate: files.certificate.clone(),
                source,
            })?;
        let builder = match &callers {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            number,
            contents: contents.fingerprint(),
            server: Arc::new(server),
            callers,
            revoked: contents.revoked(files.revoked.as_deref())?,
            own,
        })
    }

    fn verdict(&self, holds: bool) -> u64 {
        self.number << 1 | u64::from(holds)
    }

    fn vouches_for(&self, chain: &[CertificateDer<'static>], now: UnixTime) -> bool {
        let (Some(callers), Some((own, intermediates))) = (&self.callers, chain.split_first()) else {
            return false;
        };
        !self.has_revoked(chain) && callers.verify_client_cert(own, intermediates, now).is_ok()
    }

    fn has_revoked(&self, chain: &[CertificateDer<'static>]) -> bool {
        chain
            .iter()
            .any(|certificate| self.revoked.find(certificate).is_some())
    }
}
