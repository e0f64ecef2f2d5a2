//! Errors of credentials.

use std::io;
use std::path::{Path, PathBuf};

use isthmus_replication::names::RegionName;
use rustls::server::VerifierBuilderError;
use rustls_pki_types::pem;

use crate::fingerprint;
use crate::limits::CREDENTIAL_FILE_BYTES;
use crate::peer::End;
use crate::refusal::Refusal;

/// Credentials that can't be used. Each message names the file and the fix.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file can't be read.
    #[error("can't read {}: check that it exists and that this process may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any valid credentials file.
    #[error("{} is larger than {CREDENTIAL_FILE_BYTES} bytes: is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file is not PEM.
    #[error("{} is not PEM: write the certificates and keys as PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The PEM error.
        #[source]
        source: pem::Error,
    },
    /// A file contains no certificate.
    #[error("{} holds no certificate: put one there in PEM", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file contains no private key.
    #[error("{} holds no private key: put one there in PEM, unencrypted", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key can't be used or does not belong to the certificate.
    #[error("the key {} does not match the certificate {}: put the certificate's own key there", key.display(), certificate.display())]
    Key {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
        /// The TLS error.
        #[source]
        source: rustls::Error,
    },
    /// The certificate of a door has expired.
    #[error("the certificate in {} has expired: put a new one there", path.display())]
    Ended {
        /// The certificate's file.
        path: PathBuf,
    },
    /// The certificate is not valid for a gateway of this region.
    #[error("{} is not valid for region {region} {}: put the certificate of this region's gateways there ({refusal})", path.display(), as_end(*.end))]
    Unfit {
        /// The certificate's file.
        path: PathBuf,
        /// This region.
        region: RegionName,
        /// The end of a link for which it is not valid.
        end: End,
        /// Why peers would refuse it.
        refusal: Box<Refusal>,
    },
    /// A certificate can't be a CA.
    #[error("certificate {number} in {} can't be used as a CA: put the region's CA certificates there", path.display())]
    Anchor {
        /// The trust file.
        path: PathBuf,
        /// The number of the certificate in the file, from 1.
        number: usize,
        /// The TLS error.
        #[source]
        source: rustls::Error,
    },
    /// A region's CAs can't be used.
    #[error("the CAs in {} can't be used: put the region's CA certificates there", path.display())]
    Bundle {
        /// The trust file.
        path: PathBuf,
        /// The TLS error.
        #[source]
        source: VerifierBuilderError,
    },
    /// This region has no trust file.
    #[error("region {region} has no trust file: add the region to set.yaml with its trust")]
    NoOwnTrust {
        /// This region.
        region: RegionName,
    },
    /// Two regions have the same identity.
    #[error(
        "regions {first} and {second} have the same identity {identity:?}: give each its own in set.yaml"
    )]
    SharedIdentity {
        /// The identity.
        identity: String,
        /// One region.
        first: RegionName,
        /// The other.
        second: RegionName,
    },
    /// The list of revoked fingerprints does not parse.
    #[error("{} line {line}: {source}", path.display())]
    Revoked {
        /// The list's file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The parse error.
        source: fingerprint::InvalidFingerprint,
    },
}

impl CredentialsError {
    /// The file with the error; `None` if the cause is not one file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { path, .. }
            | Self::TooLarge { path }
            | Self::Pem { path, .. }
            | Self::NoCertificate { path }
            | Self::NoKey { path }
            | Self::Ended { path }
            | Self::Key { key: path, .. }
            | Self::Unfit { path, .. }
            | Self::Anchor { path, .. }
            | Self::Bundle { path, .. }
            | Self::Revoked { path, .. } => Some(path),
            Self::NoOwnTrust { .. } | Self::SharedIdentity { .. } => None,
        }
    }
}

fn as_end(end: End) -> &'static str {
    match end {
        End::Dialer => "when it dials",
        End::Acceptor => "when it accepts",
    }
}
