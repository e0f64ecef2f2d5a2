//! HTTP with bounds, and errors that name the URL that did not answer.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The request can't be sent as it is.
    #[error("the request can't be sent: check the URL")]
    NoRequest(#[source] reqwest::Error),
    #[error("{url} does not answer; is the process running?")]
    NoAnswer {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// The answer is an error.
    #[error("{url} answered {status}: {problem}")]
    Refused {
        url: String,
        status: u16,
        problem: Problem,
        headers: Box<HeaderMap>,
    },
    /// The answer is not what this program expects.
    #[error("{url} gave an unexpected answer")]
    Unreadable {
        url: String,
        #[source]
        source: serde_json::Error,
    },
}

impl HttpError {
    /// Whether the same request may succeed later: no answer came, or the answer is marked as
    /// retryable.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::Refused { problem, .. } => problem.retryable,
            Self::Unreadable { .. } | Self::NoRequest(_) => false,
        }
    }

    /// Whether the answer blames the arguments, and not the process or its machine.
    pub(crate) fn blames_arguments(&self) -> bool {
        match self {
            Self::Refused { problem, .. } => blames_arguments(&problem.code),
            Self::NoRequest(_) => true,
            Self::NoAnswer { .. } | Self::Unreadable { .. } => false,
        }
    }
}

/// Whether an error code of a door means that the arguments of a request are wrong.
pub(crate) fn blames_arguments(code: &str) -> bool {
    code.starts_with("invalid_") || code == "unknown_bucket"
}

/// An RFC 9457 problem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// The stable code.
    pub(crate) code: String,
    pub(crate) detail: String,
    /// Whether the same request may succeed later.
    pub(crate) retryable: bool,
}

impl Problem {
    /// Whether the key is absent, deleted or expired, as opposed to an unknown URL.
    pub(crate) fn is_absence(&self) -> bool {
        self.code == "not_found"
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code.as_str(), self.detail.as_str()) {
            ("", detail) => f.write_str(detail),
            (code, "") => f.write_str(code),
            (code, detail) => write!(f, "{code}: {detail}"),
        }
    }
}

/// A client for processes on this machine. Its requests end within 10 s unless they set another
/// timeout.
pub(crate) fn client() -> Client {
    bounded().build().unwrap_or_default()
}

/// The bounds of every client.
pub(crate) fn bounded() -> ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN)
        .no_proxy()
}

/// Sends a request and returns its answer if that is a success.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response, HttpError> {
    let (client, request) = request.build_split();
    let request = request.map_err(HttpError::NoRequest)?;
    let url = request.url().to_string();
    let answer = client.execute(request).await;
    let answer = answer.map_err(|source| HttpError::NoAnswer {
        url: url.clone(),
        source: source.without_url(),
    })?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status().as_u16();
    let headers = Box::new(answer.headers().clone());
    let text = answer.text().await.unwrap_or_default();
    let problem = serde_json::from_str(&text).unwrap_or_else(|_| Problem {
        detail: text.trim().to_owned(),
        ..Problem::default()
    });
    Err(HttpError::Refused {
        url,
        status,
        problem,
        headers,
    })
}

/// Sends a request and reads its JSON answer.
pub(crate) async fn json<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, HttpError> {
    let answer = send(request).await?;
    let url = answer.url().to_string();
    let body = answer.bytes().await;
    let body = body.map_err(|source| HttpError::NoAnswer {
        url: url.clone(),
        source: source.without_url(),
    })?;
    serde_json::from_slice(&body).map_err(|source| HttpError::Unreadable { url, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_blamed_by_codes_of_arguments_alone() {
        for code in ["invalid_ttl", "invalid_bucket", "unknown_bucket"] {
            assert!(blames_arguments(code), "{code}");
        }
        for code in ["", "not_found", "unknown_path", "value_too_large", "not_ready"] {
            assert!(!blames_arguments(code), "{code}");
        }
    }
}
