//! TLS with NATS: whom a process speaks to.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::*;
use isthmus_log::ConnectError;
use isthmus_log::nats::{Connection, ConnectionSettings, Readers};
use isthmus_log::testing::{NatsServer, until};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::time::timeout;

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(30);

/// Files of a NATS server that an authority of its own vouches for.
struct Certified {
    folder: TempDir,
}

impl Certified {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let authority = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let server = params.signed_by(&key, &authority).unwrap();
        for (name, text) in [
            ("ca.pem", own.pem()),
            ("nats.crt", server.pem()),
            ("nats.key", key.serialize_pem()),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self) -> NatsServer {
        let file = |name: &str| self.path(name).display().to_string();
        let tls = format!(
            "tls {{ cert_file: '{}', key_file: '{}' }}",
            file("nats.crt"),
            file("nats.key")
        );
        NatsServer::start_as(|port, store| {
            let store = store.display();
            format!(
                "listen: 127.0.0.1:{port}\nserver_name: n1\n{tls}\njetstream {{ store_dir: '{store}' }}\n"
            )
        })
    }

    async fn open(&self, url: String) -> Result<Connection, ConnectError> {
        Connection::open(ConnectionSettings {
            servers: vec![url],
            credentials: None,
            ca: Some(self.path("ca.pem")),
            domain: None,
            role: None,
            process: "test".to_owned(),
            readers: Readers::Own,
            names: names(),
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_ca_only_servers_that_it_vouches_for_are_spoken_to_and_none_in_the_clear() {
    let (certified, stranger) = (Certified::new(), Certified::new());
    let server = certified.server();
    let connection = certified.open(server.url()).await.unwrap();
    within("connected", connection.connected()).await;
    let ports = connection.ports();
    ports.log.ensure(&shard(), &settings()).await.unwrap();
    append(&ports, 1).await;

    let refused = stranger.open(server.url()).await.unwrap();
    until(
        "the server is told that its certificate is no good",
        SOON,
        || async { server.log().contains("TLS handshake error").then_some(()) },
    )
    .await;
    assert!(!refused.state().borrow().connected);

    let plain = NatsServer::start();
    let refused = certified.open(plain.url()).await.unwrap();
    let connected = timeout(Duration::from_secs(1), refused.connected()).await;
    assert!(connected.is_err(), "a server without TLS is spoken to");

    std::fs::write(stranger.path("ca.pem"), "nothing").unwrap();
    let refused = stranger.open(server.url()).await.unwrap_err().to_string();
    assert!(refused.contains("holds no certificate: nats.ca"), "{refused}");
}
