//! What a command proves itself with at a door that asks for it.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Identity};

use super::http;
use crate::failure::Failure;

/// For doors with TLS and callers who prove themselves; a folder's own processes need none of it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "At a door with TLS and authentication")]
pub(crate) struct Proof {
    /// A file that holds the token to present
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The CAs (PEM) that vouch for the door, in the place of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate to present, with its key in the same file (PEM)
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

/// What can't be presented.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    #[error("can't read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} holds no token: put the one line there that `isthmus token` printed", .0.display())]
    NoToken(PathBuf),
    #[error("{} can't be used: {wanted}", path.display())]
    Pem {
        path: PathBuf,
        wanted: &'static str,
        #[source]
        source: reqwest::Error,
    },
    #[error("no client came to be")]
    Client(#[source] reqwest::Error),
}

impl Proof {
    /// A client that presents it.
    pub(crate) fn client(&self) -> Result<Client, ProofError> {
        let mut builder = http::bounded();
        if let Some(path) = &self.token_file {
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
