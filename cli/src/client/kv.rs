//! Single keys over an agent's HTTP door (design.md section 6).

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response};
use serde::{Deserialize, Serialize};

use super::http::{HttpError, json, send};

/// Every byte that is encoded in a path. `/` is one of them, so that `.` and `..` stay parts of a
/// key.
const IN_A_KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// Added to the time that a server may wait, before the client gives up.
const GRACE: Duration = Duration::from_secs(2);

/// A bucket and a key in it, written `BUCKET/KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

/// Text that is not `BUCKET/KEY`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not BUCKET/KEY")]
pub(crate) struct NotAPlace(String);

impl std::str::FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        match text.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(Self {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            }),
            _ => Err(NotAPlace(text.to_owned())),
        }
    }
}

impl Place {
    fn url(&self, door: &str) -> String {
        self.in_path(&format!("{door}/v1/kv"))
    }

    /// The URL of this key under `path`.
    pub(crate) fn in_path(&self, path: &str) -> String {
        format!(
            "{path}/{}/{}",
            self.bucket,
            utf8_percent_encode(&self.key, IN_A_KEY)
        )
    }
}

/// The expiry of a write, and how it is acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) ttl: Option<String>,
    pub(crate) consistency: Option<String>,
    pub(crate) timeout: Option<Duration>,
}

impl Terms {
    fn query(&self) -> String {
        let mut parts = Vec::new();
        if let Some(ttl) = &self.ttl {
            parts.push(format!("ttl={}", utf8_percent_encode(ttl, IN_A_KEY)));
        }
        if let Some(consistency) = &self.consistency {
            parts.push(format!(
                "consistency={}",
                utf8_percent_encode(consistency, IN_A_KEY)
            ));
        }
        if let Some(timeout) = self.timeout {
            parts.push(format!("timeout={}ms", timeout.as_millis()));
        }
        if parts.is_empty() {
            String::new()
        } else {
            format!("?{}", parts.join("&"))
        }
    }
}

/// An acknowledged write.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Written {
    pub(crate) version: String,
    pub(crate) session: String,
    pub(crate) regions: Vec<String>,
    pub(crate) superseded: bool,
}

/// The result of a read.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) version: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) session: Option<String>,
    /// When the agent applied it, if the agent reports that.
    pub(crate) applied: Option<String>,
    pub(crate) content_type: Option<String>,
    /// `None` if the key is absent, deleted or expired.
    pub(crate) value: Option<Vec<u8>>,
}

pub(crate) async fn put(
    client: &Client,
    door: &str,
    place: &Place,
    value: Vec<u8>,
    content_type: &str,
    terms: &Terms,
) -> Result<Written, HttpError> {
    let request = client
        .put(place.url(door) + &terms.query())
        .header(CONTENT_TYPE, content_type)
        .body(value);
    json(request.timeout(patience(terms.timeout))).await
}

/// Writes a tombstone.
pub(crate) async fn delete(
    client: &Client,
    door: &str,
    place: &Place,
    terms: &Terms,
) -> Result<Written, HttpError> {
    json(
        client
            .delete(place.url(door) + &terms.query())
            .timeout(patience(terms.timeout)),
    )
    .await
}

fn patience(timeout: Option<Duration>) -> Duration {
    timeout.unwrap_or(Duration::from_secs(10)) + GRACE
}

/// Reads a key. With a session it reads at a point that includes what the session has seen, and
/// waits at most `timeout`.
pub(crate) async fn get(
    client: &Client,
    door: &str,
    place: &Place,
    session: Option<&str>,
    timeout: Option<Duration>,
) -> Result<Found, HttpError> {
    let terms = Terms {
        timeout,
        ..Terms::default()
    };
    let mut request = client
        .get(place.url(door) + &terms.query())
        .timeout(patience(timeout));
    if let Some(session) = session {
        request = request.header("isthmus-session", session);
    }
    match send(request).await {
        Ok(answer) => found(answer).await,
        Err(HttpError::Refused {
            status: 404,
            problem,
            headers,
            ..
        }) if problem.is_absence() => Ok(Found {
            content_type: None,
            ..of_headers(&headers)
        }),
        Err(error) => Err(error),
    }
}

async fn found(answer: Response) -> Result<Found, HttpError> {
    let url = answer.url().to_string();
    let headers = answer.headers().clone();
    let value = answer.bytes().await;
    let value = value.map_err(|source| HttpError::NoAnswer {
        url,
        source: source.without_url(),
    })?;
    Ok(Found {
        value: Some(value.to_vec()),
        ..of_headers(&headers)
    })
}

fn of_headers(headers: &HeaderMap) -> Found {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    Found {
        version: text("isthmus-version"),
        origin: text("isthmus-origin"),
        session: text("isthmus-session"),
        applied: text("isthmus-applied"),
        content_type: text(CONTENT_TYPE.as_str()),
        value: None,
    }
}

/// One page of a bucket's keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Page {
    pub(crate) keys: Vec<Listed>,
    pub(crate) next: Option<String>,
}

/// A key of a page.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) version: String,
}

/// Reads the page of keys that follow `after`.
pub(crate) async fn list(
    client: &Client,
    door: &str,
    bucket: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page, HttpError> {
    let encoded = |text| utf8_percent_encode(text, IN_A_KEY);
    let mut url = format!("{door}/v1/kv/{bucket}?limit={limit}&prefix={}", encoded(prefix));
    if let Some(after) = after {
        url.push_str(&format!("&after={}", encoded(after)));
    }
    json(client.get(url)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_travels_as_one_part_of_the_path() -> Result<(), NotAPlace> {
        let place: Place = "carts/a/../ü?b".parse()?;
        assert_eq!(place.url("http://d"), "http://d/v1/kv/carts/a%2F..%2F%C3%BC%3Fb");
        for bad in ["carts", "carts/", "/key"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn terms_become_a_query() {
        let terms = Terms {
            ttl: Some("30s".to_owned()),
            consistency: Some("majority".to_owned()),
            timeout: Some(Duration::from_secs(5)),
        };
        assert_eq!(terms.query(), "?ttl=30s&consistency=majority&timeout=5000ms");
        assert_eq!(Terms::default().query(), "");
    }
}
