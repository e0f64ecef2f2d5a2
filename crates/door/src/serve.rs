//! Listeners: bound early, served late, with a bound on connections.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Connections of one door at a time; more wait to be accepted.
pub const CONNECTIONS: usize = 4096;

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("{address} is in use by another process; stop it, or listen elsewhere")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The machine does not allow it.
    #[error("can't listen on {address}: {source}; use an address of this machine and a port above 1023")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Other machines could reach a door that has neither TLS nor authentication.
    #[error(
        "{address} can be reached from other machines, and this door has neither TLS nor authentication; use 127.0.0.1"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
}

/// Listens on `address` and says where: port 0 takes any free one. Connections wait until [`serve`].
///
/// # Errors
/// [`BindError`]; the process exits with 1.
pub async fn bind(door: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            _ => BindError::Refused { address, source },
        })?;
    match listener.local_addr() {
        Ok(address) => tracing::info!(door, %address, "listens"),
        Err(source) => return Err(BindError::Refused { address, source }),
    }
    Ok(listener)
}

/// Like [`bind`], on a loopback address alone: for doors without TLS and authentication (design.md section 6).
///
/// # Errors
/// [`BindError`].
pub async fn bind_loopback(door: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    if !address.ip().is_loopback() {
        return Err(BindError::NotLoopback { address });
    }
    bind(door, address).await
}

/// Serves `router` on `listener` until `stop`, then finishes the requests that have begun.
///
/// # Errors
/// The listener's own.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    let bounded = Bounded {
        listener,
        permits: Arc::new(Semaphore::new(CONNECTIONS)),
    };
    axum::serve(bounded, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// Accepts a connection only when there is a permit for it.
struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

/// A connection that gives its permit back when it ends.
struct Permitted {
    stream: TcpStream,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Listener for Bounded {
    type Io = Permitted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Permitted, SocketAddr) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended as it began");
        }
        (
            Permitted {
                stream,
                _permit: permit,
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Permitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Permitted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::Future;
    use std::time::Duration;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinSet;

    use super::*;

    const BOUND: Duration = Duration::from_secs(10);
    const REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

    async fn within<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(BOUND, future).await.unwrap()
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
        async fn open() -> Self {
            let token = CancellationToken::new;
            let (begun, finish, stop) = (token(), token(), token());
            let (begins, waits) = (begun.clone(), finish.clone());
            let slow = async move || {
                begins.cancel();
                waits.cancelled().await;
                "finished"
            };
            let router = Router::new().route("/slow", get(slow));
            let listener = bind_loopback("test", "127.0.0.1:0".parse().unwrap())
                .await
                .unwrap();
            let address = listener.local_addr().unwrap();
            let served = JoinSet::from_iter([serve(listener, router, stop.clone())]);
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
        let door = SlowDoor::open().await;
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
        let door = SlowDoor::open().await;
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut bounded = Bounded {
            listener,
            permits: Arc::new(Semaphore::new(1)),
        };
        let (_one, _two) = (
            TcpStream::connect(address).await.unwrap(),
            TcpStream::connect(address).await.unwrap(),
        );
        let (first, _) = within(bounded.accept()).await;
        assert_eq!(bounded.permits.available_permits(), 0);
        let mut second = Box::pin(bounded.accept());
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        within(second).await;
    }

    #[tokio::test]
    async fn addresses_that_cannot_be_used_are_told_with_the_mend() {
        let taken = bind("test", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = taken.local_addr().unwrap();
        let in_use = bind("test", address).await.unwrap_err();
        assert!(matches!(in_use, BindError::InUse { .. }), "{in_use}");
        let foreign = bind("test", "192.0.2.1:7110".parse().unwrap()).await.unwrap_err();
        assert!(matches!(foreign, BindError::Refused { .. }), "{foreign}");
        let open = bind_loopback("test", "0.0.0.0:0".parse().unwrap())
            .await
            .unwrap_err();
        assert!(
            open.to_string().contains("neither TLS nor authentication"),
            "{open}"
        );
    }
}
