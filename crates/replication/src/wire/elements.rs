//! Access to encoded lists before they are decoded. An element of a few bytes takes several hundred
//! in memory, so a list is refused by the number and size of its elements before memory is
//! allocated for it.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The encoded elements of the message field `tag` of an encoded message. Ends at the first bytes
/// that are not protobuf; decoding then fails there too.
pub(crate) fn elements(message: &[u8], tag: u32) -> impl Iterator<Item = &[u8]> {
    let mut rest = message;
    std::iter::from_fn(move || {
        loop {
            let (found, wire_type) = decode_key(&mut rest).ok()?;
            if (found, wire_type) == (tag, WireType::LengthDelimited) {
                let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                let (element, after) = rest.split_at_checked(length)?;
                rest = after;
                return Some(element);
            }
            skip_field(wire_type, found, &mut rest, DecodeContext::default()).ok()?;
        }
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::wire::{Batch, Body};

    #[test]
    fn elements_are_found_among_other_fields() {
        let batch = |region: &str| Batch {
            region: region.to_owned(),
            writer: 7,
            changes: vec![],
        };
        let body = Body {
            batches: vec![batch("eu-west"), batch("us-east")],
        };
        let bytes = body.encode_to_vec();
        let found: Vec<Batch> = elements(&bytes, 1)
            .filter_map(|bytes| Batch::decode(bytes).ok())
            .collect();
        assert_eq!(found, body.batches);
        assert_eq!(elements(&bytes, 2).count(), 0);
        let regions: Vec<&[u8]> = elements(&bytes, 1).flat_map(|batch| elements(batch, 1)).collect();
        assert_eq!(regions, [b"eu-west", b"us-east"]);
    }

    #[test]
    fn what_breaks_off_ends_the_list() {
        assert_eq!(
            elements(&[0x0a, 1, b'a', 0x0a, 9, b'b'], 1).collect::<Vec<_>>(),
            [b"a"]
        );
        assert_eq!(elements(&[0xff; 20], 1).count(), 0);
    }
}
