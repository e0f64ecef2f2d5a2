//! A range whose body is not what its sender sealed. TLS keeps the network from that; a broken
//! sender can do it.

use bytes::Bytes;
use isthmus_replication::body;
use isthmus_replication::change::Change;
use isthmus_replication::coordinates::Shard;
use isthmus_replication::header::{Header, Range, Record};
use isthmus_replication::link::frame::Frame;

/// A range that was changed.
#[derive(Debug)]
pub struct Garbled {
    /// Its shard.
    pub shard: Shard,
    /// The range.
    pub range: Range,
    /// The changes of its body, as sent.
    pub changes: Vec<Change>,
}

/// Follows the frame boundaries in the bytes written.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Bytes until the next frame.
    left: usize,
    /// A frame's length was written in parts, so the boundaries after it are unknown.
    lost: bool,
}

impl Frames {
    /// Takes account of `bytes`. If `garble` is set, changes the body of the first range among
    /// them.
    pub(crate) fn written(&mut self, bytes: &mut [u8], garble: bool) -> Option<Garbled> {
        let (mut at, mut garbled) = (0, None);
        while at < bytes.len() && !self.lost {
            if self.left == 0 {
                let Some(length) = bytes[at..].first_chunk::<4>() else {
                    self.lost = true;
                    break;
                };
                self.left = 4 + u32::from_be_bytes(*length) as usize;
                if let Some(frame) = bytes
                    .get_mut(at + 4..at + self.left)
                    .filter(|_| garble && garbled.is_none())
                {
                    garbled = change_body(frame);
                }
            }
            let passed = self.left.min(bytes.len() - at);
            at += passed;
            self.left -= passed;
        }
        garbled
    }
}

/// Changes the last byte of a range's body, if the frame is a range with changes.
fn change_body(frame: &mut [u8]) -> Option<Garbled> {
    let bytes = Bytes::copy_from_slice(frame);
    let Ok(Frame::Range(sent)) = Frame::decode(bytes.clone()) else {
        return None;
    };
    let header = Header::decode(&sent.header).ok()?;
    let Record::Range(range) = header.record else {
        return None;
    };
    let changes = body::open(header.body.codec, &range.origin, sent.body.clone()).ok()?;
    let begin = (sent.body.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    let last = begin + sent.body.len().checked_sub(1)?;
    *frame.get_mut(last)? ^= 0x55;
    Some(Garbled {
        shard: sent.shard,
        range,
        changes,
    })
}
