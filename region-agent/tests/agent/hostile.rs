//! Anyone who reaches the doors may send anything. It is refused within bounds of memory, and
//! honest clients are served meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use reqwest::Url;

use crate::support::{Agent, BOUND, Region};

/// The most memory that hostile clients may cost an agent.
const MOST_GROWTH_BYTES: u64 = 64 * 1024 * 1024;
/// Connections that send a byte and then nothing.
const SLOW: usize = 200;

fn connect(url: &str) -> TcpStream {
    let url = Url::parse(url).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()));
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.set_write_timeout(Some(BOUND)).unwrap();
    stream
}

/// Sends `bytes`, closes the sending side, and returns what was answered until the connection
/// ended.
fn exchange(url: &str, bytes: &[u8]) -> String {
    let mut stream = connect(url);
    // The connection may be refused before everything is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no end within {BOUND:?}"),
        _ => String::from_utf8_lossy(&answer).into_owned(),
    }
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

fn head(line: &str, headers: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n{headers}\r\n").into_bytes()
}

/// What no door accepts. A door may answer it or not, but never with success.
fn no_requests() -> Vec<(&'static str, Vec<u8>)> {
    let mut long_header = head(
        "GET /v1/kv/carts/a",
        &format!("x: {}\r\n", "a".repeat(4 * 1024 * 1024)),
    );
    long_header.extend(noise(100));
    vec![
        ("nothing", vec![]),
        ("garbage", noise(256 * 1024)),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]),
        (
            "a truncated head",
            b"GET /v1/kv/carts/a HTTP/1.1\r\nhost:".to_vec(),
        ),
        ("a long header", long_header),
        (
            "many headers",
            head("GET /v1/kv/carts/a", &"x: y\r\n".repeat(100_000)),
        ),
        (
            "a long path",
            head(&format!("GET /v1/kv/carts/{}", "a".repeat(1024 * 1024)), ""),
        ),
        ("a key that is not UTF-8", head("GET /v1/kv/carts/%ff", "")),
        (
            "a session that is none",
            head("GET /v1/kv/carts/a", "isthmus-session: 1;;,..,\r\n"),
        ),
        (
            "HTTP/2 and garbage",
            [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), noise(100_000)].concat(),
        ),
    ]
}

/// Bodies that the application door refuses.
fn no_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let put = |headers: &str, body: &[u8]| [&head("PUT /v1/kv/carts/a", headers)[..], body].concat();
    let batch = |headers: &str, body: &[u8]| [&head("POST /v1/batch", headers)[..], body].concat();
    let line = [
        &b"{\"op\":\"put\",\"bucket\":\"carts\",\"key\":\"k\",\"value\":"[..],
        &b"[".repeat(8 * 1024 * 1024),
    ]
    .concat();
    let length = format!("content-length: {}\r\n", line.len());
    vec![
        (
            "an announced exabyte",
            put("content-length: 1000000000000000000\r\n", &noise(1000)),
        ),
        ("a truncated body", put("content-length: 1000\r\n", b"short")),
        (
            "a large body",
            put("content-length: 33554432\r\n", &noise(32 * 1024 * 1024)),
        ),
        (
            "chunks that are none",
            put("transfer-encoding: chunked\r\n", &noise(5000)),
        ),
        (
            "a chunk beyond all bounds",
            put("transfer-encoding: chunked\r\n", b"ffffffffffffffff\r\nx"),
        ),
        ("a line without an end", batch(&length, &line)),
        (
            "a batch of garbage",
            batch("content-length: 1048576\r\n", &noise(1024 * 1024)),
        ),
    ]
}

impl Agent {
    async fn serves(&self, round: usize) {
        let key = format!("carts/honest-{round}");
        assert_eq!(self.put(&key, "here").await.status(), 200);
        assert_eq!(self.value(&key).await.as_deref(), Some("here"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_27_doors_refuse_garbage_in_bounded_memory() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;
    agent.serves(0).await;
    let resident = agent.resident_bytes();
    let doors = [agent.http("/"), agent.admin("/")];
    let slow: Vec<TcpStream> = (0..SLOW)
        .map(|number| {
            let mut stream = connect(&doors[number % 2]);
            stream
                .write_all(if number % 4 < 2 {
                    b"P"
                } else {
                    b"PUT /v1/kv/carts/slow HTTP/1.1\r\n"
                })
                .unwrap();
            stream
        })
        .collect();
    let to_both = no_requests()
        .into_iter()
        .flat_map(|case| doors.iter().map(move |door| (door, case.clone())));
    let to_one = no_bodies().into_iter().map(|case| (&doors[0], case));
    for (round, (door, (what, bytes))) in to_both.chain(to_one).enumerate() {
        let answer = tokio::task::block_in_place(|| exchange(door, &bytes));
        let is_batch = bytes.starts_with(b"POST /v1/batch");
        let taken = answer.starts_with("HTTP/1.1 2") && (!is_batch || answer.contains("\"status\":200"));
        assert!(
            !taken,
            "{door} took {what}: {}",
            answer.chars().take(500).collect::<String>()
        );
        agent.serves(round + 1).await;
    }
    let grown = agent.resident_bytes().saturating_sub(resident);
    assert!(grown < MOST_GROWTH_BYTES, "the agent grew by {grown} bytes");
    assert!(agent.status().await["shards"].is_array());
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
    assert_eq!(
        agent.value("carts/a").await,
        None,
        "something of the garbage was written"
    );
    drop(slow);
    agent.serves(1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_27_a_value_that_trickles_in_costs_others_nothing() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;
    let mut trickling: Vec<TcpStream> = (0..SLOW).map(|_| connect(&agent.http("/"))).collect();
    for (number, stream) in trickling.iter_mut().enumerate() {
        let request = head(
            &format!("PUT /v1/kv/carts/slow-{number}"),
            "content-length: 20\r\n",
        );
        stream.write_all(&request).unwrap();
    }
    for round in 0..20 {
        for stream in &mut trickling {
            stream.write_all(b"x").unwrap();
        }
        agent.serves(round).await;
    }
    let mut answer = String::new();
    trickling.remove(0).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(agent.value("carts/slow-0").await, Some("x".repeat(20)));
}
