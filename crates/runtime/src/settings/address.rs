//! Addresses to listen on or to connect to.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use isthmus_replication::names::InvalidName;
use schemars::JsonSchema;
use serde::Deserialize;

/// A network address, either literal or to be looked up (design.md section 7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum Address {
    /// `host:port`: one address, used as it is.
    HostPort {
        /// A name, an IPv4 address, or an IPv6 address without its brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// `dns:name:port`: every A and AAAA record of the name.
    Dns {
        /// The name to look up.
        name: String,
        /// 1 to 65535.
        port: u16,
    },
    /// `srv:name`: every SRV record of the name, ports included.
    Srv {
        /// The name to look up.
        name: String,
    },
}

/// A NATS server: `nats://host:port`, `tls://host:port`, or found through DNS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum NatsServer {
    /// A URL without credentials.
    Url(String),
    /// `dns:name:port` or `srv:name`.
    Discovered(Address),
}

/// The address that a process listens on: an IP address and a port; with port 0 the system chooses
/// a free port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Listen(pub SocketAddr);

/// The URL of an OTLP receiver: `http://`, without credentials. `https://` parses too, but no TLS
/// feature of the exporter is enabled.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Endpoint(pub String);

/// A string that is not a valid address; the text names the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Not one of the three forms of [`Address`].
    #[error("{0:?} is not an address; write host:port, dns:name:port or srv:name")]
    Form(String),
    /// Not an IP address and port.
    #[error("{0:?} is not a listener; write an IP address and a port, such as 127.0.0.1:7110")]
    Listen(String),
    /// Not a NATS URL.
    #[error("{0:?} is not a NATS server; write nats://host:port, tls://host:port, dns:name:port or srv:name")]
    Nats(String),
    /// Not an HTTP URL.
    #[error(
        "{0:?} is not the URL of an OTLP receiver; write http://host:port (a collector nearby can forward it over TLS)"
    )]
    Endpoint(String),
    /// A user name or password in a URL; the error omits the URL so that no log shows it.
    #[error("a URL must not hold a user name or password; name a credentials file with nats.credentials")]
    Secret,
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let wrong = || InvalidAddress::Form(text.to_owned());
        if let Some(name) = text.strip_prefix("srv:") {
            return if is_host(name) {
                Ok(Self::Srv {
                    name: name.to_owned(),
                })
            } else {
                Err(wrong())
            };
        }
        let (dns, rest) = match text.strip_prefix("dns:") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (host, port) = host_port(rest).ok_or_else(wrong)?;
        if dns && !is_host(&host) {
            return Err(wrong());
        }
        Ok(if dns {
            Self::Dns { name: host, port }
        } else {
            Self::HostPort { host, port }
        })
    }
}

fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        v6.parse::<std::net::Ipv6Addr>().ok()?;
        return Some((v6.to_owned(), port));
    }
    is_host(host).then(|| (host.to_owned(), port))
}

fn is_host(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(allowed)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostPort { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::HostPort { host, port } => write!(f, "{host}:{port}"),
            Self::Dns { name, port } => write!(f, "dns:{name}:{port}"),
            Self::Srv { name } => write!(f, "srv:{name}"),
        }
    }
}

impl FromStr for NatsServer {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if text.contains('@') {
            return Err(InvalidAddress::Secret);
        }
        let wrong = || InvalidAddress::Nats(text.to_owned());
        if text.starts_with("dns:") || text.starts_with("srv:") {
            return text.parse().map(Self::Discovered).map_err(|_| wrong());
        }
        let place = text
            .strip_prefix("nats://")
            .or_else(|| text.strip_prefix("tls://"))
            .ok_or_else(wrong)?;
        host_port(place).ok_or_else(wrong)?;
        Ok(Self::Url(text.to_owned()))
    }
}

impl NatsServer {
    /// The URL to connect to, which may contain a name that is resolved at each connection.
    ///
    /// # Errors
    /// The name, if SRV records have to be looked up instead.
    pub fn url(&self) -> Result<String, &str> {
        match self {
            Self::Url(url) => Ok(url.clone()),
            Self::Discovered(Address::Dns { name: host, port } | Address::HostPort { host, port }) => {
                Ok(format!("nats://{host}:{port}"))
            }
            Self::Discovered(Address::Srv { name }) => Err(name),
        }
    }
}

impl fmt::Display for NatsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Discovered(address) => address.fmt(f),
        }
    }
}

impl FromStr for Listen {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        text.parse()
            .map(Self)
            .map_err(|_| InvalidAddress::Listen(text.to_owned()))
    }
}

impl FromStr for Endpoint {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if text.contains('@') {
            return Err(InvalidAddress::Secret);
        }
        let place = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        match place {
            Some(place) if !place.is_empty() && !place.contains(char::is_whitespace) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidAddress::Endpoint(text.to_owned())),
        }
    }
}

macro_rules! from_string {
    ($($type:ident),+) => { $(
        impl TryFrom<String> for $type {
            type Error = InvalidAddress;

            fn try_from(text: String) -> Result<Self, InvalidAddress> {
                text.parse()
            }
        }
    )+ };
}
from_string!(Address, NatsServer, Listen, Endpoint);

/// A validated name (set, region, group, bucket, process) in a settings file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name<T>(pub T);

impl<'de, T: FromStr<Err = InvalidName>> Deserialize<'de> for Name<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl<T> JsonSchema for Name<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[a-z0-9-]{1,32}$" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_address_prints_as_it_is_written() {
        for text in [
            "127.0.0.1:7121",
            "gw.example.org:443",
            "[::1]:7121",
            "dns:gw.eu-west.example.org:7443",
            "srv:_isthmus._tcp.example.org",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_forms() {
        for text in [
            "",
            "host",
            "host:",
            ":7",
            "host:0",
            "host:65536",
            "dns:host",
            "dns:[::1]:7443",
            "srv:",
            "srv:a b",
            "http://host:1",
            "[::1:7",
            "::1:x",
        ] {
            let refusal = text.parse::<Address>().unwrap_err().to_string();
            assert!(refusal.contains("dns:name:port"), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_nats_url_with_a_secret_is_refused_without_repeating_it() {
        assert!("nats://127.0.0.1:7041".parse::<NatsServer>().is_ok());
        assert!("dns:nats.example.org:4222".parse::<NatsServer>().is_ok());
        for text in ["127.0.0.1:4222", "http://a:1", "nats://host", "nats://"] {
            assert!(text.parse::<NatsServer>().is_err(), "{text}");
        }
        let refusal = "nats://user:hunter2@host:4222"
            .parse::<NatsServer>()
            .unwrap_err()
            .to_string();
        assert!(!refusal.contains("hunter2") && refusal.contains("nats.credentials"));
    }

    #[test]
    fn a_listener_is_an_ip_address_and_a_port() {
        assert!("127.0.0.1:0".parse::<Listen>().is_ok());
        assert!("[::1]:7110".parse::<Listen>().is_ok());
        for text in ["7110", "localhost:7110", ":7110", "127.0.0.1"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
