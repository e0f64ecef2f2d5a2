//! A range whose body is not what its sender sealed: what TLS does not let the network do, a broken sender can.

use bytes::Bytes;
use isthmus_replication::body;
use isthmus_replication::change::Change;
use isthmus_replication::header::{Header, Record};
use isthmus_replication::link::frame::Frame;

/// Follows where frames begin in what is written.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Bytes until the next one.
    left: usize,
    /// A length was written in parts, after which nobody knows.
    lost: bool,
}

impl Frames {
    /// Takes note of `bytes`; changes the body of the first range among them if `garble` says so. What that body brought.
    pub fn written(&mut self, bytes: &mut [u8], garble: bool) -> Option<Vec<Change>> {
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

/// Changes the last byte of a range's body; what that brought, if it is a range that brings something.
fn change_body(frame: &mut [u8]) -> Option<Vec<Change>> {
    let bytes = Bytes::copy_from_slice(frame);
    let Ok(Frame::Range(range)) = Frame::decode(bytes.clone()) else {
        return None;
    };
    let header = Header::decode(&range.header).ok()?;
    let Record::Range(of) = &header.record else {
        return None;
    };
    let changes = body::open(header.body.codec, &of.origin, range.body.clone()).ok()?;
    let begin = (range.body.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    let last = begin + range.body.len().checked_sub(1)?;
    *frame.get_mut(last)? ^= 0x55;
    Some(changes)
}
