//! TLS with NATS: which servers a process connects to.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::*;
use isthmus_log::nats::{Connection, ConnectionSettings, Readers};
use isthmus_log::testing::{NatsServer, free_port, until};
use isthmus_log::{ConnectError, LogSettings};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::time::timeout;

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(30);

/// Files of a NATS server with a certificate from its own CA.
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
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
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

    fn tls(&self, more: &str) -> String {
        let file = |name: &str| self.path(name).display().to_string();
        format!(
            "tls {{ cert_file: '{}', key_file: '{}', {more} }}",
            file("nats.crt"),
            file("nats.key")
        )
    }

    /// A server with TLS for clients and these additional lines.
    fn server(&self, name: &str, lines: &str) -> NatsServer {
        let tls = self.tls("");
        NatsServer::start_as(|port, store| {
            let store = store.display();
            format!(
                "listen: 127.0.0.1:{port}\nserver_name: {name}\n{tls}\njetstream {{ store_dir: '{store}' }}\n{lines}\n"
            )
        })
    }

    /// One server of a cluster whose servers listen for each other at `ports`.
    fn one_of(&self, ports: &[u16], own: usize) -> NatsServer {
        let ca = self.path("ca.pem").display().to_string();
        let tls = self.tls(&format!("ca_file: '{ca}', verify: true"));
        let routes: Vec<String> = ports
            .iter()
            .map(|port| format!("'nats://127.0.0.1:{port}'"))
            .collect();
        let (listen, routes) = (ports[own], routes.join(", "));
        let cluster = format!(
            "cluster {{ name: region, listen: 127.0.0.1:{listen}, no_advertise: true, routes: [{routes}], {tls} }}"
        );
        self.server(&format!("n{own}"), &cluster)
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
async fn with_a_ca_only_tls_servers_that_it_signed_are_used() {
    let (certified, stranger) = (Certified::new(), Certified::new());
    let server = certified.server("n1", "");
    let connection = certified.open(server.url()).await.unwrap();
    within("connected", connection.connected()).await;
    let ports = connection.ports();
    ports.log.ensure(&shard(), &settings()).await.unwrap();
    append(&ports, 1).await;

    let refused = stranger.open(server.url()).await.unwrap();
    until(
        "the server learns that its certificate was refused",
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

#[tokio::test(flavor = "multi_thread")]
async fn only_servers_with_certificates_of_the_ca_join_the_cluster() {
    let (certified, stranger) = (Certified::new(), Certified::new());
    let ports = [free_port(), free_port(), free_port()];
    let servers: Vec<NatsServer> = (0..3).map(|own| certified.one_of(&ports, own)).collect();
    let connection = certified.open(servers[0].url()).await.unwrap();
    within("connected", connection.connected()).await;
    let ports_of_log = connection.ports();
    let replicated = LogSettings {
        replicas: 3,
        ..settings()
    };
    until(
        "a log of three copies is made",
        Duration::from_secs(90),
        || async { ports_of_log.log.ensure(&shard(), &replicated).await.ok() },
    )
    .await;
    append_at_last(&ports_of_log, 1).await;

    let with_another = [ports[0], free_port()];
    let _another = stranger.one_of(&with_another, 1);
    until("a server of another CA is refused", SOON, || async {
        servers[0]
            .log()
            .contains("TLS route handshake error")
            .then_some(())
    })
    .await;
}
