//! Message identifiers from a seed: two splitmix64 sequences (Steele, Lea, Flood 2014), one for
//! each half of the seed, joined by xor.

use crate::coordinates::MessageId;

#[derive(Debug, Clone)]
pub(crate) struct MessageIds {
    halves: [u64; 2],
}

impl MessageIds {
    pub(crate) fn new(seed: u128) -> Self {
        Self {
            halves: [seed as u64, (seed >> 64) as u64],
        }
    }

    /// The next identifier. It is never zero, because zero names a message without a readable
    /// header.
    pub(crate) fn next_id(&mut self) -> MessageId {
        loop {
            let [low, high] = &mut self.halves;
            let id = splitmix(low, 0x9e37_79b9_7f4a_7c15) ^ splitmix(high, 0xd1b5_4a32_d192_ed03);
            if id != 0 {
                return MessageId(id);
            }
        }
    }
}

fn splitmix(state: &mut u64, step: u64) -> u64 {
    *state = state.wrapping_add(step);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
