//! Reasons for refusing a link: one variant per cause, each with a label for logs and metrics.

use std::io;
use std::time::Duration;

use isthmus_replication::names::{RegionName, SetName};
use rustls::{AlertDescription, CertificateError};
use x509_parser::time::ASN1Time;

use crate::fingerprint::Fingerprint;
use crate::identity::TrustDomain;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)*) => {
        /// The kind of a [`Refusal`]: a closed list, suitable as the label of a metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalReason {
            $($(#[$doc])* $variant,)*
        }

        impl RefusalReason {
            /// Every reason, so that a counter can be exported before its first increment.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The value of `reason` in metrics and log lines. Published: never renamed.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }
        }
    };
}

reasons! {
    /// The peer presented no certificate.
    NoCertificate = "no_certificate",
    /// The certificate does not parse.
    UnreadableCertificate = "unreadable_certificate",
    /// The certificate has no URI name.
    NoUriName = "no_uri_name",
    /// The certificate has more than one URI name.
    SeveralUriNames = "several_uri_names",
    /// The URI name is not a gateway's.
    ForeignName = "foreign_name",
    /// The name is under another trust domain.
    AnotherTrustDomain = "another_trust_domain",
    /// The name is of another set.
    AnotherSet = "another_set",
    /// The name is of a region that is not in the set.
    UnknownRegion = "unknown_region",
    /// The name is in a region of this set, but not a gateway's.
    NotAGateway = "not_a_gateway",
    /// The peer is a gateway of the accepting region itself.
    OwnRegion = "own_region",
    /// The certificate is of another region than the dialled one.
    AnotherRegion = "another_region",
    /// No known CA vouches for the certificate.
    UnknownCa = "unknown_ca",
    /// The CA of another region vouches for the certificate.
    AnotherRegionsCa = "another_regions_ca",
    /// A certificate of the chain has expired.
    Expired = "expired",
    /// A certificate of the chain is not valid yet.
    NotYetValid = "not_yet_valid",
    /// A certificate of the chain is listed as revoked.
    Revoked = "revoked",
    /// The certificate is not meant for this end of a link.
    WrongPurpose = "wrong_purpose",
    /// The chain is invalid for another reason.
    InvalidChain = "invalid_chain",
    /// The peer does not support TLS 1.3.
    OldTls = "old_tls",
    /// The peer does not support the link's application protocol.
    WrongProtocol = "wrong_protocol",
    /// The received bytes are not TLS.
    NotTls = "not_tls",
    /// The TLS handshake failed for another reason.
    Tls = "tls",
    /// The peer refused this end.
    RefusedByPeer = "refused_by_peer",
    /// The peer closed the connection during the handshake.
    HungUp = "hung_up",
    /// The handshake took too long.
    Slow = "slow",
}

/// Why a peer was refused. The text names the fix; nothing in it is secret.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// See [`RefusalReason::NoCertificate`].
    #[error("the peer presented no certificate: configure link.certificate and link.key there")]
    NoCertificate,
    /// See [`RefusalReason::UnreadableCertificate`].
    #[error("the peer's certificate can't be read ({what}): issue a new one")]
    UnreadableCertificate {
        /// What is wrong with it.
        what: &'static str,
    },
    /// See [`RefusalReason::NoUriName`].
    #[error(
        "the certificate has no URI name: issue one whose only URI is spiffe://<trust_domain>/isthmus/<set>/region/<region>/gateway"
    )]
    NoUriName,
    /// See [`RefusalReason::SeveralUriNames`].
    #[error(
        "the certificate has {count} URI names, so its identity is ambiguous: issue one with exactly one"
    )]
    SeveralUriNames {
        /// The number of URI names.
        count: usize,
    },
    /// See [`RefusalReason::ForeignName`].
    #[error(
        "{uri:?} is not the name of a gateway: the URI must be spiffe://<trust_domain>/isthmus/<set>/region/<region>/gateway, or the identity that set.yaml names for the region"
    )]
    ForeignName {
        /// The name found.
        uri: String,
    },
    /// See [`RefusalReason::AnotherTrustDomain`].
    #[error(
        "the certificate belongs to trust domain {found:?}, this set to {expected}: use a certificate of this set"
    )]
    AnotherTrustDomain {
        /// The trust domain in the certificate.
        found: String,
        /// The trust domain of the set.
        expected: TrustDomain,
    },
    /// See [`RefusalReason::AnotherSet`].
    #[error(
        "the certificate belongs to set {found:?}, this is set {expected}: use a certificate of this set"
    )]
    AnotherSet {
        /// The set in the certificate.
        found: String,
        /// This set.
        expected: SetName,
    },
    /// See [`RefusalReason::UnknownRegion`].
    #[error(
        "region {region:?} is not in this set: add it to set.yaml in every region, or correct the certificate"
    )]
    UnknownRegion {
        /// The claimed region.
        region: String,
    },
    /// See [`RefusalReason::NotAGateway`].
    #[error("the certificate is for {role:?}, not for a gateway: use the gateway's certificate")]
    NotAGateway {
        /// The claimed role.
        role: String,
    },
    /// See [`RefusalReason::OwnRegion`].
    #[error(
        "a gateway of this region {region} dialed it: correct the gateways listed for the peers in set.yaml or link.dial"
    )]
    OwnRegion {
        /// This region.
        region: RegionName,
    },
    /// See [`RefusalReason::AnotherRegion`].
    #[error(
        "region {dialled} was dialed and region {found} answered: correct the addresses of {dialled} in set.yaml or link.dial"
    )]
    AnotherRegion {
        /// The dialled region.
        dialled: RegionName,
        /// The region that answered.
        found: RegionName,
    },
    /// See [`RefusalReason::UnknownCa`].
    #[error(
        "no CA trusted for region {region} signed the certificate: add its CA to that region's trust file, or issue it from a CA that is in it"
    )]
    UnknownCa {
        /// The claimed region.
        region: RegionName,
    },
    /// See [`RefusalReason::AnotherRegionsCa`].
    #[error(
        "the certificate claims region {region} but the CA of region {vouched_by} signed it, which is not allowed: issue it from {region}'s CA"
    )]
    AnotherRegionsCa {
        /// The claimed region.
        region: RegionName,
        /// The region whose CA signed it.
        vouched_by: RegionName,
    },
    /// See [`RefusalReason::Expired`].
    #[error("the certificate of region {region} expired on {}: issue a new one", utc(*.not_after))]
    Expired {
        /// The claimed region.
        region: RegionName,
        /// Seconds since the Unix epoch.
        not_after: u64,
    },
    /// See [`RefusalReason::NotYetValid`].
    #[error("the certificate of region {region} is valid only from {}: check the clocks, or issue a new one", utc(*.not_before))]
    NotYetValid {
        /// The claimed region.
        region: RegionName,
        /// Seconds since the Unix epoch.
        not_before: u64,
    },
    /// See [`RefusalReason::Revoked`].
    #[error(
        "a certificate of region {region} is revoked by fingerprint {fingerprint}: issue a new one, for a new key"
    )]
    Revoked {
        /// The claimed region.
        region: RegionName,
        /// The listed fingerprint: of its key, or its own.
        fingerprint: Fingerprint,
    },
    /// See [`RefusalReason::WrongPurpose`].
    #[error(
        "the certificate of region {region} is not valid for this end of a link: issue it with both serverAuth and clientAuth"
    )]
    WrongPurpose {
        /// The claimed region.
        region: RegionName,
    },
    /// See [`RefusalReason::InvalidChain`].
    #[error(
        "the certificate chain of region {region} is invalid ({cause}): issue a new certificate from that region's CA"
    )]
    InvalidChain {
        /// The claimed region.
        region: RegionName,
        /// The error of the verification.
        cause: rustls::Error,
    },
    /// See [`RefusalReason::OldTls`].
    #[error("the peer does not support TLS 1.3: a link accepts nothing older")]
    OldTls,
    /// See [`RefusalReason::WrongProtocol`].
    #[error("the peer does not speak isthmus/1 (ALPN): connect it to the right server, or upgrade it")]
    WrongProtocol,
    /// See [`RefusalReason::NotTls`].
    #[error("the peer did not send TLS: only gateways may connect to the link port")]
    NotTls,
    /// See [`RefusalReason::Tls`].
    #[error("the TLS handshake failed ({cause}): compare the versions and certificates of both gateways")]
    Tls {
        /// The TLS error.
        cause: rustls::Error,
    },
    /// See [`RefusalReason::RefusedByPeer`].
    #[error("the peer refused this end ({alert:?}): its log says why")]
    RefusedByPeer {
        /// The TLS alert that it sent.
        alert: AlertDescription,
    },
    /// See [`RefusalReason::HungUp`].
    #[error("the peer closed the connection during the handshake ({cause}): its log may say why")]
    HungUp {
        /// How the connection ended.
        cause: io::ErrorKind,
    },
    /// See [`RefusalReason::Slow`].
    #[error("the handshake did not finish within {timeout:?}: check the network between the gateways")]
    Slow {
        /// The time limit.
        timeout: Duration,
    },
}

impl Refusal {
    /// The kind of the refusal, for metrics.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::NoCertificate => RefusalReason::NoCertificate,
            Self::UnreadableCertificate { .. } => RefusalReason::UnreadableCertificate,
            Self::NoUriName => RefusalReason::NoUriName,
            Self::SeveralUriNames { .. } => RefusalReason::SeveralUriNames,
            Self::ForeignName { .. } => RefusalReason::ForeignName,
            Self::AnotherTrustDomain { .. } => RefusalReason::AnotherTrustDomain,
            Self::AnotherSet { .. } => RefusalReason::AnotherSet,
            Self::UnknownRegion { .. } => RefusalReason::UnknownRegion,
            Self::NotAGateway { .. } => RefusalReason::NotAGateway,
            Self::OwnRegion { .. } => RefusalReason::OwnRegion,
            Self::AnotherRegion { .. } => RefusalReason::AnotherRegion,
            Self::UnknownCa { .. } => RefusalReason::UnknownCa,
            Self::AnotherRegionsCa { .. } => RefusalReason::AnotherRegionsCa,
            Self::Expired { .. } => RefusalReason::Expired,
            Self::NotYetValid { .. } => RefusalReason::NotYetValid,
            Self::Revoked { .. } => RefusalReason::Revoked,
            Self::WrongPurpose { .. } => RefusalReason::WrongPurpose,
            Self::InvalidChain { .. } => RefusalReason::InvalidChain,
            Self::OldTls => RefusalReason::OldTls,
            Self::WrongProtocol => RefusalReason::WrongProtocol,
            Self::NotTls => RefusalReason::NotTls,
            Self::Tls { .. } => RefusalReason::Tls,
            Self::RefusedByPeer { .. } => RefusalReason::RefusedByPeer,
            Self::HungUp { .. } => RefusalReason::HungUp,
            Self::Slow { .. } => RefusalReason::Slow,
        }
    }

    /// The certificate error that sends the peer the most precise TLS alert.
    pub(crate) fn as_certificate_error(&self) -> CertificateError {
        match self {
            Self::UnreadableCertificate { .. } => CertificateError::BadEncoding,
            Self::UnknownCa { .. } | Self::AnotherRegionsCa { .. } => CertificateError::UnknownIssuer,
            Self::Expired { .. } => CertificateError::Expired,
            Self::NotYetValid { .. } => CertificateError::NotValidYet,
            Self::Revoked { .. } => CertificateError::Revoked,
            Self::WrongPurpose { .. } => CertificateError::InvalidPurpose,
            _ => CertificateError::ApplicationVerificationFailure,
        }
    }
}

/// Formats a time in seconds since the Unix epoch for people.
fn utc(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| ASN1Time::from_timestamp(seconds).ok())
        .map_or_else(
            || format!("second {seconds} of the Unix epoch"),
            |time| time.to_string(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_fit_for_a_metric() {
        let labels: std::collections::BTreeSet<_> =
            RefusalReason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), RefusalReason::ALL.len());
        assert!(
            labels
                .iter()
                .all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(utc(0), "Jan  1 00:00:00 1970 +00:00");
        assert!(utc(u64::MAX).contains("epoch"));
    }
}
