//! Why a link was refused: one variant a cause, each with a reason to log and count it by.

use std::io;
use std::time::Duration;

use isthmus_replication::names::{RegionName, SetName};
use rustls::{AlertDescription, CertificateError};
use x509_parser::time::ASN1Time;

use crate::fingerprint::Fingerprint;
use crate::identity::TrustDomain;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)*) => {
        /// A [`Refusal`] without its particulars: a closed list, fit for the label of a metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalReason {
            $($(#[$doc])* $variant,)*
        }

        impl RefusalReason {
            /// Every reason, so that a counter can be shown before it first counts.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The value of a metric's or a log line's `reason`. Published: never renamed.
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
    /// No certificate was presented.
    NoCertificate = "no_certificate",
    /// A certificate did not parse.
    UnreadableCertificate = "unreadable_certificate",
    /// No URI name in the certificate.
    NoUriName = "no_uri_name",
    /// More than one URI name in the certificate.
    SeveralUriNames = "several_uri_names",
    /// A URI name that is not a gateway's.
    ForeignName = "foreign_name",
    /// A name under another trust domain.
    AnotherTrustDomain = "another_trust_domain",
    /// A name of another set.
    AnotherSet = "another_set",
    /// A name of a region that the set doesn't have.
    UnknownRegion = "unknown_region",
    /// A name in a region of this set, but not a gateway's.
    NotAGateway = "not_a_gateway",
    /// A gateway of the accepting region itself.
    OwnRegion = "own_region",
    /// A certificate of another region than was dialled.
    AnotherRegion = "another_region",
    /// No CA known here vouches for the certificate.
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
    /// The chain fails for a reason of its own.
    InvalidChain = "invalid_chain",
    /// The peer doesn't speak TLS 1.3.
    OldTls = "old_tls",
    /// The peer doesn't speak the link's application protocol.
    WrongProtocol = "wrong_protocol",
    /// What arrived is not TLS.
    NotTls = "not_tls",
    /// The TLS handshake failed otherwise.
    Tls = "tls",
    /// The peer refused this end.
    RefusedByPeer = "refused_by_peer",
    /// The peer hung up during the handshake.
    HungUp = "hung_up",
    /// The handshake took too long.
    Slow = "slow",
}

/// Why a peer was refused. The text names the mend; nothing in it is secret.
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
        "the certificate has {count} URI names, which leaves open whom it speaks for: issue one with exactly one"
    )]
    SeveralUriNames {
        /// How many.
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
        /// What the certificate says.
        found: String,
        /// What the set says.
        expected: TrustDomain,
    },
    /// See [`RefusalReason::AnotherSet`].
    #[error(
        "the certificate belongs to set {found:?}, this is set {expected}: use a certificate of this set"
    )]
    AnotherSet {
        /// What the certificate says.
        found: String,
        /// This set.
        expected: SetName,
    },
    /// See [`RefusalReason::UnknownRegion`].
    #[error(
        "region {region:?} is not in this set: add it to set.yaml in every region, or mend the certificate"
    )]
    UnknownRegion {
        /// The region claimed.
        region: String,
    },
    /// See [`RefusalReason::NotAGateway`].
    #[error("the certificate is for {role:?}, not for a gateway: use the gateway's certificate")]
    NotAGateway {
        /// The role claimed.
        role: String,
    },
    /// See [`RefusalReason::OwnRegion`].
    #[error(
        "a gateway of this region {region} dialled it: mend the gateways listed for the peers in set.yaml or link.dial"
    )]
    OwnRegion {
        /// This region.
        region: RegionName,
    },
    /// See [`RefusalReason::AnotherRegion`].
    #[error(
        "region {dialled} was dialled and region {found} answered: mend the addresses of {dialled} in set.yaml or link.dial"
    )]
    AnotherRegion {
        /// Who was expected.
        dialled: RegionName,
        /// Who answered.
        found: RegionName,
    },
    /// See [`RefusalReason::UnknownCa`].
    #[error(
        "no CA trusted for region {region} vouches for the certificate: add its CA to that region's trust file, or issue it from a CA that is in it"
    )]
    UnknownCa {
        /// The region claimed.
        region: RegionName,
    },
    /// See [`RefusalReason::AnotherRegionsCa`].
    #[error(
        "the certificate claims region {region} but the CA of region {vouched_by} vouches for it, which it may not: issue it from {region}'s CA"
    )]
    AnotherRegionsCa {
        /// The region claimed.
        region: RegionName,
        /// The region whose CA signed it.
        vouched_by: RegionName,
    },
    /// See [`RefusalReason::Expired`].
    #[error("the certificate of region {region} expired on {}: issue a new one", utc(*.not_after))]
    Expired {
        /// The region claimed.
        region: RegionName,
        /// Seconds since the Unix epoch.
        not_after: u64,
    },
    /// See [`RefusalReason::NotYetValid`].
    #[error("the certificate of region {region} is valid only from {}: check the clocks, or issue a new one", utc(*.not_before))]
    NotYetValid {
        /// The region claimed.
        region: RegionName,
        /// Seconds since the Unix epoch.
        not_before: u64,
    },
    /// See [`RefusalReason::Revoked`].
    #[error("a certificate of region {region} is revoked, by {fingerprint}: issue a new one, for a new key")]
    Revoked {
        /// The region claimed.
        region: RegionName,
        /// What is listed of it: the fingerprint of its key, or its own.
        fingerprint: Fingerprint,
    },
    /// See [`RefusalReason::WrongPurpose`].
    #[error(
        "the certificate of region {region} is not meant for this end of a link: issue it with both serverAuth and clientAuth"
    )]
    WrongPurpose {
        /// The region claimed.
        region: RegionName,
    },
    /// See [`RefusalReason::InvalidChain`].
    #[error(
        "the chain of region {region} does not hold ({cause}): issue a new certificate from that region's CA"
    )]
    InvalidChain {
        /// The region claimed.
        region: RegionName,
        /// What the verification says.
        cause: rustls::Error,
    },
    /// See [`RefusalReason::OldTls`].
    #[error("the peer does not speak TLS 1.3: a link takes nothing older")]
    OldTls,
    /// See [`RefusalReason::WrongProtocol`].
    #[error("the peer does not speak isthmus/1 (ALPN): point it at its own kind of server, or upgrade it")]
    WrongProtocol,
    /// See [`RefusalReason::NotTls`].
    #[error("what arrived is not TLS: only gateways may talk to the link port")]
    NotTls,
    /// See [`RefusalReason::Tls`].
    #[error("the TLS handshake failed ({cause}): compare the versions and certificates of both gateways")]
    Tls {
        /// What TLS says.
        cause: rustls::Error,
    },
    /// See [`RefusalReason::RefusedByPeer`].
    #[error("the peer refused this end ({alert:?}): its log says why")]
    RefusedByPeer {
        /// The alert it sent.
        alert: AlertDescription,
    },
    /// See [`RefusalReason::HungUp`].
    #[error("the peer hung up during the handshake ({cause}): its log may say why")]
    HungUp {
        /// How the connection ended.
        cause: io::ErrorKind,
    },
    /// See [`RefusalReason::Slow`].
    #[error("the handshake did not finish within {timeout:?}: check the network between the gateways")]
    Slow {
        /// The time allowed.
        timeout: Duration,
    },
}

impl Refusal {
    /// What to count it as.
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

    /// The verification error that makes TLS tell the peer as much as an alert can.
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

/// A time in seconds since the Unix epoch, as people write it.
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
