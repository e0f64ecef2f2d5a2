//! The ports of a region over one connection.

use std::sync::Arc;

use super::connection::Connection;
use super::journal::NatsJournal;
use super::lease::NatsLeases;
use super::log::NatsLog;
use super::peer::NatsPeers;
use crate::Ports;

impl Connection {
    /// The ports over this connection.
    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports {
            names: self.names().clone(),
            log: Arc::new(NatsLog::new(self.clone())),
            journal: Arc::new(NatsJournal::new(self.clone())),
            leases: Arc::new(NatsLeases::new(self.clone())),
            peers: Arc::new(NatsPeers::new(self.clone())),
        }
    }
}
