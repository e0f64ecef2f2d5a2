//! SHA-256 fingerprints of certificates and their keys, and the list of revoked ones.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The SHA-256 digest of the DER bytes of a certificate or a key. Displayed as 64 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of `certificate`.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self::of_bytes(certificate)
    }

    /// The fingerprint of the public key in `certificate`: of its `SubjectPublicKeyInfo` (RFC
    /// 5280).
    #[must_use]
    pub fn of_key(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(Self::of_bytes(parsed.tbs_certificate.subject_pki.raw))
    }

    /// The SHA-256 of any bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(sha256)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a SHA-256 fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a SHA-256 fingerprint: write 64 hexadecimal digits, with or without colons, as `openssl dgst -sha256` or \
     `openssl x509 -noout -fingerprint -sha256` print them"
)]
pub struct InvalidFingerprint;

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    /// Accepts hexadecimal digits of either case, with or without colons, after an optional `…=`.
    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits.trim());
        let nibbles: Vec<u8> = digits
            .chars()
            .filter(|c| *c != ':')
            .map(|c| {
                c.to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
                    .ok_or(InvalidFingerprint)
            })
            .collect::<Result<_, _>>()?;
        let bytes: Vec<u8> = nibbles
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect();
        match (nibbles.len(), bytes.try_into()) {
            // This is what a tool prints for empty input.
            (64, Ok(sha256)) if Self(sha256) == Self::of_bytes(b"") => Err(InvalidFingerprint),
            (64, Ok(sha256)) => Ok(Self(sha256)),
            _ => Err(InvalidFingerprint),
        }
    }
}

/// Revoked fingerprints, of keys or of certificates. They are refused even if a CA signed them.
///
/// A certificate's fingerprint revokes a lost certificate. It does not stop somebody who has the
/// key: a signature does not cover itself, so anybody can re-encode the CA's signature and get a
/// valid certificate with a different fingerprint.
#[derive(Debug, Default)]
pub(crate) struct Revoked(BTreeSet<Fingerprint>);

impl Revoked {
    /// Reads the list; see [`parse_list`].
    pub(crate) fn parse(text: &str) -> Result<Self, usize> {
        parse_list(text).map(Self)
    }

    /// The listed fingerprint of `certificate` or of its key, if there is one.
    pub(crate) fn find(&self, certificate: &CertificateDer<'_>) -> Option<Fingerprint> {
        let key = Fingerprint::of_key(certificate);
        let mut of_it = [Some(Fingerprint::of(certificate)), key].into_iter().flatten();
        of_it.find(|fingerprint| self.0.contains(fingerprint))
    }
}

/// Parses a list of fingerprints: one per line; empty lines and text after `#` are ignored.
///
/// # Errors
/// The number of the first line that is not a fingerprint, from 1.
fn parse_list(text: &str) -> Result<BTreeSet<Fingerprint>, usize> {
    let entry = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, entry(line)))
        .filter(|(_, entry)| !entry.is_empty())
        .map(|(number, entry)| entry.parse().map_err(|InvalidFingerprint| number))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_openssl_prints() {
        let fingerprint = Fingerprint::of_bytes(b"isthmus");
        let plain = fingerprint.to_string();
        let pairs: Vec<String> = plain
            .as_bytes()
            .chunks(2)
            .map(|c| String::from_utf8_lossy(c).to_uppercase())
            .collect();
        let openssl = format!("sha256 Fingerprint={}", pairs.join(":"));
        let dgst = format!("SHA2-256(stdin)= {plain}");
        assert_eq!(dgst.parse(), Ok(fingerprint));
        assert_eq!(plain.parse(), Ok(fingerprint));
        assert_eq!(openssl.parse(), Ok(fingerprint));
    }

    #[test]
    fn refuses_anything_else() {
        let short = "ab".repeat(31);
        let odd = "a".repeat(65);
        let of_nothing = Fingerprint::of_bytes(b"").to_string();
        for bad in ["", "=", "xyz", "é", &short, &odd, &of_nothing] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(InvalidFingerprint), "{bad}");
        }
    }

    #[test]
    fn a_list_has_comments_and_names_its_first_bad_line() {
        let one = Fingerprint::of_bytes(b"one");
        let list = format!("# lost laptop\n\n{one} # gw-1\n");
        assert_eq!(parse_list(&list).unwrap(), BTreeSet::from([one]));
        assert_eq!(parse_list(&format!("{one}\nnonsense\n")), Err(2));
    }
}
