//! Positions in logs.

use isthmus_replication::coordinates::{AppliedThrough, Cursor, Position};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded;

/// A position in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogPosition {
    /// The log's life.
    #[serde(deserialize_with = "bounded::label")]
    pub life: String,
    /// The sequence.
    pub sequence: u64,
    /// The identifier of the message there, if known.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::maybe_label"
    )]
    pub message_id: Option<String>,
}

impl From<Position> for LogPosition {
    fn from(position: Position) -> Self {
        Self {
            life: position.life.to_string(),
            sequence: position.sequence.0,
            message_id: None,
        }
    }
}

impl From<AppliedThrough> for LogPosition {
    fn from(applied: AppliedThrough) -> Self {
        applied.0.into()
    }
}

impl From<Cursor> for LogPosition {
    fn from(cursor: Cursor) -> Self {
        Self {
            message_id: Some(cursor.message_id.to_string()),
            ..cursor.position.into()
        }
    }
}
