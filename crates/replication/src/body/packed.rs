//! Packed bodies: zstd, for ranges that were held back (docs/decisions/0011).
//!
//! The header of a packed body declares its unpacked size. Unpacking gets exactly that much memory
//! and must fill it, so no body makes a reader hold more than [`limits::PLAIN_BODY_BYTES`].

use bytes::Bytes;

use crate::header::{BodySeal, Codec};
use crate::limits;

const LEVEL: i32 = 1;

/// Why a packed body can't be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    /// It declares more bytes than any body may have.
    #[error("a packed body that declares {0} bytes; none has more than {max}", max = limits::PLAIN_BODY_BYTES)]
    TooLarge(u32),
    /// It is not zstd, or it unpacks to more or fewer bytes than the header declares.
    #[error("a packed body that is not {0} bytes of zstd")]
    NotAsDeclared(u32),
}

/// The body for a range that was held back, and its seal. The body is packed if that makes it
/// smaller.
#[must_use]
pub fn pack(plain: Bytes, changes: u32) -> (BodySeal, Bytes) {
    let may = (limits::PACK_BYTES..=limits::PLAIN_BODY_BYTES).contains(&plain.len());
    let packed = may
        .then(|| zstd::bulk::compress(&plain, LEVEL).ok())
        .flatten()
        .filter(|packed| packed.len() < plain.len());
    let Some(packed) = packed else {
        return (BodySeal::of(&plain, changes), plain);
    };
    let plain_bytes = u32::try_from(plain.len()).unwrap_or(u32::MAX);
    let seal = BodySeal {
        codec: Codec::Zstd { plain_bytes },
        ..BodySeal::of(&packed, changes)
    };
    (seal, packed.into())
}

/// The body that is encoded in `stored`.
///
/// # Errors
/// [`PackedError`] if the body declares too many bytes or does not unpack to as many as it
/// declares.
pub fn unpack(codec: Codec, stored: Bytes) -> Result<Bytes, PackedError> {
    let Codec::Zstd { plain_bytes } = codec else {
        return Ok(stored);
    };
    let room = plain_bytes as usize;
    if room > limits::PLAIN_BODY_BYTES {
        return Err(PackedError::TooLarge(plain_bytes));
    }
    let plain = zstd::bulk::decompress(&stored, room).map_err(|_| PackedError::NotAsDeclared(plain_bytes))?;
    if plain.len() == room {
        Ok(plain.into())
    } else {
        Err(PackedError::NotAsDeclared(plain_bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_body_is_what_it_was_before_it_was_packed(part in vec(any::<u8>(), 0..300), times in 1usize..200) {
            let plain: Bytes = part.repeat(times).into();
            let (seal, stored) = pack(plain.clone(), 3);
            prop_assert!(stored.len() <= plain.len());
            prop_assert_eq!(seal.check(&stored), Ok(()));
            prop_assert_eq!(unpack(seal.codec, stored), Ok(plain));
        }

        #[test]
        fn any_bytes_are_unpacked_within_their_room_or_refused(bytes in vec(any::<u8>(), 0..400), plain_bytes in 0u32..10_000) {
            if let Ok(plain) = unpack(Codec::Zstd { plain_bytes }, bytes.into()) {
                prop_assert_eq!(plain.len(), plain_bytes as usize);
            }
        }

        #[test]
        fn a_damaged_body_is_unpacked_within_its_room_or_refused(at: prop::sample::Index, flip in 1u8..) {
            let (seal, stored) = pack(vec![7; 5000].into(), 1);
            let mut bytes = stored.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(plain) = unpack(seal.codec, bytes.into()) {
                prop_assert_eq!(plain.len(), 5000);
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_whatever_it_declares() {
        let bomb =
            Bytes::from(zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], LEVEL).expect("zstd of zeros"));
        assert!(bomb.len() < 100_000);
        let honest = 64 * 1024 * 1024;
        assert_eq!(
            unpack(Codec::Zstd { plain_bytes: honest }, bomb.clone()),
            Err(PackedError::TooLarge(honest))
        );
        assert_eq!(
            unpack(Codec::Zstd { plain_bytes: 4096 }, bomb),
            Err(PackedError::NotAsDeclared(4096))
        );
    }

    #[test]
    fn what_does_not_fill_its_room_is_refused() {
        let (_, stored) = pack(vec![7; 5000].into(), 1);
        assert_eq!(
            unpack(Codec::Zstd { plain_bytes: 5001 }, stored),
            Err(PackedError::NotAsDeclared(5001))
        );
    }
}
