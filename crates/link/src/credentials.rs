//! What a gateway proves itself with and whom it trusts, read from files and read again while links stand.
//!
//! New files are checked before they are used: every trust file parses, the key fits the certificate, the certificate
//! speaks for this region and this region's own CA vouches for it. What fails leaves what was there in use. Trust and
//! the gateway's own certificate are taken each for itself: a certificate that can't be used doesn't delay the
//! revocation of another. A new generation counts for every later handshake, and live sessions are judged by it again.

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

/// Where a region's CAs are, and whom they may vouch for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSource {
    /// A PEM file with one or more CA certificates.
    pub file: PathBuf,
    /// The URI name of the region's gateways, where set.yaml names another than [`Place::gateway_uri`].
    pub identity: Option<String>,
}

/// The files of one gateway's credentials, all PEM but the list of revoked fingerprints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The gateway's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// SHA-256 fingerprints of keys and certificates that hold no longer, one a line.
    pub revoked: Option<PathBuf>,
    /// The trust of every region of the set, this one's included.
    pub trust: BTreeMap<RegionName, TrustSource>,
}

/// What a reload found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The files are what they were.
    Unchanged,
    /// The files of this generation are in use.
    Published(u64),
}

/// What this gateway proves itself with.
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
}

/// The credentials of one gateway. Shared by its listener, its dialers and its sessions.
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
    /// [`CredentialsError`] names the file and the mend.
    pub fn load(place: Place, files: CredentialFiles) -> Result<Self, CredentialsError> {
        let contents = Contents::read(files::of_trust(&files))?;
        let trust = Arc::new(contents.trust(&place, &files)?);
        let own = Arc::new(Contents::read(files::of_own(&files))?.own(&place, &files, &trust)?);
        let snapshot = Snapshot {
            trust,
            own,
            trust_contents: contents.fingerprint(),
        };
        Ok(Self {
            place,
            files,
            current: ArcSwap::from_pointee(snapshot),
            generation: tokio::sync::watch::Sender::new(1),
            reloading: Mutex::new(()),
        })
    }

    /// Reads the files again and uses them if they are sound.
    ///
    /// # Errors
    /// [`CredentialsError`] names the file and the mend. What it names stays as it was; when that is this gateway's
    /// own certificate, new trust is in use all the same.
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
            },
        );
        failure.map_or(Ok(reload), Err)
    }

    fn reload_own(&self, current: &Snapshot, trust: &Arc<Trust>) -> Result<Arc<Own>, CredentialsError> {
        let contents = Contents::read(files::of_own(&self.files))?;
        if contents.fingerprint() == current.own.contents && Arc::ptr_eq(trust, &current.trust) {
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

    /// The number of the generation in use, which changes when a reload publishes one. Starts at 1.
    #[must_use]
    pub fn generations(&self) -> tokio::sync::watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Where this gateway stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// This gateway as its peers see it: its certificate's fingerprint and end are for status and metrics.
    #[must_use]
    pub fn own(&self) -> Peer {
        self.current.load().own.peer.clone()
    }

    /// Judges the peer of a live session again, by the credentials in use and the time it is.
    ///
    /// # Errors
    /// Why it holds no longer; the session is to be cut.
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

    /// Waits until the peer of a live session holds no longer, and says why. The session is to be cut then.
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
