//! An agent as its client sees it.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::until;

const EVERYWHERE: Duration = Duration::from_secs(30);

/// One agent's two listeners.
#[derive(Debug, Clone)]
pub struct Agent {
    client: Client,
    http: String,
    admin: String,
}

/// An agent's answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `Isthmus-Session`.
    pub session: Option<String>,
    /// `Isthmus-Version`.
    pub version: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    async fn of(response: Response) -> anyhow::Result<Self> {
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (session, version) = (header("isthmus-session"), header("isthmus-version"));
        Ok(Self {
            status: response.status(),
            session,
            version,
            body: response.bytes().await?.to_vec(),
        })
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("the body is not JSON")
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// This answer if its status is 200.
    ///
    /// # Errors
    /// When it is not; the error has the status and the body.
    pub fn ok(self) -> anyhow::Result<Self> {
        ensure!(
            self.status == StatusCode::OK,
            "answered {}: {}",
            self.status,
            self.text()
        );
        Ok(self)
    }
}

impl Agent {
    /// The agent behind these two addresses, `http://…`.
    #[must_use]
    pub fn new(client: Client, http: &str, admin: &str) -> Self {
        Self {
            client,
            http: http.to_owned(),
            admin: admin.to_owned(),
        }
    }

    /// A request to the application door.
    pub fn request(&self, method: Method, path_and_query: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path_and_query}", self.http))
            .timeout(Duration::from_secs(30))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(request: RequestBuilder) -> anyhow::Result<Answer> {
        Answer::of(request.send().await?).await
    }

    /// PUT of a value; `query` is empty or starts with `?`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn put(&self, bucket: &str, key: &str, query: &str, value: &str) -> anyhow::Result<Answer> {
        Self::send(
            self.request(Method::PUT, &format!("/v1/kv/{bucket}/{key}{query}"))
                .body(value.to_owned()),
        )
        .await
    }

    /// PUT of a value, repeated until every region holds it. An agent refuses such a write until it
    /// has learned that its peers are reachable, for example after a start.
    ///
    /// # Errors
    /// When no write succeeds within 30 seconds.
    pub async fn put_everywhere(&self, bucket: &str, key: &str, value: &str) -> anyhow::Result<Answer> {
        until("a write that every region holds", EVERYWHERE, || async {
            self.put(bucket, key, "?consistency=all&timeout=5s", value)
                .await?
                .ok()
        })
        .await
    }

    /// GET of a value.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn value(&self, bucket: &str, key: &str) -> anyhow::Result<Answer> {
        Self::send(self.request(Method::GET, &format!("/v1/kv/{bucket}/{key}"))).await
    }

    /// GET of a value with a session token; `query` as in [`Agent::put`].
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn value_after(
        &self,
        session: &str,
        bucket: &str,
        key: &str,
        query: &str,
    ) -> anyhow::Result<Answer> {
        let request = self.request(Method::GET, &format!("/v1/kv/{bucket}/{key}{query}"));
        Self::send(request.header("Isthmus-Session", session)).await
    }

    /// DELETE of a key.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete(&self, bucket: &str, key: &str) -> anyhow::Result<Answer> {
        Self::send(self.request(Method::DELETE, &format!("/v1/kv/{bucket}/{key}"))).await
    }

    /// Sends operations as NDJSON.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn batch(&self, lines: String) -> anyhow::Result<Answer> {
        let request = self
            .request(Method::POST, "/v1/batch")
            .header("Content-Type", "application/x-ndjson");
        Self::send(request.body(lines)).await
    }

    /// GET of a path of the admin listener.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn admin(&self, path_and_query: &str) -> anyhow::Result<Answer> {
        let request = self.client.get(format!("{}{path_and_query}", self.admin));
        Self::send(request.timeout(Duration::from_secs(30))).await
    }

    /// The admin listener's status.
    ///
    /// # Errors
    /// When there is no JSON answer.
    pub async fn status(&self) -> anyhow::Result<Value> {
        let request = self
            .client
            .get(format!("{}/v1/status", self.admin))
            .timeout(Duration::from_secs(5));
        Self::send(request).await?.ok()?.json()
    }

    /// The admin listener's events.
    ///
    /// # Errors
    /// When there is no JSON answer.
    pub async fn events(&self) -> anyhow::Result<Value> {
        let request = self.client.get(format!("{}/v1/events", self.admin));
        Self::send(request.timeout(Duration::from_secs(5)))
            .await?
            .ok()?
            .json()
    }

    /// The value of a sample of a metric; `None` if there is no such sample.
    ///
    /// # Errors
    /// When the admin listener does not answer.
    pub async fn metric(&self, sample: &str) -> anyhow::Result<Option<f64>> {
        let request = self.client.get(format!("{}/metrics", self.admin));
        let text = Self::send(request.timeout(Duration::from_secs(5)))
            .await?
            .ok()?
            .text();
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        Ok(found.map(str::parse).transpose()?)
    }

    /// The cell count and digest of each shard, in the order of the shards.
    ///
    /// # Errors
    /// When there is no status, or a shard lacks either.
    pub async fn digests(&self) -> anyhow::Result<Vec<(u64, String)>> {
        let status = self.status().await?;
        let shards = status["shards"]
            .as_array()
            .context("the status lists no shards")?;
        let digest = |shard: &Value| {
            let cells = shard["cells"].as_u64().context("a shard without cells")?;
            Ok((
                cells,
                shard["digest"]
                    .as_str()
                    .context("a shard without digest")?
                    .to_owned(),
            ))
        };
        shards.iter().map(digest).collect()
    }
}
