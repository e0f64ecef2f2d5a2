//! The port through which a gateway makes and accepts links: over TLS with proven identities, or over the simulator's
//! network, whose ends are who they say they are.

use std::fmt::Debug;
use std::net::SocketAddr;

use async_trait::async_trait;
use isthmus_replication::names::RegionName;

use crate::connection::Connection;
use crate::credentials::Credentials;
use crate::dial::{DialError, dial};
use crate::limits::LinkLimits;
use crate::listen::{AcceptError, Listener};
use crate::peer::Peer;
use crate::refusal::Refusal;

/// Makes links to the gateways of peer regions.
#[async_trait]
pub trait Links: Debug + Send + Sync {
    /// Makes a link to the gateway at `address`, which must prove that it speaks for `region`.
    ///
    /// # Errors
    /// [`DialError`].
    async fn dial(
        &self,
        address: SocketAddr,
        region: &RegionName,
        limits: &LinkLimits,
    ) -> Result<Connection, DialError>;

    /// Waits until `peer`, of a link that stands, would be refused: for ever while it would not.
    async fn until_refused(&self, peer: &Peer) -> Refusal;
}

/// Accepts links from the gateways of peer regions.
#[async_trait]
pub trait Accepts: Send {
    /// The next link, or why a connection did not become one. May be dropped and called again without loss.
    ///
    /// # Errors
    /// [`AcceptError`], to be logged and counted; accepting goes on.
    async fn next(&mut self) -> Result<Connection, AcceptError>;
}

#[async_trait]
impl Links for Credentials {
    async fn dial(
        &self,
        address: SocketAddr,
        region: &RegionName,
        limits: &LinkLimits,
    ) -> Result<Connection, DialError> {
        dial(address, region, self, limits).await
    }

    async fn until_refused(&self, peer: &Peer) -> Refusal {
        Credentials::until_refused(self, peer).await
    }
}

#[async_trait]
impl Accepts for Listener {
    async fn next(&mut self) -> Result<Connection, AcceptError> {
        Listener::next(self).await
    }
}
