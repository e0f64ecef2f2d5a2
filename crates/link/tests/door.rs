//! The TLS of doors: which callers it accepts, and how it reloads files.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use common::{Authority, Leaf, World, provider, soon};
use isthmus_link::{ClientCertificate, DoorFiles, DoorTls, Fingerprint, Reload};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::parse_der;
use x509_parser::prelude::FromDer;

const REPORTS: &str = "spiffe://example.org/reports";

struct Door {
    world: World,
    tls: Arc<DoorTls>,
}

impl Door {
    /// A door with a certificate of eu's CA that accepts callers with certificates of us's CA.
    fn new(clients: bool) -> Self {
        let world = World::new();
        let tls = Arc::new(DoorTls::load(files(&world, clients)).unwrap());
        Self { world, tls }
    }

    /// A caller's handshake. The caller's end sends one byte and must receive it back.
    async fn call(
        &self,
        presents: Option<&Leaf>,
        version: &'static SupportedProtocolVersion,
    ) -> Result<Option<ClientCertificate>, String> {
        let (here, there) = duplex(64 * 1024);
        let config = caller(&self.world.eu, presents, version);
        let name = ServerName::try_from("gateway.example.org").unwrap();
        let calling = async {
            let mut stream = TlsConnector::from(config)
                .connect(name, there)
                .await
                .map_err(|error| error.to_string())?;
            stream.write_all(b"x").await.map_err(|error| error.to_string())?;
            let mut back = [0];
            stream
                .read_exact(&mut back)
                .await
                .map_err(|error| error.to_string())?;
            Ok::<_, String>(())
        };
        let answering = async {
            let (mut stream, certificate) = self.tls.accept(here).await.map_err(|error| error.to_string())?;
            let mut byte = [0];
            stream
                .read_exact(&mut byte)
                .await
                .map_err(|error| error.to_string())?;
            stream.write_all(&byte).await.map_err(|error| error.to_string())?;
            Ok::<_, String>(certificate)
        };
        let (called, answered) = soon("the handshake ends", async { tokio::join!(calling, answering) }).await;
        let certificate = answered?;
        called.map(|()| certificate)
    }
}

fn files(world: &World, clients: bool) -> DoorFiles {
    let path = |name: &str| -> PathBuf { world.path(name) };
    DoorFiles {
        certificate: path("eu-west.crt"),
        key: path("eu-west.key"),
        clients: clients.then(|| path("us-east.pem")),
        revoked: clients.then(|| path("revoked")),
    }
}

fn caller(
    trusts: &Authority,
    presents: Option<&Leaf>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(trusts.pem.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match presents {
        None => builder.with_no_client_auth(),
        Some(leaf) => {
            let key = rustls::pki_types::PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
            builder
                .with_client_auth_cert(vec![leaf.der.clone()], key)
                .unwrap()
        }
    };
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

#[tokio::test]
async fn a_caller_needs_no_certificate_or_one_from_a_trusted_ca() {
    let door = Door::new(true);
    assert!(door.call(None, &TLS13).await.unwrap().is_none());
    let leaf = door.world.us.issue(&[REPORTS]);
    let certificate = door.call(Some(&leaf), &TLS13).await.unwrap().unwrap();
    assert!(certificate.names().contains(REPORTS));
    assert!(door.tls.still_holds(&certificate));
    let stranger = Authority::new().issue(&[REPORTS]);
    assert!(door.call(Some(&stranger), &TLS13).await.is_err());
    assert!(door.call(None, &TLS12).await.is_err());
}

#[tokio::test]
async fn a_door_without_cas_asks_for_no_certificate() {
    let door = Door::new(false);
    let leaf = door.world.us.issue(&[REPORTS]);
    assert!(door.call(Some(&leaf), &TLS13).await.unwrap().is_none());
}

#[tokio::test]
async fn removing_a_ca_invalidates_its_callers_on_open_connections() {
    let door = Door::new(true);
    let (leaf, next) = (door.world.us.issue(&[REPORTS]), Authority::new());
    let certificate = door.call(Some(&leaf), &TLS13).await.unwrap().unwrap();
    door.world
        .write("us-east.pem", &format!("{}{}", door.world.us.pem, next.pem));
    assert_eq!(door.tls.reload().unwrap(), Reload::Published(2));
    assert!(door.tls.still_holds(&certificate), "both CAs are trusted");
    door.world.write("us-east.pem", &next.pem);
    assert_eq!(door.tls.reload().unwrap(), Reload::Published(3));
    assert!(!door.tls.still_holds(&certificate));
    assert!(door.call(Some(&leaf), &TLS13).await.is_err());
    assert!(door.call(Some(&next.issue(&[REPORTS])), &TLS13).await.is_ok());
}

#[tokio::test]
async fn a_revoked_certificate_fails_on_open_and_new_connections() {
    let door = Door::new(true);
    let (stolen, next) = (door.world.us.issue(&[REPORTS]), door.world.us.issue(&[REPORTS]));
    let certificate = door.call(Some(&stolen), &TLS13).await.unwrap().unwrap();
    assert!(door.tls.still_holds(&certificate));
    let fingerprint = Fingerprint::of(&stolen.der);
    door.world
        .write("revoked", &format!("{fingerprint} # a laptop\n"));
    assert_eq!(door.tls.reload().unwrap(), Reload::Published(2));
    assert!(!door.tls.still_holds(&certificate));
    let again = door.call(Some(&stolen), &TLS13).await.unwrap().unwrap();
    assert!(!door.tls.still_holds(&again));
    let another = door.call(Some(&next), &TLS13).await.unwrap().unwrap();
    assert!(door.tls.still_holds(&another));
    door.world.write("revoked", "nonsense");
    let refused = door.tls.reload().unwrap_err().to_string();
    assert!(refused.contains("line 1"), "{refused}");
}

/// DER: a tag, a length and the content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ 0..128 => vec![u8::try_from(short).unwrap()],
        long @ 128..256 => vec![0x81, u8::try_from(long).unwrap()],
        long => [&[0x82], &u16::try_from(long).unwrap().to_be_bytes()[..]].concat(),
    };
    [&[tag], &length[..], content].concat()
}

/// An unsigned INTEGER.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    let sign = digits.first().is_some_and(|first| first & 0x80 != 0);
    der(2, &[&vec![0; usize::from(sign)][..], &digits].concat())
}

/// The order of P-256.
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

/// The same certificate with its ECDSA signature (r, s) replaced by (r, n - s), which is valid too;
/// anybody can do this.
fn written_in_another_way(certificate: &CertificateDer<'_>) -> CertificateDer<'static> {
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let (_, signature) = parse_der(&parsed.signature_value.data).unwrap();
    let [r, s] = [0, 1].map(|place| signature.as_sequence().unwrap()[place].as_slice().unwrap());
    let order: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&ORDER[at..at + 2], 16).unwrap())
        .collect();
    let mut borrow = 0;
    let mut other = [0; 32];
    for place in 0..32 {
        let taken = s.len().checked_sub(place + 1).map_or(0, |at| i16::from(s[at])) + borrow;
        let digit = i16::from(order[31 - place]) - taken;
        borrow = i16::from(digit < 0);
        other[31 - place] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    let signature = der(0x30, &[integer(r), integer(&other)].concat());
    let algorithm = der(0x30, &der(6, parsed.signature_algorithm.algorithm.as_bytes()));
    let parts = [
        parsed.tbs_certificate.as_ref(),
        &algorithm,
        &der(3, &[&[0], &signature[..]].concat()),
    ];
    der(0x30, &parts.concat()).into()
}

#[tokio::test]
async fn a_revoked_key_is_refused_however_its_certificate_is_written() {
    let door = Door::new(true);
    let mut stolen = door.world.us.issue(&[REPORTS]);
    let (before, key) = (
        Fingerprint::of(&stolen.der),
        Fingerprint::of_key(&stolen.der).unwrap(),
    );
    stolen.der = written_in_another_way(&stolen.der);
    assert_ne!(Fingerprint::of(&stolen.der), before);
    let certificate = door.call(Some(&stolen), &TLS13).await.unwrap().unwrap();
    door.world.write("revoked", &before.to_string());
    assert_eq!(door.tls.reload().unwrap(), Reload::Published(2));
    assert!(
        door.tls.still_holds(&certificate),
        "the CA's signature holds, and the certificate is another"
    );
    door.world.write("revoked", &key.to_string());
    assert_eq!(door.tls.reload().unwrap(), Reload::Published(3));
    assert!(!door.tls.still_holds(&certificate));
}

#[tokio::test]
async fn files_that_do_not_go_together_leave_the_door_as_it_was() {
    let door = Door::new(true);
    let before = door.tls.own().0;
    assert_eq!(door.tls.reload().unwrap(), Reload::Unchanged);
    door.world
        .write("eu-west.key", &door.world.us.issue(&[]).key.serialize_pem());
    let refused = door.tls.reload().unwrap_err().to_string();
    assert!(refused.contains("does not match the certificate"), "{refused}");
    assert!(door.call(None, &TLS13).await.is_ok());
    let ended = door.world.eu.issue_with(&[], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    door.world.install("eu-west", &ended);
    let refused = door.tls.reload().unwrap_err().to_string();
    assert!(refused.contains("has expired"), "{refused}");
    door.world.install("eu-west", &door.world.eu.issue(&[]));
    assert_eq!(door.tls.reload().unwrap(), Reload::Published(2));
    assert_ne!(door.tls.own().0, before);
    assert!(door.call(None, &TLS13).await.is_ok());
}
