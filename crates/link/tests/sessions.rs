//! A link carries frames, sessions are not resumed, and credentials change under live links without
//! closing them.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Authority, EU, US, World, client, limits, loopback, region, soon, uri};
use isthmus_link::{Connection, Credentials, End, Listener, RefusalReason, Reload, dial};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::version::TLS13;
use rustls::{HandshakeKind, NamedGroup};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio_rustls::TlsConnector;

async fn link(eu: &Arc<Credentials>, us: &Arc<Credentials>) -> (Connection, Connection) {
    let mut listener = Listener::bind(loopback(), Arc::clone(eu), limits())
        .await
        .unwrap();
    let address = listener.address().unwrap();
    let (eu_west, limits) = (region(EU), limits());
    let both = async { tokio::join!(dial(address, &eu_west, us, &limits), listener.next()) };
    let (dialled, accepted) = soon("a link", both).await;
    (dialled.unwrap(), accepted.unwrap())
}

async fn echo(from: &mut Connection, to: &mut Connection, frame: &Bytes) {
    let (sent, received) = soon("a frame", async {
        tokio::join!(from.writer.send(frame.clone()), to.reader.next())
    })
    .await;
    sent.unwrap();
    assert_eq!(received.unwrap().unwrap(), frame);
}

#[tokio::test]
async fn both_ends_know_each_other_and_frames_flow_both_ways() {
    let world = World::new();
    let (mut dialled, mut accepted) = link(&world.credentials(EU), &world.credentials(US)).await;
    assert_eq!(
        (dialled.peer.region(), dialled.peer.end()),
        (&region(EU), End::Acceptor)
    );
    assert_eq!(
        (accepted.peer.region(), accepted.peer.end()),
        (&region(US), End::Dialer)
    );
    assert!(accepted.peer.not_after() > 0);

    for frame in [
        Bytes::new(),
        Bytes::from_static(b"hello"),
        Bytes::from(vec![7; 1024 * 1024]),
    ] {
        echo(&mut dialled, &mut accepted, &frame).await;
        echo(&mut accepted, &mut dialled, &frame).await;
    }
    dialled.writer.close().await.unwrap();
    assert!(soon("the end", accepted.reader.next()).await.is_none());
}

#[tokio::test]
async fn a_cut_a_truncated_frame_and_an_oversized_one_are_distinct() {
    let world = World::new();
    let mut listener = Listener::bind(loopback(), world.credentials(EU), limits())
        .await
        .unwrap();
    let address = listener.address().unwrap();
    let config = Arc::new(client(&[&TLS13], Some(world.us.issue(&[&uri(US)]).certified())));
    let cases = [
        (&b""[..], "cut"),
        (b"\0\0\0\x09some", "truncated_frame"),
        (b"\xff\xff\xff\xff", "oversized_frame"),
    ];
    for (bytes, label) in cases {
        let send = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("gateway.example.org").unwrap();
            let mut stream = TlsConnector::from(Arc::clone(&config))
                .connect(name, stream)
                .await
                .unwrap();
            stream.write_all(bytes).await.unwrap();
            stream.flush().await.unwrap();
        };
        let receive = async { listener.next().await.unwrap().reader.next().await };
        let ((), received) = soon("an end", async { tokio::join!(send, receive) }).await;
        assert_eq!(received.unwrap().unwrap_err().label(), label);
    }
}

#[tokio::test]
async fn an_identity_that_the_set_names_replaces_the_derived_one() {
    let world = World::new();
    let named = "spiffe://example.org/ns/edge/sa/us-gateway";
    world.install(US, &world.us.issue(&[named]));
    let load = |name: &str| {
        let mut files = world.files(name);
        files.trust.get_mut(&region(US)).unwrap().identity = Some(named.to_owned());
        Arc::new(Credentials::load(common::place(name), files).unwrap())
    };
    let (_, accepted) = link(&load(EU), &load(US)).await;
    assert_eq!(accepted.peer.region(), &region(US));
}

/// A client's session store that counts the tickets it receives.
#[derive(Debug)]
struct Tickets {
    store: ClientSessionMemoryCache,
    given: AtomicUsize,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.store.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.store.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.store.set_tls12_session(server, session);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.store.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.store.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.given.fetch_add(1, Ordering::Relaxed);
        self.store.insert_tls13_ticket(server, ticket);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.store.take_tls13_ticket(server)
    }
}

#[tokio::test]
async fn every_connection_is_a_full_handshake_without_tickets() {
    let world = World::new();
    let mut listener = Listener::bind(loopback(), world.credentials(EU), limits())
        .await
        .unwrap();
    let address = listener.address().unwrap();
    let tickets = Arc::new(Tickets {
        store: ClientSessionMemoryCache::new(8),
        given: AtomicUsize::new(0),
    });
    let mut config = client(&[&TLS13], Some(world.us.issue(&[&uri(US)]).certified()));
    config.resumption = Resumption::store(tickets.clone());
    let config = Arc::new(config);
    for _ in 0..2 {
        let serve = async {
            listener
                .next()
                .await
                .unwrap()
                .writer
                .send(Bytes::from_static(b"hi"))
                .await
        };
        let (kind, sent) = soon("a link", async {
            tokio::join!(handshake(address, &config), serve)
        })
        .await;
        sent.unwrap();
        assert_eq!(kind, Some(HandshakeKind::Full));
    }
    assert_eq!(tickets.given.load(Ordering::Relaxed), 0);
}

/// Connects and reads a frame, by when a ticket would have arrived.
async fn handshake(address: SocketAddr, config: &Arc<rustls::ClientConfig>) -> Option<HandshakeKind> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("gateway.example.org").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
        .unwrap();
    stream.read_exact(&mut [0; 6]).await.unwrap();
    stream.get_ref().1.handshake_kind()
}

#[tokio::test]
async fn a_ca_is_rotated_without_dropping_a_link() {
    let world = World::new();
    let (eu, us) = (world.credentials(EU), world.credentials(US));
    let (mut dialled, mut accepted) = link(&eu, &us).await;
    let next = Authority::new();

    world.write("us-east.pem", &format!("{}{}", world.us.pem, next.pem));
    assert_eq!(eu.reload().unwrap(), Reload::Published(2));
    assert_eq!(eu.reload().unwrap(), Reload::Unchanged);
    assert_eq!(us.reload().unwrap(), Reload::Published(2));
    world.install(US, &next.issue(&[&uri(US)]));
    assert_eq!(us.reload().unwrap(), Reload::Published(3));

    let (_, renewed) = link(&eu, &us).await;
    assert_ne!(renewed.peer.fingerprint(), accepted.peer.fingerprint());
    eu.still_holds(&accepted.peer).unwrap();
    echo(&mut dialled, &mut accepted, &Bytes::from_static(b"still here")).await;

    world.write("us-east.pem", &next.pem);
    eu.reload().unwrap();
    assert_eq!(
        eu.still_holds(&accepted.peer).unwrap_err().reason(),
        RefusalReason::UnknownCa
    );
    eu.still_holds(&renewed.peer).unwrap();
}

#[tokio::test]
async fn either_end_detects_a_revoked_certificate_in_a_live_session() {
    let world = World::new();
    let (eu, us) = (world.credentials(EU), world.credentials(US));
    let (dialled, accepted) = link(&eu, &us).await;
    let mut lost = std::pin::pin!(eu.until_refused(&accepted.peer));
    assert!(futures::poll!(&mut lost).is_pending());

    world.write("revoked", &accepted.peer.fingerprint().to_string());
    eu.reload().unwrap();
    assert_eq!(soon("the refusal", lost).await.reason(), RefusalReason::Revoked);

    world.write("revoked", &dialled.peer.fingerprint().to_string());
    us.reload().unwrap();
    assert_eq!(
        us.still_holds(&dialled.peer).unwrap_err().reason(),
        RefusalReason::Revoked
    );
}

#[tokio::test]
async fn a_broken_own_certificate_delays_no_revocation_of_another() {
    let spoilers: [fn(&World); 3] = [
        |world| world.write("eu-west.key", ""),
        |world| std::fs::remove_file(world.path("eu-west.crt")).unwrap(),
        |world| {
            let listed = std::fs::read_to_string(world.path("revoked")).unwrap();
            let own = world.credentials(EU).own().fingerprint();
            world.write("revoked", &format!("{listed}\n{own}\n"));
        },
    ];
    for spoil in spoilers {
        let world = World::new();
        let (eu, us) = (world.credentials(EU), world.credentials(US));
        let (_, accepted) = link(&eu, &us).await;
        world.write("revoked", &accepted.peer.fingerprint().to_string());
        spoil(&world);
        let error = eu.reload().unwrap_err();
        assert!(error.to_string().contains("eu-west."), "{error}");
        let again = eu.reload().unwrap_err();
        assert_eq!(again.to_string(), error.to_string(), "it lasts");
        assert_eq!(
            eu.still_holds(&accepted.peer).unwrap_err().reason(),
            RefusalReason::Revoked
        );
    }
}

/// The next published generation. A reload may fall between the writes of two files, but no failure
/// is reported twice.
async fn published(reports: &mut Receiver<Result<u64, String>>, known: &str) -> u64 {
    loop {
        match reports.recv().await.unwrap() {
            Ok(generation) => return generation,
            Err(failure) => assert_ne!(failure, known),
        }
    }
}

const PERIOD: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_valid_change_on_disk_is_published_a_broken_one_reported() {
    let world = World::new();
    let eu = world.credentials(EU);
    let (report, mut reports) = tokio::sync::mpsc::channel(8);
    let watch = Arc::clone(&eu).watch(PERIOD, move |outcome| {
        report
            .try_send(outcome.map_err(|error| error.to_string()))
            .unwrap();
    });
    let story = async {
        let own = eu.own().fingerprint();
        world.install(EU, &world.eu.issue(&[&uri(EU)]));
        assert_eq!(soon("a generation", published(&mut reports, "")).await, 2);
        assert_ne!(eu.own().fingerprint(), own);

        let own = eu.own().fingerprint();
        world.write("us-east.pem", "nonsense");
        let failure = soon("a failure", reports.recv()).await.unwrap().unwrap_err();
        assert!(failure.contains("us-east.pem"), "{failure}");
        let again = tokio::time::timeout(PERIOD * 8, reports.recv()).await;
        assert!(again.is_err(), "a failure that lasts is reported once: {again:?}");
        world.write("us-east.pem", &world.us.pem);
        world.install(EU, &world.eu.issue(&[&uri(EU)]));
        assert_eq!(soon("a generation", published(&mut reports, &failure)).await, 3);
        assert_ne!(eu.own().fingerprint(), own);
    };
    tokio::select! {
        () = watch => panic!("watching does not end"),
        () = story => {}
    }
}
