//! The identity in a certificate: its only URI name,
//! `spiffe://<trust_domain>/isthmus/<set>/region/<region>/gateway`.

use std::fmt;
use std::str::FromStr;

use isthmus_replication::names::{RegionName, SetName};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::limits::SHOWN_NAME_CHARS;
use crate::refusal::Refusal;

/// A trust domain: 1 to 255 of the characters a-z, 0-9, '.', '-' and '_' (the SPIFFE rule).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrustDomain(String);

/// Text that is not a trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a trust domain: use 1 to 255 of the characters a-z, 0-9, '.', '-' and '_', such as example.org"
)]
pub struct InvalidTrustDomain(String);

impl FromStr for TrustDomain {
    type Err = InvalidTrustDomain;

    fn from_str(text: &str) -> Result<Self, InvalidTrustDomain> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if (1..=255).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTrustDomain(shown(text)))
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The place of a gateway: its region, in a set, under a trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The trust domain of the set.
    pub trust_domain: TrustDomain,
    /// The set.
    pub set: SetName,
    /// The region of this process.
    pub region: RegionName,
}

impl Place {
    /// The URI name of the certificates of a gateway of `region` in this set.
    #[must_use]
    pub fn gateway_uri(&self, region: &RegionName) -> String {
        format!(
            "spiffe://{}/isthmus/{}/region/{region}/gateway",
            self.trust_domain, self.set
        )
    }

    /// Why `uri`, which names no region of this set, is refused.
    pub(crate) fn explain(&self, uri: &str) -> Refusal {
        let foreign = || Refusal::ForeignName { uri: shown(uri) };
        let Some(path) = uri.strip_prefix("spiffe://") else {
            return foreign();
        };
        let parts: Vec<&str> = path.split('/').collect();
        let [trust_domain, "isthmus", set, "region", region, role] = parts[..] else {
            return foreign();
        };
        if trust_domain != self.trust_domain.0 {
            Refusal::AnotherTrustDomain {
                found: shown(trust_domain),
                expected: self.trust_domain.clone(),
            }
        } else if set != self.set.as_str() {
            Refusal::AnotherSet {
                found: shown(set),
                expected: self.set.clone(),
            }
        } else if role != "gateway" {
            Refusal::NotAGateway { role: shown(role) }
        } else {
            Refusal::UnknownRegion {
                region: shown(region),
            }
        }
    }
}

/// The only URI name of a certificate in DER.
///
/// # Errors
/// [`Refusal::UnreadableCertificate`], [`Refusal::NoUriName`] or [`Refusal::SeveralUriNames`].
pub(crate) fn uri_name(der: &[u8]) -> Result<String, Refusal> {
    let unreadable = |what| Refusal::UnreadableCertificate { what };
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| unreadable("it is not X.509"))?;
    if !rest.is_empty() {
        return Err(unreadable("bytes follow its end"));
    }
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| unreadable("its subject alternative names do not parse"))?
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(unreadable("one of its subject alternative names does not parse"));
    }
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| {
            if let GeneralName::URI(uri) = name {
                Some(*uri)
            } else {
                None
            }
        })
        .collect();
    match uris[..] {
        [] => Err(Refusal::NoUriName),
        [uri] => Ok(uri.to_owned()),
        _ => Err(Refusal::SeveralUriNames { count: uris.len() }),
    }
}

/// The URIs and DNS names of a certificate; none if it is malformed.
pub(crate) fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.map(|extension| extension.value.general_names.as_slice());
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::URI(name) | GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.unwrap_or_default().iter().filter_map(text).collect()
}

/// The end of a certificate's validity, in seconds since the Unix epoch; 0 if it is earlier than
/// that or malformed.
pub(crate) fn not_after(der: &[u8]) -> u64 {
    X509Certificate::from_der(der)
        .ok()
        .and_then(|(_, certificate)| u64::try_from(certificate.validity().not_after.timestamp()).ok())
        .unwrap_or_default()
}

/// Text from a peer, cut to the length that an error may repeat.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_NAME_CHARS).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::refusal::RefusalReason;

    fn place() -> Place {
        Place {
            trust_domain: "example.org".parse().unwrap(),
            set: SetName::parse("shop").unwrap(),
            region: RegionName::parse("eu-west").unwrap(),
        }
    }

    #[test]
    fn a_foreign_name_is_explained_by_its_first_difference() {
        let cases = [
            ("https://example.org/", RefusalReason::ForeignName),
            (
                "spiffe://example.org/ns/default/sa/gateway",
                RefusalReason::ForeignName,
            ),
            (
                "spiffe://example.org/isthmus/shop/region/mars/gateway/",
                RefusalReason::ForeignName,
            ),
            (
                "spiffe://evil.org/isthmus/shop/region/us-east/gateway",
                RefusalReason::AnotherTrustDomain,
            ),
            (
                "spiffe://example.org/isthmus/bank/region/us-east/gateway",
                RefusalReason::AnotherSet,
            ),
            (
                "spiffe://example.org/isthmus/shop/region/us-east/agent",
                RefusalReason::NotAGateway,
            ),
            (
                "spiffe://example.org/isthmus/shop/region/mars/gateway",
                RefusalReason::UnknownRegion,
            ),
        ];
        for (uri, reason) in cases {
            assert_eq!(place().explain(uri).reason(), reason, "{uri}");
        }
    }

    #[test]
    fn a_long_name_is_cut_before_it_reaches_a_log() {
        let Refusal::ForeignName { uri } = place().explain(&"x".repeat(10_000)) else {
            panic!("a foreign name")
        };
        assert_eq!(uri.len(), SHOWN_NAME_CHARS);
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff", &[0xff; 64]] {
            assert_eq!(
                uri_name(bytes).unwrap_err().reason(),
                RefusalReason::UnreadableCertificate
            );
        }
    }

    #[test]
    fn a_trust_domain_is_lower_case_and_bare() {
        assert!("isthmus.local".parse::<TrustDomain>().is_ok());
        for bad in ["", "Example.org", "a/b", "spiffe://a", "a b"] {
            assert!(bad.parse::<TrustDomain>().is_err(), "{bad}");
        }
    }
}
