//! Callers that read nothing of large answers, on real connections: the bytes that a door holds for them.

use axum::http::Method;
use axum::routing::any;
use bytes::Bytes;
use tokio::net::TcpSocket;

use super::*;
use crate::held::ALLOWANCE;

/// More than the system's buffers between the door and a caller take.
const LARGE: usize = 8 * 1024 * 1024;
const ROOM: usize = 4 * LARGE;
const CALLERS: usize = 16;
/// Instead of the status of an answer that broke off before it.
const CUT: u16 = 0;

/// A door that answers what is asked for.
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

    /// A caller that has little room for what it does not read.
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
async fn answers_that_are_not_read_are_held_within_bounds_and_small_ones_are_always_given() {
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
    // Who finds no room for a part is cut off; the others wait for their callers.
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
async fn what_a_write_came_to_is_told_whatever_is_held() {
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
