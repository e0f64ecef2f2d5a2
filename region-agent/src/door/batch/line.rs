//! One line of a batch: an operation as JSON, and its answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use isthmus_door::{ErrorCode, Problem};
use isthmus_replication::cell::ContentType;
use isthmus_replication::names::{BucketName, Key};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::door::answer::{self, WrittenBody};
use crate::door::query::parse_ttl;
use crate::door::{Rejection, reject};
use crate::operation::{Found, Outcome, Refusal, WriteContent};

/// One line of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationLine {
    /// `put`, `delete` or `get`.
    op: Verb,
    /// The bucket.
    bucket: String,
    /// The key.
    key: String,
    /// For a put: any JSON, stored as its text; or `value_base64`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    value: Option<Box<RawValue>>,
    /// For a put: the bytes of the value; or `value`.
    value_base64: Option<String>,
    /// For a put: the media type; `application/json` for `value` unless given.
    content_type: Option<String>,
    /// For a put: how long the value lives.
    #[schema(example = "30s")]
    ttl: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Put,
    Delete,
    Get,
}

/// What a line asks for.
#[derive(Debug)]
pub enum Asked {
    /// A put or a delete.
    Write(BucketName, Key, WriteContent),
    /// A get.
    Get(BucketName, Key),
}

/// A `null` is a value; only a missing one is none.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a line.
///
/// # Errors
/// A [`Problem`] that says which part can't be used.
pub fn parse(text: &[u8]) -> Result<Asked, Rejection> {
    let line: OperationLine = serde_json::from_slice(text)
        .map_err(|error| reject(ErrorCode::InvalidOperation, format!("not an operation: {error}")))?;
    let bucket = BucketName::parse(&line.bucket)
        .map_err(|error| reject(ErrorCode::InvalidBucket, error.to_string()))?;
    let key = Key::parse(&line.key).map_err(|error| reject(ErrorCode::InvalidKey, error.to_string()))?;
    match line.op {
        Verb::Put => Ok(Asked::Write(bucket, key, put(line)?)),
        Verb::Delete | Verb::Get if line.carries_a_value() => {
            let detail = "value, value_base64, content_type and ttl belong to a put";
            Err(reject(ErrorCode::InvalidOperation, detail))
        }
        Verb::Delete => Ok(Asked::Write(bucket, key, WriteContent::Delete)),
        Verb::Get => Ok(Asked::Get(bucket, key)),
    }
}

impl OperationLine {
    fn carries_a_value(&self) -> bool {
        self.value.is_some()
            || self.value_base64.is_some()
            || self.content_type.is_some()
            || self.ttl.is_some()
    }
}

fn put(line: OperationLine) -> Result<WriteContent, Rejection> {
    let invalid = |detail: &str| reject(ErrorCode::InvalidOperation, detail);
    let (value, default_type) = match (line.value, line.value_base64) {
        (Some(json), None) => (
            Bytes::from(Box::<str>::from(json).into_string()),
            "application/json",
        ),
        (None, Some(text)) => {
            let bytes = STANDARD
                .decode(text)
                .map_err(|_| invalid("value_base64 is not base64"))?;
            (bytes.into(), "")
        }
        _ => return Err(invalid("a put has either value or value_base64")),
    };
    let content_type = line.content_type.as_deref().unwrap_or(default_type);
    let content_type = ContentType::new(content_type)
        .ok_or_else(|| invalid("content_type has at most 255 printable characters"))?;
    let ttl = line.ttl.as_deref().map(parse_ttl).transpose();
    Ok(WriteContent::Put {
        value,
        content_type,
        ttl: ttl.map_err(|reason| reject(ErrorCode::InvalidTtl, reason))?,
    })
}

/// The answer to a line, ended by a line feed.
#[must_use]
pub fn answer(result: Result<Outcome, Refusal>) -> Bytes {
    let object = match result {
        Ok(Outcome::Written(written)) => with_status(200, serde_json::to_value(WrittenBody::from(&written))),
        Ok(Outcome::Found(found)) => value(&found),
        Ok(Outcome::Absent { tombstone, session }) => answer::absent(tombstone.as_ref(), &session).to_value(),
        Ok(Outcome::Listed(_)) => return failure(&reject(ErrorCode::Internal, "a list in a batch")),
        Err(refusal) => return failure(&answer::problem(&refusal)),
    };
    ended(&object)
}

/// A problem as a line.
#[must_use]
pub fn failure(problem: &Problem) -> Bytes {
    ended(&problem.to_value())
}

fn value(found: &Found) -> Value {
    let mut object = json!({
        "status": 200,
        "version": found.version.to_string(),
        "session": found.session.to_string(),
        "content_type": found.content_type.as_str(),
    });
    let is_json = found.content_type.as_str() == "application/json";
    match serde_json::from_slice::<Value>(&found.value) {
        Ok(value) if is_json => object["value"] = value,
        _ => object["value_base64"] = STANDARD.encode(&found.value).into(),
    }
    object
}

fn with_status(status: u16, body: serde_json::Result<Value>) -> Value {
    let mut object = body.unwrap_or_default();
    object["status"] = status.into();
    object
}

fn ended(object: &Value) -> Bytes {
    let mut line = object.to_string().into_bytes();
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put_of(text: &str) -> (Bytes, String) {
        match parse(text.as_bytes()).unwrap() {
            Asked::Write(
                _,
                _,
                WriteContent::Put {
                    value, content_type, ..
                },
            ) => (value, content_type.as_str().to_owned()),
            other => panic!("not a put: {other:?}"),
        }
    }

    #[test]
    fn a_json_value_is_stored_as_its_text() {
        let json = (
            "application/json".to_owned(),
            r#"{"op":"put","bucket":"b","key":"k","value":"#,
        );
        for text in [r#"{"b": 1,  "a":[null]}"#, "null", "1.10", r#""text""#] {
            let (value, content_type) = put_of(&format!("{}{text}}}", json.1));
            assert_eq!((value.as_ref(), &content_type), (text.as_bytes(), &json.0));
        }
        let (value, content_type) =
            put_of(r#"{"op":"put","bucket":"b","key":"k","value_base64":"AP8=","content_type":"image/png"}"#);
        assert_eq!(
            (value.as_ref(), content_type.as_str()),
            (&[0, 255][..], "image/png")
        );
    }

    #[test]
    fn what_is_no_operation_says_why() {
        for (line, code, says) in [
            ("", ErrorCode::InvalidOperation, "EOF"),
            ("[]", ErrorCode::InvalidOperation, "not an operation"),
            (
                r#"{"op":"drop","bucket":"b","key":"k"}"#,
                ErrorCode::InvalidOperation,
                "put",
            ),
            (
                r#"{"op":"get","bucket":"b","key":"k","colour":1}"#,
                ErrorCode::InvalidOperation,
                "colour",
            ),
            (
                r#"{"op":"get","bucket":"b","key":"k","ttl":"1s"}"#,
                ErrorCode::InvalidOperation,
                "belong to a put",
            ),
            (
                r#"{"op":"put","bucket":"b","key":"k"}"#,
                ErrorCode::InvalidOperation,
                "either value",
            ),
            (
                r#"{"op":"put","bucket":"b","key":"k","value":1,"value_base64":""}"#,
                ErrorCode::InvalidOperation,
                "either value",
            ),
            (
                r#"{"op":"put","bucket":"b","key":"k","value_base64":"?"}"#,
                ErrorCode::InvalidOperation,
                "base64",
            ),
            (
                r#"{"op":"put","bucket":"b","key":"k","value":1,"ttl":"5"}"#,
                ErrorCode::InvalidTtl,
                "5s",
            ),
            (
                r#"{"op":"delete","bucket":"B","key":"k"}"#,
                ErrorCode::InvalidBucket,
                "bucket",
            ),
            (
                r#"{"op":"delete","bucket":"b","key":""}"#,
                ErrorCode::InvalidKey,
                "1 to 1024",
            ),
        ] {
            let problem = parse(line.as_bytes()).unwrap_err();
            assert_eq!(problem.code(), code, "{line}");
            assert!(
                problem.to_value()["detail"].as_str().unwrap().contains(says),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_line_is_an_operation_or_a_problem(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes).ok();
        }
    }
}
