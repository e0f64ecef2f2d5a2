//! Clients that read nothing, or send only half: the memory that they cost an agent, with values
//! near the largest.

use std::io::Write;
use std::net::SocketAddr;

use isthmus_log::testing::until;
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Agent, BOUND, Region};

const VALUE: usize = 900 * 1024;
/// What the door for applications holds beyond the allowances of its callers.
const ROOM: u64 = 128 * 1024 * 1024;
/// The allowance of each caller.
const ALLOWANCE: usize = 16 * 1024;
/// What else an agent may grow by: stacks, buffers, what the allocator keeps.
const SLACK: u64 = 64 * 1024 * 1024;

impl Agent {
    /// A connection with little room for what its client does not read.
    async fn narrow(&self) -> TcpStream {
        let port = Url::parse(&self.http("/")).unwrap().port().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket
            .connect(SocketAddr::from(([127, 0, 0, 1], port)))
            .await
            .unwrap()
    }

    /// The bytes that its door for applications holds.
    async fn held(&self) -> u64 {
        let metrics = self.metrics().await;
        let sample = "isthmus_door_held_bytes{door=\"http\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(sample));
        line.unwrap_or_else(|| panic!("{sample}is missing"))
            .parse::<f64>()
            .unwrap() as u64
    }

    async fn serves_small(&self, round: usize) {
        let key = format!("carts/honest-{round}");
        assert_eq!(self.put(&key, "here").await.status(), 200);
        assert_eq!(self.value(&key).await.as_deref(), Some("here"));
    }
}

/// JSON of many small parts, which takes many times its size when it is parsed into a tree.
fn value() -> Vec<u8> {
    let mut value = b"[0".to_vec();
    value.extend(b",0".repeat(VALUE / 2));
    value.push(b']');
    value
}

async fn put_json(agent: &Agent, key: &str) {
    let request = agent.client.put(agent.kv(key)).body(value());
    let request = request.header("content-type", "application/json");
    assert_eq!(crate::support::send(request).await.status(), 200);
}

fn status_of(line: [u8; 12]) -> u16 {
    std::str::from_utf8(&line[9..]).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_gets_that_are_not_read_hold_an_answer_each() {
    const BATCHES: usize = 8;
    let region = Region::with_large_values();
    let agent = region.agent("agent-1").await;
    put_json(&agent, "carts/large").await;
    agent.serves_small(0).await;
    let resident = agent.resident_bytes();
    let lines = "{\"op\":\"get\",\"bucket\":\"carts\",\"key\":\"large\"}\n".repeat(900);
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        let mut batch = agent.narrow().await;
        let head = format!(
            "POST /v1/batch HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            lines.len()
        );
        batch.write_all(head.as_bytes()).await.unwrap();
        batch.write_all(lines.as_bytes()).await.unwrap();
        batches.push(batch);
    }
    for batch in &mut batches {
        let mut line = [0; 12];
        batch.read_exact(&mut line).await.unwrap();
        assert_eq!(status_of(line), 200);
    }
    for round in 0..100 {
        agent.serves_small(round).await;
        let grown = agent.resident_bytes().saturating_sub(resident);
        assert!(
            grown < SLACK,
            "the agent grew by {grown} bytes for {BATCHES} batches"
        );
    }
    let (least, most) = (BATCHES * VALUE, BATCHES * 2 * VALUE);
    let held = until("each batch holds an answer", BOUND, || async {
        let held = agent.held().await;
        (held >= least as u64).then_some(held)
    })
    .await;
    assert!(held < most as u64, "{held} bytes are held for {BATCHES} batches");
    drop(batches);
    until("nothing is held any more", BOUND, || async {
        (agent.held().await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_values_replaced_meanwhile_are_held_within_bounds() {
    const CLIENTS: usize = 300;
    let mut region = Region::with_large_values();
    region.max_bytes = "512MiB";
    let agent = region.agent("agent-1").await;
    agent.serves_small(0).await;
    let resident = agent.resident_bytes();
    // The system's buffers take the first answers of each client.
    let gets = "GET /v1/kv/carts/large HTTP/1.1\r\nhost: a\r\n\r\n".repeat(8);
    let mut clients = Vec::new();
    loop {
        let put = agent.put("carts/large", vec![b'x'; VALUE]).await.status();
        let got = agent.get("carts/large").await.status();
        if put == 503 || got == 503 {
            break;
        }
        assert_eq!((put.as_u16(), got.as_u16()), (200, 200));
        assert!(clients.len() < CLIENTS, "{CLIENTS} clients held what they liked");
        let mut client = agent.narrow().await;
        client.write_all(gets.as_bytes()).await.unwrap();
        let mut line = [0; 12];
        client.read_exact(&mut line).await.unwrap();
        clients.push(client);
        let (held, most) = (agent.held().await, ROOM + (ALLOWANCE * clients.len() * 2) as u64);
        assert!(held <= most, "{held} bytes are held");
    }
    let grown = agent.resident_bytes().saturating_sub(resident);
    assert!(grown < 2 * ROOM, "the agent grew by {grown} bytes");
    agent.serves_small(1).await;
    drop(clients);
    until("large values are given again", BOUND, || async {
        (agent.get("carts/large").await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_never_arrive_whole_are_held_within_bounds() {
    const CLIENTS: usize = 600;
    let region = Region::with_large_values();
    let agent = region.agent("agent-1").await;
    agent.serves_small(0).await;
    let resident = agent.resident_bytes();
    let port = Url::parse(&agent.http("/")).unwrap().port().unwrap();
    let half = vec![b'x'; VALUE];
    let clients = tokio::task::spawn_blocking(move || {
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            let head = format!(
                "PUT /v1/kv/carts/half-{number} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
                half.len() + 1
            );
            client.write_all(head.as_bytes()).unwrap();
            // A client that is refused may be cut off before everything is sent.
            client.write_all(&half).ok();
            clients.push(client);
        }
        clients
    })
    .await
    .unwrap();
    agent.serves_small(1).await;
    let grown = agent.resident_bytes().saturating_sub(resident);
    // Growing buffers leave their old memory to the allocator.
    assert!(grown < 3 * ROOM, "the agent grew by {grown} bytes");
    let held = agent.held().await;
    assert!(
        held <= ROOM + (ALLOWANCE * CLIENTS) as u64,
        "{held} bytes are held"
    );
    until("most of them are refused", BOUND, || async {
        let refused = clients.iter().filter(|client| has_received(client, 503)).count();
        (refused > CLIENTS / 2).then_some(())
    })
    .await;
}

/// Whether the answer with this status has arrived.
fn has_received(client: &std::net::TcpStream, status: u16) -> bool {
    client.set_nonblocking(true).unwrap();
    let mut line = [0; 12];
    matches!(client.peek(&mut line), Ok(12)) && status_of(line) == status
}
