//! The authenticated peer of a link.

use std::fmt;
use std::sync::Arc;

use isthmus_replication::names::RegionName;
use rustls_pki_types::CertificateDer;

use crate::fingerprint::Fingerprint;
use crate::identity;

/// The end of a link that presents a certificate. The certificate must be valid for that end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The end that dialled, in TLS the client.
    Dialer,
    /// The end that accepted, in TLS the server.
    Acceptor,
}

/// The peer's identity, and the certificate chain that proved it.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    region: RegionName,
    end: End,
    chain: Arc<[CertificateDer<'static>]>,
}

impl Peer {
    /// The peer at `end` whose verified `chain` starts with its own certificate.
    #[must_use]
    pub fn new(region: RegionName, end: End, chain: Arc<[CertificateDer<'static>]>) -> Self {
        Self { region, end, chain }
    }

    /// The region of the peer. A batch's origin must be this region (or a route of the set).
    #[must_use]
    pub fn region(&self) -> &RegionName {
        &self.region
    }

    /// The peer's end of the link.
    #[must_use]
    pub fn end(&self) -> End {
        self.end
    }

    /// The chain it presented: its own certificate, then the intermediates.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The fingerprint of the peer's own certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_bytes(self.chain.first().map_or(&[], |certificate| certificate.as_ref()))
    }

    /// The expiry of the peer's own certificate, in seconds since the Unix epoch.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        identity::not_after(self.chain.first().map_or(&[], |certificate| certificate.as_ref()))
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} of {} with certificate {}",
            self.end,
            self.region,
            self.fingerprint()
        )
    }
}
