//! A loopback listener that represents one gateway of another region.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::connection::{Route, serve};

/// Maximum number of open connections of one link; more wait in the listener's backlog.
const CONNECTIONS: usize = 256;
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// The way from region `from` to one gateway of region `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The region that dials.
    pub from: String,
    /// The region that is dialled.
    pub to: String,
    /// The address to dial.
    pub proxy: SocketAddr,
    /// The gateway that connections reach.
    pub target: SocketAddr,
}

/// Accepts on `listener` for ever; dropping the future closes every connection.
pub(crate) async fn run(listener: TcpListener, target: SocketAddr, route: Route) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((dialler, _)) => {
                    connections.spawn(serve(dialler, target, route.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
                }
            },
        }
    }
}
