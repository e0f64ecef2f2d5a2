//! Anyone who reaches the link port may send anything. It is refused within bounds of time and
//! memory, and honest peers are served meanwhile.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use isthmus_replication::link::frame::{Frame, GoodbyeReason, VERSIONS};

use common::{Contents, EU, GatewayProcess, Peer, REFUSED_WITHIN, US, World, expected, hello, region};

/// The most memory that hostile peers may cost a gateway. The largest frame has 8 MiB.
const MOST_GROWTH_BYTES: u64 = 96 * 1024 * 1024;
const FRAME_BYTES: u32 = isthmus_replication::limits::FRAME_BYTES as u32;

/// What is sent to a port that expects TLS.
fn before_the_handshake() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", vec![]),
        ("garbage", noise(256 * 1024)),
        ("HTTP", b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n".to_vec()),
        ("a truncated record", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]),
        (
            "an oversized record",
            [&[0x16, 3, 1, 0xff, 0xff][..], &noise(70_000)].concat(),
        ),
        ("an alert", vec![0x15, 3, 3, 0, 2, 2, 80]),
        (
            "application data",
            [&[0x17, 3, 3, 0x40, 0][..], &noise(0x4000)].concat(),
        ),
    ]
}

/// What is sent within TLS, by a client with a valid certificate.
fn after_the_handshake() -> Vec<(&'static str, Vec<u8>)> {
    let framed = |frame: &[u8]| [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], frame].concat();
    let lanes = [&[1][..], &[0x1a, 0].repeat(1_000_000)].concat();
    vec![
        ("garbage", noise(1024 * 1024)),
        (
            "a length beyond all bounds",
            [&[0xff; 4][..], &noise(4096)].concat(),
        ),
        (
            "a frame one byte too long",
            (FRAME_BYTES + 1).to_be_bytes().to_vec(),
        ),
        ("an empty frame", framed(&[])),
        ("a kind that nobody knows", framed(&[200, 1, 2, 3])),
        (
            "a frame that is no protobuf",
            framed(&[&[1][..], &[0xff; 100]].concat()),
        ),
        ("a range before the greeting", framed(&[32])),
        ("a greeting of a million lanes", framed(&lanes)),
        (
            "garbage frames",
            (0..200)
                .flat_map(|kind| framed(&[&[kind][..], &noise(300)].concat()))
                .collect(),
        ),
    ]
}

/// Pseudorandom bytes, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 99_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    stream.set_read_timeout(Some(REFUSED_WITHIN)).unwrap();
    stream.set_write_timeout(Some(REFUSED_WITHIN)).unwrap();
    stream
}

/// Waits until the other end has closed.
fn closes(mut stream: TcpStream, what: &str) {
    let mut sink = [0; 4096];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("a connection that sent {what} still stands after {REFUSED_WITHIN:?}")
            }
            Err(_) => return,
        }
    }
}

async fn serves_as_before(gateway: &GatewayProcess, resident: u64) {
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
    let grown = gateway.resident_bytes().saturating_sub(resident);
    assert!(
        grown < MOST_GROWTH_BYTES,
        "{} grew by {grown} bytes",
        gateway.name
    );
    assert!(gateway.status().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_27_the_link_port_refuses_non_tls_and_serves_peers() {
    let world = World::two_regions(Duration::from_millis(10)).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    let (resident, port) = (other.resident_bytes(), world.place(US).links[0]);
    let slow: Vec<TcpStream> = (0..32).map(|_| connect(port)).collect();
    for mut stream in &slow {
        stream.write_all(&[0x16]).unwrap();
    }
    for round in 0..10 {
        for (what, bytes) in before_the_handshake() {
            let mut stream = connect(port);
            // The connection may be refused before everything is sent.
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            tokio::task::block_in_place(|| closes(stream, what));
        }
        eu.put_numbered(round * 10, 10).await;
    }
    let arrived = Contents::with_keys(&us.ports, &region(EU), 100).await;
    assert_eq!(arrived.keys, expected(100));
    for stream in slow {
        tokio::task::block_in_place(|| closes(stream, "one byte of a handshake"));
    }
    for (reason, least) in [
        ("not_tls", 30.0),
        ("tls", 10.0),
        ("slow", 32.0),
        ("hung_up", 10.0),
    ] {
        let sample = format!("isthmus_link_refused_total{{reason=\"{reason}\"}}");
        other.counts(&sample, least).await;
    }
    let reconnects = one
        .metric("isthmus_link_reconnects_total{peer=\"us-east\"}")
        .await;
    assert!(
        reconnects.is_none_or(|count| count == 0.0),
        "the honest link fell: {reconnects:?}"
    );
    serves_as_before(&other, resident).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_27_a_malformed_frame_ends_only_its_own_session() {
    let world = World::two_regions(Duration::from_millis(10)).await;
    let mut eu = world.publisher(EU).await;
    let us = world.publisher(US).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    let (resident, port) = (other.resident_bytes(), world.place(US).links[0]);

    let mut slow: Vec<Peer> = (0..16).map(|_| Peer::of(&world, EU, port)).collect();
    for peer in &mut slow {
        peer.send(&(FRAME_BYTES - 1).to_be_bytes());
        peer.send(&[1]);
    }
    let mut truncated: Vec<Peer> = (0..8).map(|_| Peer::of(&world, EU, port)).collect();
    for peer in &mut truncated {
        peer.send(&[&1000u32.to_be_bytes()[..], &[1; 10]].concat());
    }
    drop(truncated);
    for (round, (what, bytes)) in after_the_handshake().into_iter().enumerate() {
        let mut peer = Peer::of(&world, EU, port);
        tokio::task::block_in_place(|| {
            peer.send(&bytes);
            peer.must_end(what);
        });
        eu.put_numbered(round * 10, 10).await;
    }
    let keys = after_the_handshake().len() * 10;
    let arrived = Contents::with_keys(&us.ports, &region(EU), keys).await;
    assert_eq!(arrived.keys, expected(keys));
    for peer in slow {
        tokio::task::block_in_place(|| peer.must_end("one byte of a frame"));
    }
    let reconnects = one
        .metric("isthmus_link_reconnects_total{peer=\"us-east\"}")
        .await;
    assert!(
        reconnects.is_none_or(|count| count == 0.0),
        "the honest link fell: {reconnects:?}"
    );
    serves_as_before(&other, resident).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_28_a_gateway_links_with_the_next_release_only() {
    let world = World::two_regions(Duration::from_millis(10)).await;
    let gateway = world.gateway(US, 1);
    gateway.leads().await;
    let port = world.place(US).links[0];
    let next = VERSIONS.newest + 1;
    let answer = |least, newest| {
        let mut peer = Peer::of(&world, EU, port);
        tokio::task::block_in_place(|| {
            peer.send(&hello(least, newest));
            (peer.hears(), peer)
        })
    };
    let (welcomed, _stays) = answer(VERSIONS.newest, next);
    assert!(
        matches!(&welcomed, Frame::Welcome(welcome) if welcome.version == VERSIONS.newest),
        "{welcomed:?}"
    );
    gateway
        .becomes("the version of the link", |status| {
            status["accepted"][0]["protocol_version"] == VERSIONS.newest
        })
        .await;
    let (refused, _) = answer(next, next + 1);
    assert!(
        matches!(&refused, Frame::Goodbye(goodbye) if goodbye.reason == GoodbyeReason::Version),
        "{refused:?}"
    );
    gateway.logs("upgrade the older region").await;
}
