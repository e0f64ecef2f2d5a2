//! Set-aside entries as JSON. Field names are published: never rename them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isthmus_replication::aside::{Entry, Kept, KeptRange, KeptWrite, Why};
use isthmus_replication::cell::Content;
use serde_json::{Value, json};

use crate::door;

/// The name of an entry, unique in the region.
pub(super) fn id_of(entry: &Entry) -> String {
    format!("{}.{}", entry.shard.group, entry.name())
}

/// An entry without its bytes.
pub(super) fn summary(entry: &Entry) -> Value {
    let mut json = match &entry.kept {
        Kept::Write(write) => of_write(write),
        Kept::Range(range) => of_range(range),
    };
    json["id"] = id_of(entry).into();
    json["reason"] = entry.reason().as_str().into();
    json["at"] = door::timestamp(entry.at).into();
    json["group"] = entry.shard.group.as_str().into();
    json["partition"] = entry.shard.partition.into();
    json
}

/// An entry with its bytes: as `value` if they are text, else as `value_base64`.
pub(super) fn shown(entry: &Entry) -> Value {
    let mut json = summary(entry);
    let bytes = match &entry.kept {
        Kept::Write(KeptWrite {
            content: Content::Value { bytes, .. },
            ..
        }) => bytes,
        Kept::Write(_) => return json,
        Kept::Range(range) => &range.body,
    };
    match (&entry.kept, std::str::from_utf8(bytes)) {
        (Kept::Write(_), Ok(text)) => json["value"] = text.into(),
        _ => json["value_base64"] = STANDARD.encode(bytes).into(),
    }
    json
}

fn of_write(write: &KeptWrite) -> Value {
    let (content, bytes, content_type) = match &write.content {
        Content::Value { bytes, content_type } => ("value", Some(bytes.len()), Some(content_type.as_str())),
        Content::Tombstone => ("tombstone", None, None),
        Content::Swept(_) => ("ended", None, None),
    };
    let winner = match &write.why {
        Why::Conflict { winner } => Some(winner.to_string()),
        Why::Clock | Why::TooLate | Why::Late => None,
    };
    let field = (!write.id.field.is_none()).then(|| String::from_utf8_lossy(write.id.field.bytes()));
    json!({
        "bucket": write.id.bucket.as_str(),
        "key": write.id.key.as_str(),
        "field": field,
        "version": write.version.to_string(),
        "origin": write.version.region.as_str(),
        "winner": winner,
        "content": content,
        "bytes": bytes,
        "content_type": content_type,
        "expires_at": write.expires_at.map(door::timestamp),
    })
}

fn of_range(range: &KeptRange) -> Value {
    json!({
        "origin": range.origin.as_str(),
        "life": range.through.position.life.to_string(),
        "first": range.first.0,
        "through": range.through.position.sequence.0,
        "content": "range",
        "bytes": range.body.len(),
        "detail": range.detail,
    })
}
