//! A gateway's own credentials and the CAs it trusts, read from files and reloaded while links are
//! open.
//!
//! New files are checked before they are used: every trust file parses, the key fits the
//! certificate, the certificate names this region, and this region's own CA signed it. If a check
//! fails, the previous credentials stay in use. Trust and the gateway's own certificate are
//! reloaded independently, so an unusable certificate does not delay the revocation of another. A
//! new generation applies to every later handshake, and live sessions are checked against it again.

mod door;
mod error;
mod files;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use isthmus_replication::names::RegionName;
use rustls::sign::CertifiedKey;
use rustls_pki_types::UnixTime;
use tokio::time::timeout;

use crate::fingerprint::Fingerprint;
use crate::identity::Place;
use crate::limits::RECHECK;
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::trust::{Chain, Expected, Trust};

use files::Contents;

pub use door::{ClientCertificate, DoorFiles, DoorTls};
pub use error::CredentialsError;

/// A region's CAs, and the identity that they may vouch for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSource {
    /// A PEM file with one or more CA certificates.
    pub file: PathBuf,
    /// The URI name of the region's gateways, if set.yaml names one other than
    /// [`Place::gateway_uri`].
    pub identity: Option<String>,
}

/// The files of one gateway's credentials. All are PEM except the list of revoked fingerprints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The gateway's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// SHA-256 fingerprints of revoked keys and certificates, one per line.
    pub revoked: Option<PathBuf>,
    /// The trust of every region of the set, including this one.
    pub trust: BTreeMap<RegionName, TrustSource>,
}

/// The outcome of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The files have not changed.
    Unchanged,
    /// The files of this generation are in use.
    Published(u64),
}

/// This gateway's own credentials.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) key: Arc<CertifiedKey>,
    peer: Peer,
    contents: Fingerprint,
}

/// One generation of credentials.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) trust: Arc<Trust>,
    pub(crate) own: Arc<Own>,
    trust_contents: Fingerprint,
    /// Whether the own certificate is valid with this trust. While it is not, each reload checks it
    /// again and fails.
    own_fits: bool,
}

/// The credentials of one gateway. Its listener, dialers and sessions share them.
#[derive(Debug)]
pub struct Credentials {
    place: Place,
    files: CredentialFiles,
    current: ArcSwap<Snapshot>,
    generation: tokio::sync::watch::Sender<u64>,
    reloading: Mutex<()>,
}

impl Credentials {
    /// Reads and checks `files` for a gateway at `place`.
    ///
    /// # Errors
    /// [`CredentialsError`] names the file and the fix.
    pub fn load(place: Place, files: CredentialFiles) -> Result<Self, CredentialsError> {
        let contents = Contents::read(files::of_trust(&files))?;
        let trust = Arc::new(contents.trust(&place, &files)?);
        let own = Arc::new(Contents::read(files::of_own(&files))?.own(&place, &files, &trust)?);
        let snapshot = Snapshot {
            trust,
            own,
            trust_contents: contents.fingerprint(),
            own_fits: true,
        };
        Ok(Self {
            place,
            files,
            current: ArcSwap::from_pointee(snapshot),
            generation: tokio::sync::watch::Sender::new(1),
            reloading: Mutex::new(()),
        })
    }

    /// Reads the files again and uses them if they are valid.
    ///
    /// # Errors
    /// [`CredentialsError`] names the file and the fix. The part that failed stays unchanged; if
    /// that is this gateway's own certificate, new trust is in use nevertheless.
    pub fn reload(&self) -> Result<Reload, CredentialsError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.snapshot();
        let contents = Contents::read(files::of_trust(&self.files))?;
        let trust_contents = contents.fingerprint();
        let trust = if trust_contents == current.trust_contents {
            Arc::clone(&current.trust)
        } else {
            Arc::new(contents.trust(&self.place, &self.files)?)
        };
        let (own, failure) = match self.reload_own(&current, &trust) {
            Ok(own) => (own, None),
            Err(error) => (Arc::clone(&current.own), Some(error)),
        };
        let reload = self.publish(
            &current,
            Snapshot {
                trust,
                own,
                trust_contents,
                own_fits: failure.is_none(),
            },
        );
        failure.map_or(Ok(reload), Err)
    }

    fn reload_own(&self, current: &Snapshot, trust: &Arc<Trust>) -> Result<Arc<Own>, CredentialsError> {
        let contents = Contents::read(files::of_own(&self.files))?;
        let unchanged = contents.fingerprint() == current.own.contents && Arc::ptr_eq(trust, &current.trust);
        if unchanged && current.own_fits {
            return Ok(Arc::clone(&current.own));
        }
        contents.own(&self.place, &self.files, trust).map(Arc::new)
    }

    fn publish(&self, current: &Snapshot, next: Snapshot) -> Reload {
        if Arc::ptr_eq(&current.trust, &next.trust) && Arc::ptr_eq(&current.own, &next.own) {
            return Reload::Unchanged;
        }
        self.current.store(Arc::new(next));
        self.generation.send_modify(|generation| *generation += 1);
        Reload::Published(*self.generation.borrow())
    }

    /// The number of the generation in use. It starts at 1 and changes when a reload publishes a
    /// generation.
    #[must_use]
    pub fn generations(&self) -> tokio::sync::watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// The place of this gateway.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// This gateway as its peers see it. Status and metrics show its certificate's fingerprint and
    /// expiry.
    #[must_use]
    pub fn own(&self) -> Peer {
        self.current.load().own.peer.clone()
    }

    /// Checks the peer of a live session again, against the credentials in use and the current
    /// time.
    ///
    /// # Errors
    /// Why the peer is no longer valid; the caller must close the session.
    pub fn still_holds(&self, peer: &Peer) -> Result<(), Refusal> {
        let Some((own, intermediates)) = peer.chain().split_first() else {
            return Err(Refusal::NoCertificate);
        };
        let chain = Chain {
            end: peer.end(),
            own,
            intermediates,
        };
        let same_region = Expected::Region(peer.region().clone());
        self.snapshot()
            .trust
            .judge(&chain, &same_region, UnixTime::now())
            .map(|_| ())
    }

    /// Waits until the peer of a live session is no longer valid and returns the reason. The caller
    /// must then close the session.
    pub async fn until_refused(&self, peer: &Peer) -> Refusal {
        let mut generations = self.generations();
        loop {
            if let Err(refusal) = self.still_holds(peer) {
                return refusal;
            }
            let _ = timeout(RECHECK, generations.changed()).await;
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}
