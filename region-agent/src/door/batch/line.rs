//! One line of a batch: an operation as JSON, and its answer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use isthmus_door::{ErrorCode, Problem};
use isthmus_replication::cell::ContentType;
use isthmus_replication::change::Op;
use isthmus_replication::names::{BucketName, Key};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::door::answer::{self, WrittenBody};
use crate::door::query::parse_ttl;
use crate::door::{Rejection, reject};
use crate::operation::{Found, Outcome, Refusal};

/// JSON nested deeper than this is answered as base64: the answer adds a level, and parsers
/// commonly accept 128.
const DEPTH: usize = 100;

/// One line of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperationLine {
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

/// The request in a line.
#[derive(Debug)]
pub enum Asked {
    /// A put or a delete, and how long a value lives.
    Write(BucketName, Key, Op, Option<Duration>),
    /// A get.
    Get(BucketName, Key),
}

/// `null` is a value. Only a missing member is none.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Parses a line.
///
/// # Errors
/// A [`Problem`] that names the part that can't be used.
pub fn parse(text: &[u8]) -> Result<Asked, Rejection> {
    let line: OperationLine = serde_json::from_slice(text)
        .map_err(|error| reject(ErrorCode::InvalidOperation, format!("not an operation: {error}")))?;
    let bucket = BucketName::parse(&line.bucket)
        .map_err(|error| reject(ErrorCode::InvalidBucket, error.to_string()))?;
    let key = Key::parse(&line.key).map_err(|error| reject(ErrorCode::InvalidKey, error.to_string()))?;
    match line.op {
        Verb::Put => {
            let ttl = line.ttl.as_deref().map(parse_ttl).transpose();
            let ttl = ttl.map_err(|reason| reject(ErrorCode::InvalidTtl, reason.to_string()));
            let op = put(line)?;
            Ok(Asked::Write(bucket, key, op, ttl?))
        }
        Verb::Delete | Verb::Get if line.carries_a_value() => {
            let detail = "value, value_base64, content_type and ttl belong to a put";
            Err(reject(ErrorCode::InvalidOperation, detail))
        }
        Verb::Delete => Ok(Asked::Write(bucket, key, Op::Delete, None)),
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

fn put(line: OperationLine) -> Result<Op, Rejection> {
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
    Ok(Op::Put { value, content_type })
}

/// The answer to a line, terminated by a line feed.
#[must_use]
pub(super) fn answer(result: Result<Outcome, Refusal>) -> Bytes {
    let object = match result {
        Ok(Outcome::Written(written)) => with_status(200, serde_json::to_value(WrittenBody::from(&written))),
        Ok(Outcome::Found(found)) => return value(&found),
        Ok(Outcome::Absent { tombstone, session }) => answer::absent(tombstone.as_ref(), &session).to_value(),
        Ok(Outcome::Listed(_)) => return failure(&reject(ErrorCode::Internal, "a list in a batch")),
        Err(refusal) => return failure(&answer::problem(&refusal)),
    };
    ended(object.to_string())
}

/// A problem as a line.
#[must_use]
pub(super) fn failure(problem: &Problem) -> Bytes {
    ended(problem.to_value().to_string())
}

#[derive(Serialize)]
struct FoundLine<'a> {
    status: u16,
    version: String,
    session: String,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// A value as it was stored. It is not parsed into a tree, because JSON takes many times its size
/// in memory.
fn value(found: &Found) -> Bytes {
    let is_json = found.content_type.as_str() == "application/json";
    let line = is_json.then(|| one_line(&found.value)).flatten();
    let value = line.as_deref().and_then(|line| serde_json::from_slice(line).ok());
    let answer = serde_json::to_string(&FoundLine {
        status: 200,
        version: found.version.to_string(),
        session: found.session.to_string(),
        content_type: found.content_type.as_str(),
        value,
        value_base64: value.is_none().then(|| STANDARD.encode(&found.value)),
    });
    answer.map_or_else(
        |_| failure(&reject(ErrorCode::Internal, "a value that is no JSON")),
        ended,
    )
}

/// JSON without line ends between its tokens. None if it is nested deeper than parsers accept, or
/// has a line end in a string.
fn one_line(json: &[u8]) -> Option<Vec<u8>> {
    let mut line = json.to_vec();
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in &mut line {
        match *byte {
            b'\n' | b'\r' if in_string => return None,
            b'\n' | b'\r' => *byte = b' ',
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH {
            return None;
        }
    }
    Some(line)
}

fn with_status(status: u16, body: serde_json::Result<Value>) -> Value {
    let mut object = body.unwrap_or_default();
    object["status"] = status.into();
    object
}

fn ended(mut line: String) -> Bytes {
    line.push('\n');
    line.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put_of(text: &str) -> (Bytes, String) {
        match parse(text.as_bytes()).unwrap() {
            Asked::Write(_, _, Op::Put { value, content_type }, _) => {
                (value, content_type.as_str().to_owned())
            }
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

    fn found(value: &str) -> Found {
        Found {
            value: Bytes::copy_from_slice(value.as_bytes()),
            content_type: ContentType::new("application/json").unwrap(),
            version: isthmus_replication::version::Version {
                hlc: isthmus_replication::hlc::Hlc::ZERO,
                region: isthmus_replication::names::RegionName::parse("eu-west").unwrap(),
                writer: isthmus_replication::coordinates::WriterId(0),
            },
            applied_at: isthmus_replication::time::Wall::from_micros(0),
            session: isthmus_replication::session_token::SessionToken::default(),
        }
    }

    #[test]
    fn stored_json_is_answered_on_one_line_and_the_rest_as_base64() {
        let line = |json: &str| String::from_utf8(value(&found(json)).to_vec()).unwrap();
        let written = line("{\r\n  \"b\": 1.00000000000000000001,\n  \"a\": \"\\n[\\\"[\"\n}\n");
        assert!(
            written.ends_with('\n') && written.matches('\n').count() == 1,
            "{written}"
        );
        assert!(
            written.contains(r#""value":{    "b": 1.00000000000000000001,   "a": "\n[\"[" }"#),
            "{written}"
        );
        for none in [
            "{",
            "",
            "1 2",
            "\"a\nb\"",
            &"[".repeat(1000),
            &("[".repeat(200) + &"]".repeat(200)),
        ] {
            let written: Value = serde_json::from_str(&line(none)).unwrap();
            assert_eq!(written["value_base64"], STANDARD.encode(none), "{none}");
            assert!(written.get("value").is_none());
        }
    }

    proptest! {
        #[test]
        fn any_line_is_an_operation_or_a_problem(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes).ok();
        }
    }
}
