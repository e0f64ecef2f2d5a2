//! Three nats-servers of one region.

use super::ports::free_port;
use super::server::{NatsServer, NatsServerSettings};

/// Three servers, so that a stream can have a replica on each. JetStream elects its leader within
/// seconds of the start.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts the three servers. Blocks until each answers.
    ///
    /// # Panics
    /// If one does not start.
    #[must_use]
    pub fn start() -> Self {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let routes: Vec<String> = ports
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{port}\""))
            .collect();
        let routes = routes.join(", ");
        let server = |(index, port): (usize, &u16)| {
            NatsServer::start_with(&NatsServerSettings {
                name: format!("n{}", index + 1),
                lines: format!("cluster {{ name: region, listen: 127.0.0.1:{port}, routes: [{routes}] }}"),
                jetstream: String::new(),
            })
        };
        Self {
            servers: ports.iter().enumerate().map(server).collect(),
        }
    }

    /// The URLs for clients: any of the servers.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// The server called `name` (`n1`, `n2`, `n3`), the name that JetStream uses for leaders.
    #[must_use]
    pub fn server(&mut self, name: &str) -> Option<&mut NatsServer> {
        let index: usize = name.strip_prefix('n')?.parse().ok()?;
        self.servers.get_mut(index.checked_sub(1)?)
    }

    /// All three servers.
    pub fn servers(&mut self) -> impl Iterator<Item = &mut NatsServer> {
        self.servers.iter_mut()
    }
}
