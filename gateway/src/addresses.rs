//! The addresses of a peer region's gateways: addresses as written, and names that are looked up
//! again while dialling.
//!
//! A name whose lookup fails or gives no address keeps its last good answer (design.md section 7).
//! Addresses are dialled in turn, so that a peer with one gateway down is reached at the next dial.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use isthmus_door::names::{LookupError, Names};
use isthmus_replication::time::Mono;
use isthmus_runtime::settings::Address;

#[cfg(test)]
mod tests;

/// A name is looked up again when its last lookup is older than this.
pub const POLL: Duration = Duration::from_secs(2);
/// How long one lookup may take.
pub const LOOKUP: Duration = Duration::from_secs(2);
/// At most this many addresses are kept for one written address.
pub const ANSWERS: usize = 64;

/// The addresses of one peer region's gateways.
pub struct PeerAddresses {
    written: Vec<Address>,
    names: Arc<dyn Names>,
    known: BTreeMap<usize, Known>,
    turn: usize,
}

/// The last good answer to one written address.
#[derive(Debug, Clone, Default)]
struct Known {
    sockets: Vec<SocketAddr>,
    asked: Option<Mono>,
}

impl PeerAddresses {
    /// The gateways at `written`, which has at least one entry. Names are resolved by `names`.
    #[must_use]
    pub fn new(written: Vec<Address>, names: Arc<dyn Names>) -> Self {
        Self {
            written,
            names,
            known: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Returns the next address to dial, after looking up the names that are due.
    ///
    /// # Errors
    /// The error of the last failed lookup, if no name was ever resolved.
    pub async fn next(&mut self, now: Mono) -> Result<SocketAddr, LookupError> {
        let mut failure = LookupError::Empty;
        for index in 0..self.written.len() {
            if let Err(error) = self.refresh(index, now).await {
                failure = error;
            }
        }
        let all = self.all();
        let socket = all.get(self.turn % all.len().max(1)).copied();
        self.turn = self.turn.wrapping_add(1);
        socket.ok_or(failure)
    }

    /// All known addresses, in the order written, each once.
    #[must_use]
    pub fn all(&self) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        for socket in self.known.values().flat_map(|known| &known.sockets) {
            if !all.contains(socket) {
                all.push(*socket);
            }
        }
        all
    }

    async fn refresh(&mut self, index: usize, now: Mono) -> Result<(), LookupError> {
        let known = self.known.entry(index).or_default();
        if known.asked.is_some_and(|asked| now.since(asked) < POLL) {
            return Ok(());
        }
        known.asked = Some(now);
        let answer = resolve(&self.written[index], &*self.names).await?;
        if answer.is_empty() {
            return Err(LookupError::Empty);
        }
        known.sockets = answer;
        Ok(())
    }
}

async fn resolve(address: &Address, names: &dyn Names) -> Result<Vec<SocketAddr>, LookupError> {
    let answer = async {
        match address {
            Address::HostPort { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => Ok(vec![SocketAddr::new(ip, *port)]),
                Err(_) => hosts(host, *port, names).await,
            },
            Address::Dns { name, port } => hosts(name, *port, names).await,
            Address::Srv { name } => {
                let mut sockets = Vec::new();
                for (target, port) in names.services(name).await? {
                    sockets.extend(hosts(&target, port, names).await?);
                }
                Ok(sockets)
            }
        }
    };
    let mut sockets = tokio::time::timeout(LOOKUP, answer)
        .await
        .unwrap_or(Err(LookupError::Slow(LOOKUP)))?;
    sockets.sort_unstable();
    sockets.truncate(ANSWERS);
    Ok(sockets)
}

async fn hosts(name: &str, port: u16, names: &dyn Names) -> Result<Vec<SocketAddr>, LookupError> {
    let hosts = names.hosts(name).await?;
    Ok(hosts.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}
