//! The checks on the fields of every frame.

use super::wire;
use crate::coordinates::Shard;
use crate::limits;
use crate::names::GroupName;

/// Why bytes are not a valid frame. The session that receives them ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFrame {
    /// No bytes at all.
    #[error("an empty frame: the peer does not speak this protocol")]
    Empty,
    /// More bytes than [`limits::FRAME_BYTES`].
    #[error("a frame of {bytes} bytes: compare the versions and max_value of both regions")]
    TooLarge {
        /// The number of bytes.
        bytes: usize,
    },
    /// A kind that this version does not know.
    #[error("a frame of unknown kind {0}: the peer speaks a later version, upgrade this region's gateways")]
    UnknownKind(u8),
    /// Not the protobuf message of its kind.
    #[error("a {0} frame that is not protobuf")]
    NotProtobuf(&'static str),
    /// A field with an invalid value.
    #[error("a frame with an invalid {0}")]
    Field(&'static str),
}

/// Checks that a list is not longer than allowed.
pub(super) fn bounded<T>(list: Vec<T>, most: usize, what: &'static str) -> Result<Vec<T>, InvalidFrame> {
    if list.len() > most {
        return Err(InvalidFrame::Field(what));
    }
    Ok(list)
}

/// Checks that text is not longer than [`limits::FRAME_TEXT_BYTES`] and can be logged unchanged.
pub(super) fn text(text: String, what: &'static str) -> Result<String, InvalidFrame> {
    if text.len() > limits::FRAME_TEXT_BYTES || text.chars().any(char::is_control) {
        return Err(InvalidFrame::Field(what));
    }
    Ok(text)
}

/// Shortens text so that [`text`] accepts it: control characters become spaces.
pub(super) fn cut(text: &str) -> String {
    let mut cut = String::new();
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        if cut.len() + character.len_utf8() > limits::FRAME_TEXT_BYTES {
            break;
        }
        cut.push(character);
    }
    cut
}

pub(super) fn shard_to_wire(shard: &Shard) -> wire::Shard {
    wire::Shard {
        group: shard.group.as_str().to_owned(),
        partition: u32::from(shard.partition),
    }
}

pub(super) fn shard(wire: Option<wire::Shard>) -> Result<Shard, InvalidFrame> {
    let wire = wire.ok_or(InvalidFrame::Field("shard"))?;
    let partition = u16::try_from(wire.partition).ok();
    Ok(Shard {
        group: GroupName::parse(&wire.group).map_err(|_| InvalidFrame::Field("group"))?,
        partition: partition
            .filter(|partition| *partition < limits::PARTITIONS)
            .ok_or(InvalidFrame::Field("partition"))?,
    })
}
