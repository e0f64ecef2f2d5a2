//! Reads credentials from disk and checks them as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isthmus_replication::names::RegionName;
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::{CredentialFiles, CredentialsError, Own};
use crate::fingerprint::{self, Fingerprint, Revoked};
use crate::identity::Place;
use crate::limits::CREDENTIAL_FILE_BYTES;
use crate::peer::End;
use crate::tls;
use crate::trust::{Bundle, Chain, Expected, Trust};

/// The files with the trust of all regions and the revocation list.
pub(super) fn of_trust(files: &CredentialFiles) -> impl Iterator<Item = &PathBuf> {
    files
        .trust
        .values()
        .map(|source| &source.file)
        .chain(&files.revoked)
}

/// The files with this gateway's own certificate and key.
pub(super) fn of_own(files: &CredentialFiles) -> impl Iterator<Item = &PathBuf> {
    [&files.certificate, &files.key].into_iter()
}

/// The contents of files, not parsed.
pub(super) struct Contents(BTreeMap<PathBuf, Vec<u8>>);

impl Contents {
    pub(super) fn read<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Result<Self, CredentialsError> {
        let read_one = |path: &PathBuf| Ok((path.clone(), read(path)?));
        paths.map(read_one).collect::<Result<_, _>>().map(Self)
    }

    /// A fingerprint of these paths and their contents.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut every = Vec::new();
        for (path, bytes) in &self.0 {
            every.extend_from_slice(Fingerprint::of_bytes(path.as_os_str().as_encoded_bytes()).as_bytes());
            every.extend_from_slice(Fingerprint::of_bytes(bytes).as_bytes());
        }
        Fingerprint::of_bytes(&every)
    }

    /// Parses the files of [`of_trust`].
    pub(super) fn trust(&self, place: &Place, files: &CredentialFiles) -> Result<Trust, CredentialsError> {
        Ok(Trust::new(
            place.clone(),
            self.bundles(place, files)?,
            self.revoked(files.revoked.as_deref())?,
        ))
    }

    /// Parses the files of [`of_own`], and checks that this gateway is valid with them under
    /// `trust`.
    pub(super) fn own(
        &self,
        place: &Place,
        files: &CredentialFiles,
        trust: &Trust,
    ) -> Result<Own, CredentialsError> {
        let key = self.certified_key(&files.certificate, &files.key)?;
        let (own, intermediates) = key
            .cert
            .split_first()
            .ok_or_else(|| no_certificate(&files.certificate))?;
        let judge = |end| {
            let this_region = Expected::Region(place.region.clone());
            trust
                .judge(
                    &Chain {
                        end,
                        own,
                        intermediates,
                    },
                    &this_region,
                    UnixTime::now(),
                )
                .map_err(|refusal| {
                    let (path, region) = (files.certificate.clone(), place.region.clone());
                    CredentialsError::Unfit {
                        path,
                        region,
                        end,
                        refusal: Box::new(refusal),
                    }
                })
        };
        judge(End::Dialer)?;
        let peer = judge(End::Acceptor)?;
        Ok(Own {
            key: Arc::new(key),
            peer,
            contents: self.fingerprint(),
        })
    }

    fn bundles(
        &self,
        place: &Place,
        files: &CredentialFiles,
    ) -> Result<BTreeMap<RegionName, Bundle>, CredentialsError> {
        let mut bundles = BTreeMap::new();
        let mut owners: BTreeMap<String, RegionName> = BTreeMap::new();
        for (region, source) in &files.trust {
            let identity = source
                .identity
                .clone()
                .unwrap_or_else(|| place.gateway_uri(region));
            if let Some(first) = owners.insert(identity.clone(), region.clone()) {
                return Err(CredentialsError::SharedIdentity {
                    identity,
                    first,
                    second: region.clone(),
                });
            }
            let roots = self.roots(&source.file)?;
            let unusable = |error| CredentialsError::Bundle {
                path: source.file.clone(),
                source: error,
            };
            bundles.insert(region.clone(), Bundle::new(identity, roots).map_err(unusable)?);
        }
        if bundles.contains_key(&place.region) {
            Ok(bundles)
        } else {
            Err(CredentialsError::NoOwnTrust {
                region: place.region.clone(),
            })
        }
    }

    /// The CAs at `path`.
    pub(super) fn roots(&self, path: &Path) -> Result<RootCertStore, CredentialsError> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.certificates(path)?.into_iter().enumerate() {
            let anchor = |source| CredentialsError::Anchor {
                path: path.to_owned(),
                number: index + 1,
                source,
            };
            roots.add(certificate).map_err(anchor)?;
        }
        Ok(roots)
    }

    /// The key in the file `key` with the certificate chain in the file `certificate`.
    pub(super) fn certified_key(
        &self,
        certificate: &Path,
        key: &Path,
    ) -> Result<CertifiedKey, CredentialsError> {
        let chain = self.certificates(certificate)?;
        let der = PrivateKeyDer::from_pem_slice(self.bytes(key)).map_err(|error| match error {
            pem::Error::NoItemsFound => CredentialsError::NoKey { path: key.to_owned() },
            source => CredentialsError::Pem {
                path: key.to_owned(),
                source,
            },
        })?;
        CertifiedKey::from_der(chain, der, &tls::provider()).map_err(|source| CredentialsError::Key {
            key: key.to_owned(),
            certificate: certificate.to_owned(),
            source,
        })
    }

    fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(self.bytes(path))
            .collect::<Result<_, _>>()
            .map_err(|source| CredentialsError::Pem {
                path: path.to_owned(),
                source,
            })?;
        if certificates.is_empty() {
            Err(no_certificate(path))
        } else {
            Ok(certificates)
        }
    }

    /// The fingerprints in the list at `path`; none without a list.
    pub(super) fn revoked(&self, path: Option<&Path>) -> Result<Revoked, CredentialsError> {
        let Some(path) = path else {
            return Ok(Revoked::default());
        };
        Revoked::parse(&String::from_utf8_lossy(self.bytes(path))).map_err(|line| CredentialsError::Revoked {
            path: path.to_owned(),
            line,
            source: fingerprint::InvalidFingerprint,
        })
    }

    fn bytes(&self, path: &Path) -> &[u8] {
        self.0.get(path).map_or(&[], Vec::as_slice)
    }
}

fn no_certificate(path: &Path) -> CredentialsError {
    CredentialsError::NoCertificate {
        path: path.to_owned(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let unreadable = |source| CredentialsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(CREDENTIAL_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > CREDENTIAL_FILE_BYTES {
        return Err(CredentialsError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}
