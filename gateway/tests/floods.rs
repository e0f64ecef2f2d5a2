//! Anyone who reaches a port or has a region's key can cause the same thing again and again. It is
//! counted each time. What is recorded and kept of it stays small, and displaces nothing that
//! others caused.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures::future::join_all;
use isthmus_link::Fingerprint;
use isthmus_log::testing::until;
use isthmus_log::{JournalName, PageFrom};
use isthmus_replication::link::frame::{Event, Frame, VERSIONS};
use isthmus_replication::time::Wall;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use common::{EU, GatewayProcess, Peer, SOON, US, World, framed, hello};

/// The most events of one kind and source that are kept within a minute if others cause them.
const A_MINUTE: usize = 8;

/// The events that a path of the admin listener returns.
async fn events_at(gateway: &GatewayProcess, path: &str) -> Vec<Value> {
    let text = gateway.text(path).await.unwrap();
    let events_at: Value = serde_json::from_str(&text).unwrap();
    let events = events_at.get("events").unwrap_or(&events_at);
    events.as_array().unwrap().clone()
}

fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["kind"] == kind).count()
}

/// All events that are kept: by the process, and in its region's journal once they are as `wanted`.
async fn kept(world: &World, gateway: &GatewayProcess, wanted: impl Fn(&[Value]) -> bool) -> [Vec<Value>; 2] {
    let own = events_at(gateway, "/v1/events?after=0").await;
    let journal = &world.place(US).ports.journal;
    let all = until("the events in the journal", SOON, || async {
        let begin = PageFrom::Time(Wall::from_micros(0));
        let page = journal.page(&JournalName::Events, begin, 10_000).await.ok()?;
        let read = |entry: &isthmus_log::JournalEntry| serde_json::from_slice(&entry.entry).unwrap();
        let all: Vec<Value> = page.entries.iter().map(read).collect();
        wanted(&all).then_some(all)
    });
    [own, all.await]
}

/// Performs `count` acts of an operator. Each of them is an event.
async fn acts(gateway: &GatewayProcess, count: usize) {
    for act in 0..count {
        let what = if act % 2 == 0 { "pause" } else { "resume" };
        assert_eq!(gateway.post(&format!("/v1/links/{EU}/{what}")).await, 200);
    }
}

/// The most events of a kind that may be recorded in the time that a test has taken.
fn bound(a_minute: usize, began: Instant) -> usize {
    a_minute * (1 + usize::try_from(began.elapsed().as_secs() / 60).unwrap())
}

async fn refused_handshake(port: u16) {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .unwrap();
    // The connection may be refused before everything is sent, and closed in any way.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_failed_handshakes_is_counted_and_evicts_nothing() {
    const FLOOD: usize = 4_000;
    const ACTS: usize = 64;
    let world = World::two_regions(Duration::from_millis(10)).await;
    let gateway = world.gateway(US, 1);
    gateway.leads().await;
    acts(&gateway, ACTS).await;
    let (began, port) = (Instant::now(), world.place(US).links[0]);
    join_all((0..16).map(|_| async {
        for _ in 0..FLOOD / 16 {
            refused_handshake(port).await;
        }
    }))
    .await;
    gateway
        .counts("isthmus_link_refused_total{reason=\"not_tls\"}", FLOOD as f64)
        .await;
    let events = "isthmus_events_total{kind=\"link_refused\"}";
    gateway.counts(events, FLOOD as f64).await;
    let counted = gateway.metric(events).await;
    acts(&gateway, 1).await;
    let [own, journal] = kept(&world, &gateway, |all| count(all, "operator_act") > ACTS).await;
    for events in [&own, &journal] {
        assert_eq!(count(events, "operator_act"), ACTS + 1);
        let refused = count(events, "link_refused");
        assert!(
            (1..=bound(1, began)).contains(&refused),
            "{refused} of {FLOOD} are kept"
        );
    }
    let entries = journal.len();
    assert!(entries < 2 * ACTS + 64, "{entries} entries in the journal");
    let lines = gateway.log().matches("link_refused").count();
    assert!(lines <= bound(1, began), "{lines} lines in the log");
    assert_eq!(counted, Some(FLOOD as f64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_a_peers_events_is_counted_and_evicts_nothing() {
    const FLOOD: usize = 5_000;
    let world = World::two_regions(Duration::from_millis(10)).await;
    let gateway = world.gateway(US, 1);
    gateway.leads().await;
    acts(&gateway, 10).await;
    let (began, port) = (Instant::now(), world.place(US).links[0]);
    let mut peer = Peer::of(&world, EU, port);
    let noise = |n: usize| {
        framed(&Frame::Event(Event::new(
            "noise",
            &format!("event {n} {}", "x".repeat(900)),
        )))
    };
    tokio::task::block_in_place(|| {
        peer.send(&hello(VERSIONS.least, VERSIONS.newest));
        assert!(matches!(peer.hears(), Frame::Welcome(_)));
        for n in 0..FLOOD {
            peer.send(&noise(n));
        }
    });
    let sample = "isthmus_events_total{kind=\"told_by_peer\"}";
    gateway.counts(sample, FLOOD as f64).await;
    acts(&gateway, 1).await;
    let [own, journal] = kept(&world, &gateway, |all| count(all, "operator_act") > 10).await;
    for events in [&own, &journal] {
        assert_eq!(count(events, "operator_act"), 11);
        let noise = count(events, "told_by_peer");
        assert!(
            (1..=bound(A_MINUTE, began)).contains(&noise),
            "{noise} of {FLOOD} are kept"
        );
    }
    let lines = gateway.log().matches("told_by_peer").count();
    assert!(lines <= bound(A_MINUTE, began), "{lines} lines in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_links_repeatedly_is_reported_once_a_minute() {
    const LINKS: usize = 40;
    let world = World::two_regions(Duration::from_millis(10)).await;
    let gateway = world.gateway(US, 1);
    gateway.leads().await;
    let (began, port) = (Instant::now(), world.place(US).links[0]);
    for _ in 0..LINKS {
        let mut peer = Peer::of(&world, EU, port);
        tokio::task::block_in_place(|| {
            peer.send(&hello(VERSIONS.least, VERSIONS.newest));
            assert!(matches!(peer.hears(), Frame::Welcome(_)));
            peer.send(&[0, 0, 0, 1, 200]);
            peer.must_end("a frame that nobody knows");
        });
    }
    for kind in ["set_differs", "link_refused"] {
        let sample = format!("isthmus_events_total{{kind=\"{kind}\"}}");
        gateway.counts(&sample, LINKS as f64).await;
    }
    let both = |all: &[Value]| ["set_differs", "link_refused"].map(|kind| count(all, kind));
    for events in kept(&world, &gateway, |all| both(all).iter().all(|kept| *kept > 0)).await {
        let kept = both(&events);
        assert!(
            kept.iter().all(|kept| *kept <= bound(1, began)),
            "{kept:?} of {LINKS} are kept"
        );
    }
    let lines = gateway.log().matches("a link from another region is up").count();
    assert!(lines <= bound(A_MINUTE, began), "{lines} lines of {LINKS} links");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_flood_pushes_out_no_acts_or_refusals_of_others() {
    const FLOOD: usize = 3_000;
    let world = World::two_regions(Duration::from_millis(10)).await;
    let hash = |token: &str| format!("sha256:{}", Fingerprint::of_bytes(token.as_bytes()));
    let path = world.folder_of(US).join("gateway.yaml");
    let operators = format!(
        "admin: {{ operators: {{ root: {{ tokens: [\"{}\"], role: destroy }}, reader: {{ tokens: [\"{}\"], role: read }} }} }}\n",
        hash("root"),
        hash("reader")
    );
    std::fs::write(&path, common::read(&path) + &operators).unwrap();
    let gateway = world.gateway(US, 1);
    let (admin, began) = (gateway.admin(), Instant::now());
    let pause = async |from: u8, token: &str| {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, from));
        let client = reqwest::Client::builder().local_address(address).build().unwrap();
        let url = format!("{admin}/v1/links/{EU}/pause");
        let asked = client.post(url).bearer_auth(token);
        (client, asked.send().await.map(|answer| answer.status().as_u16()))
    };
    until("the listener answers", SOON, || async {
        pause(1, "root").await.1.ok()
    })
    .await;
    for n in 0..9 {
        assert_eq!(pause(1, "root").await.1.ok(), Some(200), "act {n}");
    }
    for from in 10..30 {
        assert_eq!(pause(from, "guessed").await.1.ok(), Some(401));
    }
    assert_eq!(pause(1, "reader").await.1.ok(), Some(403));
    let (flood, _) = pause(200, "guessed").await;
    join_all((0..16).map(|_| async {
        for _ in 0..FLOOD / 16 {
            let asked = flood.get(format!("{admin}/v1/status")).bearer_auth("guessed");
            assert_eq!(asked.send().await.unwrap().status().as_u16(), 401);
        }
    }))
    .await;
    let root = reqwest::Client::new();
    let ask = async |path: &str| {
        let answer = root
            .get(format!("{admin}{path}"))
            .bearer_auth("root")
            .send()
            .await;
        answer.unwrap().text().await.unwrap()
    };
    let metrics = ask("/metrics").await;
    let of_flood = metrics.lines().find_map(|line| {
        line.strip_prefix("isthmus_door_refused_total{door=\"admin\",reason=\"unknown_token\"} ")
    });
    assert!(
        of_flood.unwrap().parse::<usize>().unwrap() >= FLOOD / 16 * 16 + 21,
        "{of_flood:?}"
    );
    let all = until("the events in the journal", SOON, || async {
        let events_at: Value = serde_json::from_str(&ask("/v1/events?since=1h").await).ok()?;
        let all = events_at["events"].as_array()?.clone();
        (events_at["source"] == "region" && count(&all, "access_refused") >= 22).then_some(all)
    });
    let own: Vec<Value> = serde_json::from_str(&ask("/v1/events?after=0").await).unwrap();
    for events in [&own, &all.await] {
        assert_eq!(count(events, "operator_act"), 10);
        let refused: Vec<&Value> = events
            .iter()
            .filter(|event| event["kind"] == "access_refused")
            .collect();
        let of = |field: &str, value: &str| {
            let found = refused.iter().filter(|event| event["fields"][field] == value);
            found.count()
        };
        assert_eq!(of("caller", "reader"), 1);
        assert!((1..=bound(1, began)).contains(&of("from", "127.0.0.200")));
        for from in 10..30 {
            assert_eq!(of("from", &format!("127.0.0.{from}")), 1);
        }
    }
}
