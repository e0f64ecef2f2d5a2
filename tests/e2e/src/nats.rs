//! Requests to a region's NATS server, as an operator with every right.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Sends a request to the JetStream API of the server at `address`, for example `STREAM.NAMES`, and
/// returns its answer.
///
/// # Errors
/// When the server does not answer, or answers with an error.
pub async fn jetstream(address: &str, request: &str, body: &str) -> anyhow::Result<Value> {
    let asked = ask(address, request, body);
    let answer = timeout(ANSWERS_WITHIN, asked)
        .await
        .context("the server does not answer")??;
    ensure!(answer["error"].is_null(), "{request}: {answer}");
    Ok(answer)
}

async fn ask(address: &str, request: &str, body: &str) -> anyhow::Result<Value> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    let text = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB $JS.API.{request} answer {}\r\n{body}\r\n",
        body.len()
    );
    stream.write_all(text.as_bytes()).await?;
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "the server closed");
        if let Some(message) = line.strip_prefix("MSG ") {
            let length = message.split_whitespace().last().unwrap_or_default().parse()?;
            let mut answer = vec![0; length];
            stream.read_exact(&mut answer).await?;
            return Ok(serde_json::from_slice(&answer)?);
        }
    }
}

/// The names of the logs of the server at `address`.
///
/// # Errors
/// As [`jetstream`].
pub async fn logs(address: &str) -> anyhow::Result<Vec<String>> {
    let answer = jetstream(address, "STREAM.NAMES", "").await?;
    let names = answer["streams"].as_array().cloned().unwrap_or_default();
    let names = names.iter().filter_map(Value::as_str).map(str::to_owned);
    Ok(names.filter(|name| !name.starts_with("KV_")).collect())
}
