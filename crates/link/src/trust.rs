//! The CAs that may vouch for each region, and the verdict on a presented chain.
//!
//! The certificate's only URI name claims a region, and that claim alone selects the CAs that the
//! chain is verified against. So a region's CA, even if stolen or misused, can sign only for its
//! own region.

use std::collections::BTreeMap;
use std::sync::Arc;

use isthmus_replication::names::RegionName;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::fingerprint::Revoked;
use crate::identity::{self, Place};
use crate::peer::{End, Peer};
use crate::refusal::Refusal;
use crate::tls;

/// The expected region of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// This region: it was dialled, or the session already belongs to it.
    Region(RegionName),
    /// Any region of the set except this one: the connection was accepted.
    AnyPeer,
}

/// The CAs that may vouch for one region.
#[derive(Debug)]
pub(crate) struct Bundle {
    identity: String,
    roots: Arc<RootCertStore>,
    dialers: Arc<dyn ClientCertVerifier>,
}

impl Bundle {
    /// The CAs `roots`, which may vouch for the URI name `identity`.
    pub(crate) fn new(identity: String, roots: RootCertStore) -> Result<Self, VerifierBuilderError> {
        let roots = Arc::new(roots);
        let dialers =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), tls::provider()).build()?;
        Ok(Self {
            identity,
            roots,
            dialers,
        })
    }

    fn vouches_for(&self, chain: &Chain<'_>, now: UnixTime) -> Result<(), rustls::Error> {
        match chain.end {
            End::Dialer => {
                self.dialers
                    .verify_client_cert(chain.own, chain.intermediates, now)?;
                Ok(())
            }
            End::Acceptor => verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(chain.own)?,
                &self.roots,
                chain.intermediates,
                now,
                tls::provider().signature_verification_algorithms.all,
            ),
        }
    }
}

/// A chain as one end presented it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain<'a> {
    pub(crate) end: End,
    pub(crate) own: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
}

impl<'a> Chain<'a> {
    fn certificates(&self) -> impl Iterator<Item = &'a CertificateDer<'a>> {
        std::iter::once(self.own).chain(self.intermediates)
    }
}

/// The basis for judging a chain. Immutable: a reload creates a new one.
#[derive(Debug)]
pub struct Trust {
    place: Place,
    bundles: BTreeMap<RegionName, Bundle>,
    revoked: Revoked,
}

impl Trust {
    pub(crate) fn new(place: Place, bundles: BTreeMap<RegionName, Bundle>, revoked: Revoked) -> Self {
        Self {
            place,
            bundles,
            revoked,
        }
    }

    /// Verifies `chain` at `now` and returns the peer that it authenticates.
    pub(crate) fn judge(
        &self,
        chain: &Chain<'_>,
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Peer, Refusal> {
        let (region, bundle) = self.claimed(&identity::uri_name(chain.own)?)?;
        self.check_expected(region, expected)?;
        self.check_revoked(region, chain)?;
        bundle
            .vouches_for(chain, now)
            .map_err(|cause| self.explain(region, chain, cause, now))?;
        let certificates = chain
            .certificates()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        Ok(Peer::new(region.clone(), chain.end, certificates))
    }

    fn claimed(&self, uri: &str) -> Result<(&RegionName, &Bundle), Refusal> {
        let named = |(_, bundle): &(&RegionName, &Bundle)| bundle.identity == uri;
        self.bundles
            .iter()
            .find(named)
            .ok_or_else(|| self.place.explain(uri))
    }

    fn check_expected(&self, found: &RegionName, expected: &Expected) -> Result<(), Refusal> {
        match expected {
            Expected::Region(dialled) if dialled != found => Err(Refusal::AnotherRegion {
                dialled: dialled.clone(),
                found: found.clone(),
            }),
            Expected::AnyPeer if *found == self.place.region => Err(Refusal::OwnRegion {
                region: found.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn check_revoked(&self, region: &RegionName, chain: &Chain<'_>) -> Result<(), Refusal> {
        match chain
            .certificates()
            .find_map(|certificate| self.revoked.find(certificate))
        {
            Some(fingerprint) => Err(Refusal::Revoked {
                region: region.clone(),
                fingerprint,
            }),
            None => Ok(()),
        }
    }

    fn explain(
        &self,
        region: &RegionName,
        chain: &Chain<'_>,
        cause: rustls::Error,
        now: UnixTime,
    ) -> Refusal {
        let region = region.clone();
        match cause {
            rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
                Refusal::Expired {
                    region,
                    not_after: not_after.as_secs(),
                }
            }
            rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before, ..
            }) => Refusal::NotYetValid {
                region,
                not_before: not_before.as_secs(),
            },
            rustls::Error::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            ) => Refusal::WrongPurpose { region },
            rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => {
                Refusal::UnreadableCertificate {
                    what: "its encoding is invalid",
                }
            }
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => match self.another_voucher(&region, chain, now) {
                Some(vouched_by) => Refusal::AnotherRegionsCa { region, vouched_by },
                None => Refusal::UnknownCa { region },
            },
            cause => Refusal::InvalidChain { region, cause },
        }
    }

    fn another_voucher(&self, region: &RegionName, chain: &Chain<'_>, now: UnixTime) -> Option<RegionName> {
        let mut others = self.bundles.iter().filter(|(other, _)| *other != region);
        others
            .find(|(_, bundle)| bundle.vouches_for(chain, now).is_ok())
            .map(|(other, _)| other.clone())
    }
}
