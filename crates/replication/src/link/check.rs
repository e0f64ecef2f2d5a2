//! What every frame's fields must be.

use super::wire;
use crate::coordinates::Shard;
use crate::limits;
use crate::names::GroupName;

/// Why bytes are no frame. The session that receives them ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFrame {
    /// No bytes at all.
    #[error("an empty frame: the peer does not speak this protocol")]
    Empty,
    /// More bytes than [`limits::FRAME_BYTES`].
    #[error("a frame of {bytes} bytes: compare the versions and max_value of both regions")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// A kind that this version does not know.
    #[error("a frame of unknown kind {0}: the peer speaks a later version, upgrade this region's gateways")]
    UnknownKind(u8),
    /// Not the protobuf message of its kind.
    #[error("a {0} frame that is not protobuf")]
    NotProtobuf(&'static str),
    /// A field holds what it must not.
    #[error("a frame with an invalid {0}")]
    Field(&'static str),
}

/// Takes a list that is not longer than allowed.
pub fn bounded<T>(list: Vec<T>, most: usize, what: &'static str) -> Result<Vec<T>, InvalidFrame> {
    if list.len() > most {
        return Err(InvalidFrame::Field(what));
    }
    Ok(list)
}

/// Takes text that is not longer than [`limits::FRAME_TEXT_BYTES`] and can be logged as it is.
pub fn text(text: String, what: &'static str) -> Result<String, InvalidFrame> {
    if text.len() > limits::FRAME_TEXT_BYTES || text.chars().any(char::is_control) {
        return Err(InvalidFrame::Field(what));
    }
    Ok(text)
}

/// Cuts text so that [`text`] takes it: control characters become spaces.
pub fn cut(text: &str) -> String {
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

pub fn shard_to_wire(shard: &Shard) -> wire::Shard {
    wire::Shard {
        group: shard.group.as_str().to_owned(),
        partition: u32::from(shard.partition),
    }
}

pub fn shard(wire: Option<wire::Shard>) -> Result<Shard, InvalidFrame> {
    let wire = wire.ok_or(InvalidFrame::Field("shard"))?;
    let partition = u16::try_from(wire.partition).ok();
    Ok(Shard {
        group: GroupName::parse(&wire.group).map_err(|_| InvalidFrame::Field("group"))?,
        partition: partition
            .filter(|partition| *partition < limits::PARTITIONS)
            .ok_or(InvalidFrame::Field("partition"))?,
    })
}
