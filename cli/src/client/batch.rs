//! Many operations in one request: `POST /v1/batch`, NDJSON in and out (design.md section 6).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::http::{HttpError, blames_arguments, send};
use crate::output::counted;

/// The most operations in one request.
pub(crate) const OPERATIONS: usize = 256;
/// The most bytes of values in one request, so that bodies stay far below any limit.
pub(crate) const VALUE_BYTES: usize = 512 * 1024;
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum Operation {
    Put {
        bucket: String,
        key: String,
        value_base64: String,
        content_type: &'static str,
    },
    Get {
        bucket: String,
        key: String,
    },
}

impl Operation {
    /// Writes JSON text as a value.
    pub(crate) fn put_json(bucket: &str, key: &str, json: &str) -> Self {
        let value_base64 = STANDARD.encode(json);
        Self::Put {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            value_base64,
            content_type: "application/json",
        }
    }

    pub(crate) fn get(bucket: &str, key: &str) -> Self {
        Self::Get {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }
    }

    /// About how many bytes the operation takes in a request.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Put {
                key, value_base64, ..
            } => key.len() + value_base64.len(),
            Self::Get { key, .. } => key.len(),
        }
    }
}

/// The answer to one operation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct BatchAnswer {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) detail: String,
    pub(crate) retryable: bool,
    value: Option<Value>,
    value_base64: Option<String>,
}

impl BatchAnswer {
    /// Whether the operation was carried out.
    pub(crate) fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the answer means that the arguments are wrong.
    pub(crate) fn blames_arguments(&self) -> bool {
        blames_arguments(&self.code)
    }

    /// Whether a read found nothing.
    pub(crate) fn is_absence(&self) -> bool {
        self.code == "not_found"
    }

    /// Whether the value read is this JSON text: the same bytes, or an equal value if the answer
    /// has no bytes.
    pub(crate) fn holds_json(&self, json: &str) -> bool {
        if let Some(encoded) = &self.value_base64 {
            return STANDARD
                .decode(encoded)
                .is_ok_and(|bytes| bytes == json.as_bytes());
        }
        match (&self.value, serde_json::from_str::<Value>(json)) {
            (Some(Value::String(text)), Ok(expected)) => text == json || *text == expected,
            (Some(value), Ok(expected)) => *value == expected,
            _ => false,
        }
    }
}

impl std::fmt::Display for BatchAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.detail)
    }
}

/// Why a batch has no answers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("an operation can't be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    #[error("a batch of {} got {}", counted(*asked, "operation", "operations"), counted(*answered, "answer", "answers"))]
    Incomplete { asked: usize, answered: usize },
    #[error("an answer to a batch can't be decoded")]
    Unreadable(#[source] serde_json::Error),
}

/// Carries out operations and returns their answers in order.
pub(crate) async fn carry_out(
    client: &Client,
    door: &str,
    operations: &[Operation],
) -> Result<Vec<BatchAnswer>, BatchError> {
    let mut body = Vec::new();
    for operation in operations {
        serde_json::to_writer(&mut body, operation).map_err(BatchError::Unwritable)?;
        body.push(b'\n');
    }
    let url = format!("{door}/v1/batch");
    let request = client
        .post(&url)
        .header(CONTENT_TYPE, "application/x-ndjson")
        .body(body)
        .timeout(ANSWER_WITHIN);
    let text = send(request).await?.bytes().await;
    let text = text.map_err(|source| HttpError::NoAnswer {
        url,
        source: source.without_url(),
    })?;
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty());
    let answers: Result<Vec<BatchAnswer>, _> = lines.map(serde_json::from_slice).collect();
    let answers = answers.map_err(BatchError::Unreadable)?;
    if answers.len() == operations.len() {
        Ok(answers)
    } else {
        Err(BatchError::Incomplete {
            asked: operations.len(),
            answered: answers.len(),
        })
    }
}

/// Splits operations into requests of bounded size, each with the index of its first operation.
pub(crate) fn split(operations: &[Operation]) -> Vec<(usize, &[Operation])> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut weight = 0;
    for (index, operation) in operations.iter().enumerate() {
        let full =
            index - start == OPERATIONS || (index > start && weight + operation.weight() > VALUE_BYTES);
        if full {
            parts.push((start, &operations[start..index]));
            (start, weight) = (index, 0);
        }
        weight += operation.weight();
    }
    if start < operations.len() {
        parts.push((start, &operations[start..]));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded_by_count_and_by_bytes() {
        let small: Vec<_> = (0..600).map(|n| Operation::get("b", &n.to_string())).collect();
        let sizes: Vec<_> = split(&small).iter().map(|(at, part)| (*at, part.len())).collect();
        assert_eq!(sizes, [(0, 256), (256, 256), (512, 88)]);
        let large = "x".repeat(VALUE_BYTES);
        let large: Vec<_> = (0..3).map(|_| Operation::put_json("b", "k", &large)).collect();
        assert_eq!(split(&large).len(), 3);
        assert!(split(&[]).is_empty());
    }

    #[test]
    fn a_value_is_compared_in_the_form_it_arrived_in() {
        let bytes = BatchAnswer {
            value_base64: Some(STANDARD.encode("{\"a\":1}")),
            ..BatchAnswer::default()
        };
        assert!(bytes.holds_json("{\"a\":1}") && !bytes.holds_json("{\"a\": 1}"));
        let value = BatchAnswer {
            value: Some(serde_json::json!({"a": 1})),
            ..BatchAnswer::default()
        };
        assert!(value.holds_json("{\"a\": 1}") && !value.holds_json("{\"a\":2}"));
        assert!(!BatchAnswer::default().holds_json("null"));
    }
}
