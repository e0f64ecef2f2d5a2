//! A range whose body is not what its sender sealed: what TLS does not let the network do, a broken sender can.

use bytes::Bytes;
use isthmus_replication::body;
use isthmus_replication::change::Change;
use isthmus_replication::coordinates::Shard;
use isthmus_replication::header::{Header, Range, Record};
use isthmus_replication::link::frame::Frame;

/// A range that was changed.
#[derive(Debug)]
pub struct Garbled {
    /// Of which shard.
    pub shard: Shard,
    /// Which.
    pub range: Range,
    /// What its body brought.
    pub changes: Vec<Change>,
}

/// Follows where frames begin in what is written.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Bytes until the next one.
    left: usize,
    /// A length was written in parts, after which nobody knows.
    lost: bool,
}

impl Frames {
    /// Takes note of `bytes`; changes the body of the first range among them if `garble` says so.
    pub fn written(&mut self, bytes: &mut [u8], garble: bool) -> Option<Garbled> {
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

/// Changes the last byte of a range's body, if it is a range that brings something.
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
