//! Connects a process to its region: finds the NATS servers, connects to them and checks their
//! streams.

use std::path::PathBuf;

use isthmus_log::nats::{Connection, ConnectionSettings, ConnectionState, Readers};
use isthmus_log::{ConnectError, EnsureError, LogSettings, Ports, RegionNames, Role};
use isthmus_runtime::health::Condition;
use isthmus_runtime::settings::{NatsServer, ProcessSettings};
use tokio::sync::watch;

use crate::names::{LookupError, Names};

/// The client of a region's NATS.
#[derive(Debug)]
pub struct Client {
    /// The role of a process; `None` for an operator's command.
    pub role: Option<Role>,
    /// The name of the connection in NATS, which is also the name of the process's slots.
    pub name: String,
    /// The consumers through which it reads streams.
    pub readers: Readers,
    /// A NATS credentials file, or a file with the seed of an nkey.
    pub credentials: Option<PathBuf>,
}

impl Client {
    /// The client of the process with these settings.
    #[must_use]
    pub fn of_process(process: &ProcessSettings, role: Role) -> Self {
        Self {
            role: Some(role),
            name: process.name.to_string(),
            readers: Readers::of(process.log.create, process.set.readers()),
            credentials: process.nats.credentials.clone(),
        }
    }
}

/// The connection to a region failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectRegionError {
    /// A server in the settings has no address.
    #[error("nats.servers: srv:{name} can't be looked up; correct the name or the machine's resolver")]
    Lookup {
        /// The name.
        name: String,
        /// The cause.
        source: LookupError,
    },
    /// The settings can't work.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Connects to the region's NATS. The connection is established in the background and
/// re-established for ever.
///
/// # Errors
/// [`ConnectRegionError`].
pub async fn connect_region(
    process: &ProcessSettings,
    client: Client,
    names: &dyn Names,
) -> Result<Connection, ConnectRegionError> {
    let settings = ConnectionSettings {
        servers: urls(&process.nats.servers, names).await?,
        credentials: client.credentials,
        ca: process.nats.ca.clone(),
        domain: process.nats.domain.clone(),
        role: client.role,
        process: client.name,
        readers: client.readers,
        names: RegionNames {
            set: process.set.name.clone(),
            region: process.region.clone(),
        },
    };
    Ok(Connection::open(settings).await?)
}

/// The URLs of the servers. A name with address records is resolved at each connection; SRV records
/// are resolved here.
async fn urls(servers: &[NatsServer], names: &dyn Names) -> Result<Vec<String>, ConnectRegionError> {
    let mut urls = Vec::new();
    for server in servers {
        match server.url() {
            Ok(url) => urls.push(url),
            Err(name) => {
                let found = names.services(name).await;
                let found = found.and_then(|found| match found.is_empty() {
                    true => Err(LookupError::Empty),
                    false => Ok(found),
                });
                let found = found.map_err(|source| ConnectRegionError::Lookup {
                    name: name.to_owned(),
                    source,
                })?;
                urls.extend(found.into_iter().map(|(host, port)| {
                    let host = host.trim_end_matches('.');
                    format!("nats://{host}:{port}")
                }));
            }
        }
    }
    Ok(urls)
}

/// The required settings of the region's logs.
#[must_use]
pub fn log_settings(process: &ProcessSettings) -> LogSettings {
    LogSettings {
        create: process.log.create,
        replicas: process.log.replicas,
        max_bytes: process.log.max_bytes.0,
    }
}

/// Waits until the region's NATS answers and has the streams and leases that the process needs.
/// `condition` shows the reason for waiting.
///
/// # Errors
/// If a server does not support the size of the set's values, or a stream differs from the
/// settings.
pub async fn check_region(
    process: &ProcessSettings,
    ports: &Ports,
    connection: &mut watch::Receiver<ConnectionState>,
    condition: &Condition,
) -> anyhow::Result<()> {
    condition.unmet("connecting to NATS");
    connection.wait_for(|state| state.connected).await?;
    if let Some(max_payload) = ports.log.max_message_bytes() {
        process.set.check_max_payload(max_payload as u64)?;
    }
    let shards = process.set.shards_for(&process.region);
    let waits = |error: &EnsureError| condition.unmet(error.to_string());
    let ensured = ports.ensure(&shards, &log_settings(process), waits).await;
    ensured.map_err(|error| process.at_log(error.setting(), error))?;
    condition.met();
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::IpAddr;

    use futures::future::BoxFuture;

    use super::*;

    struct OneService;

    impl Names for OneService {
        fn hosts<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, LookupError>> {
            Box::pin(async { Err(LookupError::Empty) })
        }

        fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<(String, u16)>, LookupError>> {
            Box::pin(async move {
                Ok(match name {
                    "_nats._tcp.example.org" => vec![("n1.example.org.".to_owned(), 4223)],
                    _ => Vec::new(),
                })
            })
        }
    }

    async fn urls_of(servers: &[&str]) -> Result<Vec<String>, ConnectRegionError> {
        let servers: Vec<NatsServer> = servers.iter().map(|text| text.parse().unwrap()).collect();
        urls(&servers, &OneService).await
    }

    #[tokio::test]
    async fn addresses_names_and_services_become_urls() {
        let servers = [
            "nats://127.0.0.1:4222",
            "dns:nats.example.org:4222",
            "srv:_nats._tcp.example.org",
        ];
        let expected = [
            "nats://127.0.0.1:4222",
            "nats://nats.example.org:4222",
            "nats://n1.example.org:4223",
        ];
        assert_eq!(urls_of(&servers).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_service_without_a_server_is_an_error_that_names_it() {
        let error = urls_of(&["srv:_nats._tcp.elsewhere.org"]).await.unwrap_err();
        assert!(
            error.to_string().contains("srv:_nats._tcp.elsewhere.org"),
            "{error}"
        );
    }
}
