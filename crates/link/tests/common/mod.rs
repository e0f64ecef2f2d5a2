//! A set of two regions with their own CAs on disk, and raw TLS ends that misbehave in the ways
//! that tests need.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use isthmus_link::{CredentialFiles, Credentials, LinkLimits, Place, TrustSource};
use isthmus_replication::names::{RegionName, SetName};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tempfile::TempDir;

pub(crate) const EU: &str = "eu-west";
pub(crate) const US: &str = "us-east";

pub(crate) fn region(name: &str) -> RegionName {
    RegionName::parse(name).unwrap()
}

pub(crate) fn place(name: &str) -> Place {
    Place {
        trust_domain: "example.org".parse().unwrap(),
        set: SetName::parse("shop").unwrap(),
        region: region(name),
    }
}

pub(crate) fn uri(name: &str) -> String {
    place(name).gateway_uri(&region(name))
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn limits() -> LinkLimits {
    LinkLimits {
        frame_bytes: 1024 * 1024,
        ..LinkLimits::default()
    }
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .unwrap_or_else(|_| panic!("{what} within 10 s"))
}

/// A certificate with its key.
pub(crate) struct Leaf {
    pub der: CertificateDer<'static>,
    pub pem: String,
    pub key: KeyPair,
}

impl Leaf {
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        certified(self.der.clone(), &self.key)
    }
}

/// `der` presented with `key`, whether or not they fit together.
pub(crate) fn certified(der: CertificateDer<'static>, key: &KeyPair) -> Arc<CertifiedKey> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(CertifiedKey::new(
        vec![der],
        provider().key_provider.load_private_key(key).unwrap(),
    ))
}

pub(crate) struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// All authorities have the same subject, so only signatures distinguish them.
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn issue(&self, uris: &[&str]) -> Leaf {
        self.issue_with(uris, |_| {})
    }

    pub(crate) fn issue_with(&self, uris: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["gateway.example.org".to_owned()]).unwrap();
        params
            .subject_alt_names
            .extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        }
    }
}

/// Two regions, their authorities, and a folder with their files.
pub(crate) struct World {
    pub folder: TempDir,
    pub eu: Authority,
    pub us: Authority,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            eu: Authority::new(),
            us: Authority::new(),
        };
        world.write("eu-west.pem", &world.eu.pem);
        world.write("us-east.pem", &world.us.pem);
        world.write("revoked", "");
        world.install(EU, &world.eu.issue(&[&uri(EU)]));
        world.install(US, &world.us.issue(&[&uri(US)]));
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn install(&self, region: &str, leaf: &Leaf) {
        self.write(&format!("{region}.crt"), &leaf.pem);
        self.write(&format!("{region}.key"), &leaf.key.serialize_pem());
    }

    pub(crate) fn files(&self, name: &str) -> CredentialFiles {
        let source = |region: &str| TrustSource {
            file: self.path(&format!("{region}.pem")),
            identity: None,
        };
        CredentialFiles {
            certificate: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
            revoked: Some(self.path("revoked")),
            trust: BTreeMap::from([(region(EU), source(EU)), (region(US), source(US))]),
        }
    }

    pub(crate) fn credentials(&self, region: &str) -> Arc<Credentials> {
        Arc::new(Credentials::load(place(region), self.files(region)).unwrap())
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A raw client that accepts any server.
pub(crate) fn client(
    versions: &[&'static rustls::SupportedProtocolVersion],
    own: Option<Arc<CertifiedKey>>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"isthmus/1".to_vec()];
    config
}

/// A raw server that asks for no certificate.
pub(crate) fn server(
    versions: &[&'static rustls::SupportedProtocolVersion],
    own: Arc<CertifiedKey>,
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![b"isthmus/1".to_vec()];
    config
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
