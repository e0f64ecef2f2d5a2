use std::future::Future;
use std::time::Duration;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::*;

mod held;

const BOUND: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.unwrap()
}

async fn bind(listen: SocketAddr) -> Result<Door, BindError> {
    let settings = DoorSettings::<()> {
        listen,
        tls: None,
        callers: std::collections::BTreeMap::new(),
    };
    Door::bind("test", &settings, None).await
}

async fn bound(limits: Limits) -> Door {
    bind("127.0.0.1:0".parse().unwrap()).await.unwrap().within(limits)
}

/// A door with one request.
struct SlowDoor {
    address: SocketAddr,
    /// Cancelled when the request begins.
    begun: CancellationToken,
    /// Lets the request end.
    finish: CancellationToken,
    stop: CancellationToken,
    served: JoinSet<io::Result<()>>,
}

impl SlowDoor {
    async fn open(limits: Limits) -> Self {
        let token = CancellationToken::new;
        let (begun, finish, stop) = (token(), token(), token());
        let (begins, waits) = (begun.clone(), finish.clone());
        let slow = async move || {
            begins.cancel();
            waits.cancelled().await;
            "finished"
        };
        let router = Router::new().route("/slow", get(slow));
        let door = bound(limits).await;
        let address = door.address();
        let served = JoinSet::from_iter([door.serve(router, stop.clone())]);
        Self {
            address,
            begun,
            finish,
            stop,
            served,
        }
    }

    async fn ask(&self) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(REQUEST).await.unwrap();
        client
    }

    async fn close(mut self) {
        self.stop.cancel();
        within(self.served.join_next()).await.unwrap().unwrap().unwrap();
    }
}

async fn answer(mut client: TcpStream) -> String {
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_request_that_has_begun_is_finished_after_stop() {
    let door = SlowDoor::open(Limits::default()).await;
    let client = door.ask().await;
    within(door.begun.cancelled()).await;
    door.stop.cancel();
    door.finish.cancel();
    let answer = answer(client).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"),
        "{answer}"
    );
    door.close().await;
}

#[tokio::test]
async fn garbage_is_answered_or_cut_and_the_door_goes_on() {
    let door = SlowDoor::open(Limits::default()).await;
    door.finish.cancel();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        &[b'x'; 1 << 20],
    ] {
        let mut client = TcpStream::connect(door.address).await.unwrap();
        client.write_all(garbage).await.ok();
        client.shutdown().await.ok();
        let mut answer = Vec::new();
        within(client.read_to_end(&mut answer)).await.ok();
        assert!(
            !answer.starts_with(b"HTTP/1.1 2"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    let answer = answer(door.ask().await).await;
    assert!(answer.ends_with("finished"), "{answer}");
    door.close().await;
}

#[tokio::test]
async fn a_connection_beyond_the_bound_waits_for_another_to_end() {
    let door = SlowDoor::open(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let first = door.ask().await;
    within(door.begun.cancelled()).await;
    let second = door.ask().await;
    let mut early = [0; 1];
    let nothing = tokio::time::timeout(Duration::from_millis(200), second.peek(&mut early));
    assert!(nothing.await.is_err(), "the second was answered beside the first");
    door.finish.cancel();
    assert!(answer(first).await.ends_with("finished"));
    assert!(answer(second).await.ends_with("finished"));
    door.close().await;
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_ends_the_connection() {
    let door = SlowDoor::open(Limits {
        head: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    for begun in [&b""[..], b"GET /slow HT"] {
        let mut client = TcpStream::connect(door.address).await.unwrap();
        client.write_all(begun).await.unwrap();
        let mut left = Vec::new();
        within(client.read_to_end(&mut left)).await.unwrap();
        assert!(!left.starts_with(b"HTTP/1.1 2"));
    }
    door.close().await;
}

#[tokio::test]
async fn a_head_beyond_its_bound_is_refused() {
    let door = SlowDoor::open(Limits::default()).await;
    let mut client = TcpStream::connect(door.address).await.unwrap();
    let head = format!(
        "GET /slow HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(200 * 1024)
    );
    client.write_all(head.as_bytes()).await.ok();
    let mut answer = Vec::new();
    within(client.read_to_end(&mut answer)).await.ok();
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert!(!door.begun.is_cancelled());
    door.close().await;
}

#[tokio::test]
async fn an_unread_answer_ends_its_connection_and_delays_no_stop() {
    let limits = Limits {
        unread: Duration::from_millis(300),
        ..Limits::default()
    };
    let door = bound(limits).await;
    let address = door.address();
    let endless = async || {
        let chunk = || Ok::<_, std::convert::Infallible>(bytes::Bytes::from_static(&[0; 64 * 1024]));
        Body::from_stream(futures::stream::repeat_with(chunk))
    };
    let stop = CancellationToken::new();
    let mut served =
        JoinSet::from_iter([door.serve(Router::new().route("/slow", get(endless)), stop.clone())]);
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    let mut first = [0; 8];
    within(client.read_exact(&mut first)).await.unwrap();
    stop.cancel();
    within(served.join_next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn unusable_addresses_are_reported_with_a_fix() {
    let taken = bound(Limits::default()).await;
    let in_use = bind(taken.address()).await.unwrap_err();
    assert!(matches!(in_use, BindError::InUse { .. }), "{in_use}");
    let open = bind("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
    assert!(matches!(open, BindError::Open { .. }), "{open}");
    let foreign = bind("127.0.0.1:1".parse().unwrap()).await;
    assert!(!matches!(
        foreign,
        Err(BindError::InUse { .. } | BindError::Open { .. })
    ));
}

/// TLS with a self-signed certificate; its files are read once.
fn tls() -> Arc<DoorTls> {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("door.crt"), folder.path().join("door.key"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let files = isthmus_link::DoorFiles {
        certificate,
        key,
        clients: None,
        revoked: None,
    };
    Arc::new(DoorTls::load(files).unwrap())
}

#[tokio::test]
async fn scenario_27_a_missing_or_garbage_handshake_is_disconnected() {
    let settings = DoorSettings::<()> {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        callers: std::collections::BTreeMap::new(),
    };
    let door = Door::bind("test", &settings, Some(tls())).await.unwrap();
    let door = door.within(Limits {
        handshake: Duration::from_millis(300),
        ..Limits::default()
    });
    let (address, stop) = (door.address(), CancellationToken::new());
    let router = Router::new().route("/slow", get(async || "answered"));
    let mut served = JoinSet::from_iter([door.serve(router, stop.clone())]);
    for sent in [&b""[..], &b"\x16"[..], REQUEST, &[0xff; 100_000]] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(sent).await.ok();
        let mut answer = Vec::new();
        within(client.read_to_end(&mut answer)).await.ok();
        assert!(
            !answer.starts_with(b"HTTP"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    let _waiting = TcpStream::connect(address).await.unwrap();
    stop.cancel();
    within(served.join_next()).await.unwrap().unwrap().unwrap();
}
