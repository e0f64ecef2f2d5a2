//! One trace follows one write.

use std::sync::{Arc, Mutex};

use isthmus_log::testing::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{BOUND, Region, send};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// An OTLP receiver that keeps every byte it was sent.
struct Receiver {
    url: String,
    received: Arc<Mutex<Vec<u8>>>,
    _serving: JoinSet<()>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(keep(stream, Arc::clone(&kept)));
            }
        });
        Self {
            url,
            received,
            _serving: serving,
        }
    }

    fn holds(&self, part: &[u8]) -> bool {
        let received = self.received.lock().unwrap();
        received.windows(part.len()).any(|window| window == part)
    }

    fn count(&self, part: &[u8]) -> usize {
        let received = self.received.lock().unwrap();
        received
            .windows(part.len())
            .filter(|window| *window == part)
            .count()
    }
}

/// Reads requests of known length one after another and answers each with 200.
async fn keep(mut stream: TcpStream, kept: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = Vec::new();
    loop {
        let head = buffer.windows(4).position(|window| window == b"\r\n\r\n");
        let length = head.map(|at| (at + 4, content_length(&buffer[..at])));
        match length {
            Some((start, length)) if buffer.len() >= start + length => {
                kept.lock().unwrap().extend(buffer.drain(..start + length));
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
            _ => match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    length.unwrap_or(0)
}

#[tokio::test]
async fn the_clients_trace_has_put_append_and_every_agents_apply() {
    let receiver = Receiver::start().await;
    let region = Region::alone();
    let otlp = format!("{{endpoint: \"{}\", protocol: http}}", receiver.url);
    let variables = [
        ("ISTHMUS_TELEMETRY__OTLP", otlp.as_str()),
        ("ISTHMUS_TELEMETRY__RATIO", "0"),
        ("ISTHMUS_TELEMETRY__CLIENTS_MAY_SAMPLE", "true"),
    ];
    let (one, two) = (
        region.agent_with("agent-1", &variables),
        region.agent_with("agent-2", &variables),
    );
    one.ready("write").await;
    two.ready("write").await;
    let traced = one.client.put(one.kv("carts/alice@example.org")).body("x");
    let traced = traced.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    assert_eq!(send(traced).await.status(), 200);
    assert_eq!(one.put("carts/untraced", "x").await.status(), 200);

    let trace = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    until("four spans of the trace have left", BOUND, || async {
        (receiver.count(&trace) >= 4).then_some(())
    })
    .await;
    for part in ["put", "append", "apply", "agent-1", "agent-2", "eu-west"] {
        assert!(receiver.holds(part.as_bytes()), "{part}");
    }
    assert!(!receiver.holds(b"alice@example.org"), "keys are hashed");
}
