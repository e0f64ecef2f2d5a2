//! The proof of identity that a command presents at a door that requires one.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Identity, Url};

use super::http;
use crate::failure::Failure;

/// Proof of identity for doors with TLS and authentication; a folder's own processes need none.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS and authentication")]
pub(crate) struct Proof {
    /// A file that holds the token to present
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The CAs (PEM) to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate to present, with its key in the same file (PEM)
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

/// Why a proof cannot be presented.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    #[error("can't read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} contains no token: put the line there that `isthmus token` printed", .0.display())]
    NoToken(PathBuf),
    #[error("{} can't be used: {wanted}", path.display())]
    Pem {
        path: PathBuf,
        wanted: &'static str,
        #[source]
        source: reqwest::Error,
    },
    #[error(
        "anyone on the path to {0} could read the token: use https://, or run this on the machine itself"
    )]
    InTheClear(String),
    #[error("the HTTP client could not be created")]
    Client(#[source] reqwest::Error),
}

impl Proof {
    /// Only the CAs: for servers that must not learn the caller's identity.
    pub(crate) fn of_nobody(&self) -> Self {
        Self {
            ca: self.ca.clone(),
            ..Self::default()
        }
    }

    /// A client that presents the proof at the doors `via`. Without any, it asks a folder's own
    /// processes, which are on this machine.
    pub(crate) fn client<'a>(&self, via: impl IntoIterator<Item = &'a String>) -> Result<Client, ProofError> {
        let mut builder = http::bounded();
        if let Some(path) = &self.token_file {
            if let Some(open) = via.into_iter().find(|url| is_read_on_the_way(url)) {
                return Err(ProofError::InTheClear(open.clone()));
            }
            builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer(path)?)]));
        }
        if let Some(path) = &self.ca {
            let unusable = pem(path, "put the PEM of one or more CAs there");
            let cas = Certificate::from_pem_bundle(&read(path)?).map_err(unusable)?;
            builder = builder.tls_certs_only(cas);
        }
        if let Some(path) = &self.identity {
            let unusable = pem(path, "put the PEM of a certificate and of its key there");
            let identity = Identity::from_pem(&read(path)?).map_err(unusable)?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(ProofError::Client)
    }
}

impl From<ProofError> for Failure {
    fn from(error: ProofError) -> Self {
        Self::settings(error)
    }
}

/// Whether a request to `url` leaves this machine unencrypted.
fn is_read_on_the_way(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let address: Result<IpAddr, _> = host.trim_start_matches('[').trim_end_matches(']').parse();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme() == "http" && !is_here
}

fn bearer(path: &Path) -> Result<HeaderValue, ProofError> {
    let text = read(path)?;
    let token = text.trim_ascii();
    let none = || ProofError::NoToken(path.to_owned());
    if token.is_empty() {
        return Err(none());
    }
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).map_err(|_| none())?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(path: &Path) -> Result<Vec<u8>, ProofError> {
    std::fs::read(path).map_err(|source| ProofError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn pem(path: &Path, wanted: &'static str) -> impl FnOnce(reqwest::Error) -> ProofError {
    let path = path.to_owned();
    move |source| ProofError::Pem { path, wanted, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_nowhere_where_it_could_be_read_on_the_way() {
        for (url, read) in [
            ("http://127.0.0.1:7110", false),
            ("http://[::1]:7110", false),
            ("http://LOCALHOST:7110", false),
            ("https://10.0.8.21:7110", false),
            ("http://10.0.8.21:7110", true),
            ("http://agent.example.org", true),
            ("HTTP://[2001:db8::1]:7110/", true),
            ("http://127.0.0.1.example.org", true),
            ("not a url", false),
        ] {
            assert_eq!(is_read_on_the_way(url), read, "{url}");
        }
    }

    #[test]
    fn a_command_with_a_token_asks_no_open_door_of_another_machine() -> Result<(), Box<dyn std::error::Error>>
    {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), "isthmus_x\n")?;
        let proof = Proof {
            token_file: Some(file.path().to_owned()),
            ..Proof::default()
        };
        let (here, there) = ("http://127.0.0.1:1".to_owned(), "http://10.0.8.21:1".to_owned());
        assert!(proof.client([&here]).is_ok());
        let refused = proof.client([&here, &there]);
        assert!(
            matches!(&refused, Err(ProofError::InTheClear(url)) if *url == there),
            "{refused:?}"
        );
        assert!(Proof::default().client([&there]).is_ok());
        Ok(())
    }
}
