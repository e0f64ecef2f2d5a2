//! Randomness from the operating system. The core receives it as identifiers and seeds.

use isthmus_replication::coordinates::{MessageId, WriterId};

/// The operating system provides no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system provides no randomness: {0}; a writer's identifier can't be generated")]
pub struct NoRandomness(getrandom::Error);

/// 64 new random bits.
///
/// # Errors
/// [`NoRandomness`], which occurs only when a process starts: a kernel that has provided randomness
/// once continues to do so.
pub fn bits() -> Result<u64, NoRandomness> {
    getrandom::u64().map_err(NoRandomness)
}

/// A seed of 128 new random bits.
///
/// # Errors
/// [`NoRandomness`].
pub fn seed() -> Result<u128, NoRandomness> {
    Ok(u128::from(bits()?) << 64 | u128::from(bits()?))
}

/// The identifier of one run of one process, never stored, never reused (design.md section 4).
///
/// # Errors
/// [`NoRandomness`].
pub fn writer_id() -> Result<WriterId, NoRandomness> {
    bits().map(WriterId)
}

/// The identifier of one message; never zero, which names a message without a readable header.
///
/// # Errors
/// [`NoRandomness`].
pub fn message_id() -> Result<MessageId, NoRandomness> {
    bits().map(|bits| MessageId(bits.max(1)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(writer_id().unwrap(), writer_id().unwrap());
        assert_ne!(message_id().unwrap(), MessageId(0));
    }
}
