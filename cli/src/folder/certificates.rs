//! Development certificates: one CA per region and, issued by it, one certificate for the region's
//! gateways.
//!
//! The identity follows design.md section 8: exactly one URI SAN,
//! `spiffe://<trust_domain>/isthmus/<set>/region/<region>/gateway`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isthmus_replication::names::{RegionName, SetName};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
const GATEWAY_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The certificates and keys of one region's gateways, all PEM.
#[derive(Debug)]
pub struct RegionCertificates {
    /// The region's CA certificate, which the set trusts for this region.
    pub authority: String,
    /// The CA's private key.
    pub authority_key: String,
    /// The gateways' certificate.
    pub gateway: String,
    /// The gateways' private key.
    pub gateway_key: String,
}

/// The URI that names a region's gateways in certificates.
pub fn gateway_identity(trust_domain: &str, set: &SetName, region: &RegionName) -> String {
    format!("spiffe://{trust_domain}/isthmus/{set}/region/{region}/gateway")
}

/// Creates a CA and a gateway certificate. The gateway's is valid for a year from now, the CA's for
/// ten.
pub fn issue(
    trust_domain: &str,
    set: &SetName,
    region: &RegionName,
) -> Result<RegionCertificates, rcgen::Error> {
    let authority_key = KeyPair::generate()?;
    let authority = authority_parameters(&format!("{set} {region} development CA"));
    let authority_certificate = authority.self_signed(&authority_key)?;
    let gateway_key = KeyPair::generate()?;
    let mut gateway = parameters(&format!("{set} {region} gateway"), GATEWAY_LIFE);
    let identity = Ia5String::try_from(gateway_identity(trust_domain, set, region))?;
    gateway.subject_alt_names = vec![SanType::URI(identity)];
    gateway.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    gateway.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    gateway.use_authority_key_identifier_extension = true;
    let issuer = Issuer::from_params(&authority, &authority_key);
    let gateway_certificate = gateway.signed_by(&gateway_key, &issuer)?;
    Ok(RegionCertificates {
        authority: authority_certificate.pem(),
        authority_key: authority_key.serialize_pem(),
        gateway: gateway_certificate.pem(),
        gateway_key: gateway_key.serialize_pem(),
    })
}

fn authority_parameters(name: &str) -> CertificateParams {
    let mut authority = parameters(name, AUTHORITY_LIFE);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
}

fn parameters(name: &str, life: Duration) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    parameters.distinguished_name = subject;
    let now = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    parameters.not_before = now - DAY;
    parameters.not_after = now + life;
    parameters
}
