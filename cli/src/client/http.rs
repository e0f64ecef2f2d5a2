//! HTTP with bounds, and errors that name who did not answer.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Why a request got no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// Nobody answered.
    #[error("{url} does not answer; is the process running?")]
    NoAnswer {
        /// The URL asked.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is an error.
    #[error("{url} answered {status}: {problem}")]
    Refused {
        /// The URL asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        problem: Problem,
        /// Its headers.
        headers: Box<HeaderMap>,
    },
    /// The answer is not what this program expects.
    #[error("{url} answered with something else")]
    Unreadable {
        /// The URL asked.
        url: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl HttpError {
    /// Whether the same request may succeed later: nobody answered, or the answer says so.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::Refused { problem, .. } => problem.retryable,
            Self::Unreadable { .. } => false,
        }
    }

    /// Whether the answer says that what was asked is wrong, and not the process or its machine.
    pub(crate) fn blames_arguments(&self) -> bool {
        matches!(self, Self::Refused { problem, .. } if blames_arguments(&problem.code))
    }
}

/// Whether a door's code says that the arguments of a request are wrong.
pub(crate) fn blames_arguments(code: &str) -> bool {
    code.starts_with("invalid_") || code == "unknown_bucket"
}

/// An RFC 9457 problem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// The stable code.
    pub(crate) code: String,
    /// What happened.
    pub(crate) detail: String,
    /// Whether the same request may succeed later.
    pub(crate) retryable: bool,
}

impl Problem {
    /// Whether it says that the key is absent, deleted or expired, and not that the URL is unknown.
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

/// A client of this machine's own processes, whose requests end within 10 s unless they say otherwise.
pub(crate) fn client() -> Client {
    bounded().build().unwrap_or_default()
}

/// What every client keeps to.
pub(crate) fn bounded() -> ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN)
        .no_proxy()
}

/// Sends a request and returns a good answer.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response, HttpError> {
    let (client, request) = request.build_split();
    let request = request.map_err(|source| HttpError::NoAnswer {
        url: String::new(),
        source,
    })?;
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
