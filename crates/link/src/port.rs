//! The port through which a gateway opens and accepts links: over TLS with authenticated
//! identities, or over the simulator's network, which trusts the identities of its ends.

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

/// Opens links to the gateways of peer regions.
#[async_trait]
pub trait Links: Debug + Send + Sync {
    /// Opens a link to the gateway at `address`, which must prove that it belongs to `region`.
    ///
    /// # Errors
    /// [`DialError`].
    async fn dial(
        &self,
        address: SocketAddr,
        region: &RegionName,
        limits: &LinkLimits,
    ) -> Result<Connection, DialError>;

    /// Waits until `peer`, the peer of an open link, would be refused; for ever if it never is.
    async fn until_refused(&self, peer: &Peer) -> Refusal;
}

/// Accepts links from the gateways of peer regions.
#[async_trait]
pub trait Accepts: Send {
    /// The next link, or why a connection did not become one. Cancel safe.
    ///
    /// # Errors
    /// [`AcceptError`], to be logged and counted; accepting continues.
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
