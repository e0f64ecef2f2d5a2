//! Callers that do not read large responses, on real connections: the bytes that a door holds for
//! them.

use axum::http::Method;
use axum::routing::any;
use bytes::Bytes;
use tokio::net::TcpSocket;

use super::*;
use crate::held::ALLOWANCE;

/// More than the system buffers between the door and a caller.
const LARGE: usize = 8 * 1024 * 1024;
const ROOM: usize = 4 * LARGE;
const CALLERS: usize = 16;
/// Represents a response that was cut off before its status.
const CUT: u16 = 0;

/// A door with whole, streamed and small responses.
struct LargeDoor {
    address: SocketAddr,
    held: HeldBytes,
    stop: CancellationToken,
    served: JoinSet<io::Result<()>>,
}

impl LargeDoor {
    async fn open() -> Self {
        let stream = || {
            let part = || Ok::<_, std::convert::Infallible>(Bytes::from(vec![0; LARGE]));
            Body::from_stream(futures::stream::repeat_with(part))
        };
        let router = Router::new()
            .route("/whole", any(async || vec![0; LARGE]))
            .route("/parts", get(async move || stream()))
            .route("/small", get(async || "small"));
        let door = bound(Limits {
            held_bytes: ROOM,
            ..Limits::default()
        })
        .await;
        let (address, held, stop) = (door.address(), door.held(), CancellationToken::new());
        let served = JoinSet::from_iter([door.serve(router, stop.clone())]);
        Self {
            address,
            held,
            stop,
            served,
        }
    }

    /// A caller with small buffers for what it does not read.
    async fn ask(&self, method: Method, path: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut caller = socket.connect(self.address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        caller.write_all(request.as_bytes()).await.unwrap();
        caller
    }

    async fn ask_by_many(&self, method: Method, path: &str) -> Vec<(TcpStream, u16)> {
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let mut caller = self.ask(method.clone(), path).await;
            let mut line = [0; 12];
            let status = match within(caller.read_exact(&mut line)).await {
                Ok(_) => std::str::from_utf8(&line[9..]).unwrap().parse().unwrap(),
                Err(_) => CUT,
            };
            callers.push((caller, status));
        }
        callers
    }

    async fn holds_nothing(&self) {
        within(async {
            while self.held.held() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn close(mut self) {
        self.stop.cancel();
        within(self.served.join_next()).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn unread_answers_are_bounded_and_small_ones_always_given() {
    let door = LargeDoor::open().await;
    let callers = door.ask_by_many(Method::GET, "/whole").await;
    let given = callers.iter().filter(|(_, status)| *status == 200).count();
    let refused = callers.iter().filter(|(_, status)| *status == 503).count();
    assert_eq!((given, refused), (4, CALLERS - 4));
    let held = door.held.held();
    assert!(
        (3 * LARGE..=ROOM + CALLERS * ALLOWANCE).contains(&held),
        "{held} bytes are held"
    );
    let small = answer(door.ask(Method::GET, "/small").await).await;
    assert!(small.ends_with("small"), "{small}");
    drop(callers);
    door.holds_nothing().await;
    let (mut again, mut whole) = (door.ask(Method::GET, "/whole").await, Vec::new());
    within(again.read_to_end(&mut whole)).await.unwrap();
    assert!(whole.starts_with(b"HTTP/1.1 200") && whole.len() > LARGE);
    door.close().await;
}

#[tokio::test]
async fn parts_of_streams_that_are_not_read_are_held_within_bounds() {
    let door = LargeDoor::open().await;
    let callers = door.ask_by_many(Method::GET, "/parts").await;
    // A caller without room for the next part is cut off; the responses to the others wait for
    // them.
    let given = callers.iter().filter(|(_, status)| *status == 200).count();
    let cut = callers.iter().filter(|(_, status)| *status == CUT).count();
    assert_eq!((given, cut), (4, CALLERS - 4));
    let held = door.held.held();
    assert!(
        (3 * LARGE..=ROOM + CALLERS * ALLOWANCE).contains(&held),
        "{held} bytes are held"
    );
    drop(callers);
    door.holds_nothing().await;
    door.close().await;
}

#[tokio::test]
async fn a_writes_outcome_is_answered_whatever_is_held() {
    let door = LargeDoor::open().await;
    let callers = door.ask_by_many(Method::GET, "/whole").await;
    let mut written = door.ask(Method::PUT, "/whole").await;
    let mut answer = Vec::new();
    within(written.read_to_end(&mut answer)).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "a write was answered as refused"
    );
    drop(callers);
    door.close().await;
}
