//! A region's CA and the certificates that it issues.

use std::path::Path;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// A region's CA.
pub(crate) struct Authority {
    key: KeyPair,
    parameters: CertificateParams,
    pem: String,
}

/// A gateway's certificate with its key, as PEM.
pub(crate) struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, format!("{name} CA"));
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { key, parameters, pem }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate of a gateway of `region`.
    pub(crate) fn issue(&self, region: &str) -> Issued {
        self.issue_with(region, |_| {})
    }

    /// A certificate of a gateway of `region` that `change` has modified.
    pub(crate) fn issue_with(&self, region: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let uri = format!("spiffe://example.org/isthmus/shop/region/{region}/gateway");
        let key = KeyPair::generate().unwrap();
        let mut gateway = CertificateParams::default();
        gateway.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri).unwrap())];
        gateway.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut gateway);
        let issuer = Issuer::from_params(&self.parameters, &self.key);
        Issued {
            certificate: gateway.signed_by(&key, &issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    pub(crate) fn write(&self, folder: &Path) {
        std::fs::write(folder.join("gateway.crt"), &self.certificate).unwrap();
        std::fs::write(folder.join("gateway.key"), &self.key).unwrap();
    }
}
