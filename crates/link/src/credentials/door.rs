//! TLS for the doors of this process: the door's own certificate, and optional client certificates.
//!
//! As with links, only TLS 1.3 is accepted, sessions are not resumed, and new files are checked
//! before they are used. A client certificate is checked again at the first request after the files
//! have changed, so a certificate that is no longer valid is refused even on an open connection.

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

/// The application protocol of a door.
const PROTOCOL: &[u8] = b"http/1.1";

/// The files of a door. All are PEM except the list of revoked fingerprints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorFiles {
    /// The door's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The CAs of client certificates; if absent, callers are not asked for a certificate.
    pub clients: Option<PathBuf>,
    /// The fingerprints of revoked keys and certificates: those of callers and of the intermediates
    /// that they present.
    pub revoked: Option<PathBuf>,
}

impl DoorFiles {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let named = [&self.certificate, &self.key].into_iter();
        named.chain(&self.clients).chain(&self.revoked)
    }
}

/// The TLS of one door. Its listener and connections share it.
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

/// The authenticated certificate of a caller.
#[derive(Debug)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    names: BTreeSet<String>,
    not_after: u64,
    /// The last verdict: twice the number of the generation that gave it, plus 1 if the certificate
    /// is valid.
    verdict: AtomicU64,
}

impl ClientCertificate {
    /// The URIs and DNS names in the certificate.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}

impl DoorTls {
    /// Reads and checks `files`.
    ///
    /// # Errors
    /// [`CredentialsError`] names the file and the fix.
    pub fn load(files: DoorFiles) -> Result<Self, CredentialsError> {
        let contents = Contents::read(files.paths())?;
        let snapshot = Snapshot::of(&contents, &files, 1)?;
        Ok(Self {
            files,
            current: ArcSwap::from_pointee(snapshot),
            reloading: Mutex::new(()),
        })
    }

    /// Reads the files again and, if they are valid, uses them for every later handshake.
    ///
    /// # Errors
    /// [`CredentialsError`] names the file and the fix; the previous files stay in use.
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
        watch::reload_every(period, move || self.reload(), report).await;
    }

    /// The fingerprint of the door's own certificate, and its expiry in seconds since the Unix
    /// epoch.
    #[must_use]
    pub fn own(&self) -> (Fingerprint, u64) {
        let current = self.current.load();
        (Fingerprint::of(&current.own), identity::not_after(&current.own))
    }

    /// Performs the handshake of an accepted connection. The caller must limit its time.
    ///
    /// # Errors
    /// The failure of the handshake, including a rejected client certificate.
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

    /// Whether a caller's certificate is valid now, according to the CAs and the revocation list in
    /// use.
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
