//! TLS settings of a link: 1.3 only, certificates at both ends, one application protocol, no
//! resumption.

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig, PeerIncompatible, ServerConfig};

use crate::limits::ALPN;
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::verifier::PeerVerifier;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The cryptography of every link.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// The configuration of one accepted handshake.
pub(crate) fn acceptor(
    own: Arc<CertifiedKey>,
    verifier: Arc<PeerVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The configuration of one dialled handshake.
pub(crate) fn dialer(
    own: Arc<CertifiedKey>,
    verifier: Arc<PeerVerifier>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// The authenticated peer of a finished handshake.
pub(crate) fn proven(alpn: Option<&[u8]>, verifier: &PeerVerifier) -> Result<Peer, Refusal> {
    if alpn != Some(ALPN) {
        return Err(Refusal::WrongProtocol);
    }
    verifier.verdict().unwrap_or(Err(Refusal::NoCertificate))
}

/// Why a handshake failed.
pub(crate) fn refusal(error: &io::Error, verifier: &PeerVerifier) -> Refusal {
    if let Some(Err(refusal)) = verifier.verdict() {
        return refusal;
    }
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    cause.map_or_else(
        || Refusal::HungUp { cause: error.kind() },
        |cause| from_tls(cause.clone()),
    )
}

fn from_tls(cause: rustls::Error) -> Refusal {
    match cause {
        rustls::Error::NoCertificatesPresented => Refusal::NoCertificate,
        rustls::Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::ServerDoesNotSupportTls12Or13,
        )
        | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => Refusal::OldTls,
        rustls::Error::NoApplicationProtocol
        | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Refusal::WrongProtocol,
        rustls::Error::AlertReceived(alert) => Refusal::RefusedByPeer { alert },
        rustls::Error::InvalidMessage(_) => Refusal::NotTls,
        cause => Refusal::Tls { cause },
    }
}
