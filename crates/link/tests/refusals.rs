//! Every refusal has its own reason, in both directions, and none affects the listener.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{
    Authority, EU, US, World, certified, client, limits, loopback, place, region, server, soon, uri,
};
use isthmus_link::{
    AcceptError, DialError, Fingerprint, FrameError, LinkLimits, Listener, Refusal, RefusalReason, dial,
};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const BOTH_WAYS: &[RefusalReason] = &[
    RefusalReason::UnreadableCertificate,
    RefusalReason::NoUriName,
    RefusalReason::SeveralUriNames,
    RefusalReason::ForeignName,
    RefusalReason::AnotherTrustDomain,
    RefusalReason::AnotherSet,
    RefusalReason::UnknownRegion,
    RefusalReason::NotAGateway,
    RefusalReason::UnknownCa,
    RefusalReason::AnotherRegionsCa,
    RefusalReason::Expired,
    RefusalReason::NotYetValid,
    RefusalReason::Revoked,
    RefusalReason::WrongPurpose,
    RefusalReason::InvalidChain,
    RefusalReason::Tls,
];

/// The certificate that a process claiming to be a gateway of us-east presents to be refused for
/// `reason`.
fn misfit(world: &World, reason: RefusalReason) -> Arc<CertifiedKey> {
    let named = |uri: &str| world.us.issue(&[uri]).certified();
    let own = uri(US);
    match reason {
        RefusalReason::UnreadableCertificate => {
            certified(CertificateDer::from(vec![0x30; 40]), &world.us.issue(&[&own]).key)
        }
        RefusalReason::NoUriName => world.us.issue(&[]).certified(),
        RefusalReason::SeveralUriNames => world.us.issue(&[&own, &uri(EU)]).certified(),
        RefusalReason::ForeignName => named("spiffe://example.org/ns/default/sa/gateway"),
        RefusalReason::AnotherTrustDomain => named(&own.replace("example.org", "example.net")),
        RefusalReason::AnotherSet => named(&own.replace("shop", "bank")),
        RefusalReason::UnknownRegion => named(&own.replace(US, "mars")),
        RefusalReason::NotAGateway => named(&own.replace("gateway", "agent")),
        RefusalReason::OwnRegion => world.eu.issue(&[&uri(EU)]).certified(),
        RefusalReason::UnknownCa => Authority::new().issue(&[&own]).certified(),
        RefusalReason::AnotherRegionsCa => world.eu.issue(&[&own]).certified(),
        RefusalReason::Expired => world
            .us
            .issue_with(&[&own], |params| params.not_after = date_time_ymd(2020, 1, 1))
            .certified(),
        RefusalReason::NotYetValid => world
            .us
            .issue_with(&[&own], |params| params.not_before = date_time_ymd(4000, 1, 1))
            .certified(),
        RefusalReason::Revoked => {
            let leaf = world.us.issue(&[&own]);
            world.write("revoked", &Fingerprint::of_key(&leaf.der).unwrap().to_string());
            leaf.certified()
        }
        RefusalReason::WrongPurpose => {
            let email = vec![ExtendedKeyUsagePurpose::EmailProtection];
            world
                .us
                .issue_with(&[&own], |params| params.extended_key_usages = email)
                .certified()
        }
        RefusalReason::InvalidChain => {
            let ca = IsCa::Ca(BasicConstraints::Unconstrained);
            world
                .us
                .issue_with(&[&own], |params| params.is_ca = ca)
                .certified()
        }
        RefusalReason::Tls => certified(world.us.issue(&[&own]).der, &world.us.issue(&[&own]).key),
        other => panic!("no certificate is refused as {other:?}"),
    }
}

async fn listener(world: &World, limits: LinkLimits) -> Listener {
    Listener::bind(loopback(), world.credentials(EU), limits)
        .await
        .unwrap()
}

async fn refused(listener: &mut Listener) -> Refusal {
    match soon("a verdict", listener.next()).await {
        Err(AcceptError::Refused { refusal, .. }) => *refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// Connects with `config`; the error of the first read shows the listener's answer.
async fn knock(address: SocketAddr, config: ClientConfig) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("gateway.example.org").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.read_u8().await.map(|_| ())
}

/// The result of the listener of eu-west for a client with `config`.
async fn accepting(world: &World, config: ClientConfig) -> (Refusal, io::Error) {
    let mut listener = listener(world, limits()).await;
    let address = listener.address().unwrap();
    let (answer, refusal) = tokio::join!(knock(address, config), refused(&mut listener));
    (refusal, answer.unwrap_err())
}

/// The result of a dialer of eu-west for a server that claims to be us-east.
async fn dialling(world: &World, config: ServerConfig) -> Refusal {
    let socket = TcpListener::bind(loopback()).await.unwrap();
    let address = socket.local_addr().unwrap();
    let credentials = world.credentials(EU);
    let serve = async {
        let (stream, _) = socket.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(stream).await
    };
    let (us_east, limits) = (region(US), limits());
    let (_, outcome) = tokio::join!(
        serve,
        soon("a verdict", dial(address, &us_east, &credentials, &limits))
    );
    match outcome {
        Err(DialError::Refused { refusal, .. }) => *refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[tokio::test]
async fn each_invalid_dialer_is_refused_and_learns_its_own_reason() {
    for reason in BOTH_WAYS.iter().chain(&[RefusalReason::OwnRegion]) {
        let world = World::new();
        let own = misfit(&world, *reason);
        let (refusal, answer) = accepting(&world, client(&[&TLS13], Some(own))).await;
        assert_eq!(refusal.reason(), *reason, "{refusal}");
        let expected = match reason {
            RefusalReason::UnreadableCertificate => AlertDescription::BadCertificate,
            RefusalReason::UnknownCa | RefusalReason::AnotherRegionsCa => AlertDescription::UnknownCA,
            RefusalReason::Expired | RefusalReason::NotYetValid => AlertDescription::CertificateExpired,
            RefusalReason::Revoked => AlertDescription::CertificateRevoked,
            RefusalReason::WrongPurpose => AlertDescription::UnsupportedCertificate,
            RefusalReason::Tls => AlertDescription::DecryptError,
            _ => AlertDescription::AccessDenied,
        };
        assert_eq!(alert(&answer), Some(expected), "{refusal}: {answer}");
    }
}

#[tokio::test]
async fn each_misfit_that_is_dialled_is_refused_for_its_own_reason() {
    for reason in BOTH_WAYS {
        let world = World::new();
        let own = misfit(&world, *reason);
        let refusal = dialling(&world, server(&[&TLS13], own)).await;
        assert_eq!(refusal.reason(), *reason, "{refusal}");
    }
}

#[tokio::test]
async fn a_valid_certificate_of_a_region_not_dialled_is_refused() {
    let world = World::new();
    let refusal = dialling(&world, server(&[&TLS13], world.eu.issue(&[&uri(EU)]).certified())).await;
    assert_eq!(
        refusal,
        Refusal::AnotherRegion {
            dialled: region(US),
            found: region(EU)
        }
    );
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let (refusal, answer) = accepting(&World::new(), client(&[&TLS13], None)).await;
    assert_eq!(refusal, Refusal::NoCertificate);
    assert_eq!(alert(&answer), Some(AlertDescription::CertificateRequired));
}

#[tokio::test]
async fn tls_1_2_is_refused_in_both_directions() {
    let world = World::new();
    let good = world.us.issue(&[&uri(US)]);
    let (refusal, answer) = accepting(&world, client(&[&TLS12], Some(good.certified()))).await;
    assert_eq!(refusal, Refusal::OldTls);
    assert_eq!(alert(&answer), Some(AlertDescription::ProtocolVersion));
    assert_eq!(
        dialling(&world, server(&[&TLS12], good.certified())).await,
        Refusal::OldTls
    );
}

#[tokio::test]
async fn a_wrong_or_missing_alpn_protocol_is_refused_both_ways() {
    let world = World::new();
    let good = world.us.issue(&[&uri(US)]);
    for protocols in [vec![], vec![b"h2".to_vec()]] {
        let mut dialer = client(&[&TLS13], Some(good.certified()));
        dialer.alpn_protocols.clone_from(&protocols);
        assert_eq!(accepting(&world, dialer).await.0, Refusal::WrongProtocol);
        let mut acceptor = server(&[&TLS13], good.certified());
        acceptor.alpn_protocols = protocols;
        assert_eq!(dialling(&world, acceptor).await, Refusal::WrongProtocol);
    }
}

#[tokio::test]
async fn garbage_silence_and_hanging_up_are_distinct_refusals() {
    let world = World::new();
    let mut listener = listener(
        &world,
        LinkLimits {
            handshake: Duration::from_millis(100),
            ..limits()
        },
    )
    .await;
    let address = listener.address().unwrap();

    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 300], &[0xff; 70_000]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (_, refusal) = tokio::join!(stream.write_all(garbage), refused(&mut listener));
        assert_eq!(refusal, Refusal::NotTls);
    }
    let silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(
        refused(&mut listener).await,
        Refusal::Slow {
            timeout: Duration::from_millis(100)
        }
    );
    drop(silent);
    drop(TcpStream::connect(address).await.unwrap());
    assert_eq!(refused(&mut listener).await.reason(), RefusalReason::HungUp);
}

#[tokio::test]
async fn slow_handshakes_are_limited_to_their_slots_and_their_time() {
    let world = World::new();
    let slow = LinkLimits {
        handshake: Duration::from_secs(2),
        handshakes: 2,
        ..limits()
    };
    let mut listener = listener(&world, slow).await;
    let address = listener.address().unwrap();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let us = world.credentials(US);
    let (eu_west, limits) = (region(EU), limits());
    let patient = dial(address, &eu_west, &us, &limits);
    let verdicts = async {
        let mut verdicts = Vec::new();
        for _ in 0..5 {
            let verdict = soon("a verdict", listener.next()).await;
            verdicts.push(verdict.map_or_else(|error| error.label(), |_| "served"));
        }
        verdicts
    };
    let (link, verdicts) = tokio::join!(patient, verdicts);
    assert_eq!(link.unwrap().peer.region(), &region(EU));
    // The last two slow ones end at the same time, and either slot may be taken.
    let served = verdicts.iter().position(|verdict| *verdict == "served");
    assert!(served >= Some(3), "{verdicts:?}");
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == "slow").count(), 4);
}

#[tokio::test]
async fn a_dialer_that_refuses_the_listener_is_named_as_such() {
    let world = World::new();
    let mut listener = listener(&world, limits()).await;
    let address = listener.address().unwrap();
    world.write("eu-west.pem", &Authority::new().pem);
    let us = isthmus_link::Credentials::load(place(US), world.files(US)).unwrap();
    let (us_east, limits) = (region(EU), limits());
    let (outcome, refusal) = tokio::join!(dial(address, &us_east, &us, &limits), refused(&mut listener));
    assert_eq!(outcome.unwrap_err().label(), "unknown_ca");
    assert_eq!(
        refusal,
        Refusal::RefusedByPeer {
            alert: AlertDescription::UnknownCA
        }
    );
}

#[tokio::test]
async fn a_refused_dialer_learns_the_reason_though_it_spoke_first() {
    let world = World::new();
    let us = world.credentials(US);
    world.write("revoked", &us.own().fingerprint().to_string());
    let mut listener = listener(&world, limits()).await;
    let address = listener.address().unwrap();
    let (eu_west, limits) = (region(EU), limits());
    let knock = async {
        let mut link = dial(address, &eu_west, &us, &limits).await.unwrap();
        link.writer.send(Bytes::from(vec![0; 1024 * 1024])).await.unwrap();
        soon("an answer", link.reader.next()).await
    };
    let (answer, refusal) = tokio::join!(knock, refused(&mut listener));
    assert_eq!(refusal.reason(), RefusalReason::Revoked);
    assert!(
        matches!(
            answer,
            Some(Err(FrameError::RefusedByPeer {
                alert: AlertDescription::CertificateRevoked
            }))
        ),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_dead_address_and_a_mute_one_fail_differently() {
    let world = World::new();
    let (us, eu_west) = (world.credentials(US), region(EU));
    let socket = TcpListener::bind(loopback()).await.unwrap();
    let address = socket.local_addr().unwrap();
    let hasty = LinkLimits {
        handshake: Duration::from_millis(50),
        ..limits()
    };
    let mute = dial(address, &eu_west, &us, &hasty).await.unwrap_err();
    assert_eq!(mute.label(), "slow");
    // The port is bound, but nobody listens on it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(loopback()).unwrap();
    let address = socket.local_addr().unwrap();
    let dead = dial(address, &eu_west, &us, &hasty).await.unwrap_err();
    assert_eq!(dead.label(), "connect");
    assert!(dead.to_string().contains(&address.to_string()), "{dead}");
}

#[test]
fn every_reason_has_a_test_here() {
    let elsewhere = [
        RefusalReason::NoCertificate,
        RefusalReason::OwnRegion,
        RefusalReason::AnotherRegion,
        RefusalReason::OldTls,
        RefusalReason::WrongProtocol,
        RefusalReason::NotTls,
        RefusalReason::RefusedByPeer,
        RefusalReason::HungUp,
        RefusalReason::Slow,
    ];
    let tested: BTreeSet<_> = BOTH_WAYS.iter().chain(&elsewhere).collect();
    assert_eq!(tested, RefusalReason::ALL.iter().collect());
}
