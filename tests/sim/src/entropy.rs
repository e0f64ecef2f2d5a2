//! The operating system's randomness, drawn from the seed.
//!
//! Identifiers of writers and messages, the order in which tokio polls the branches of a `select!`,
//! and the iteration order of std's hash maps are all seeded through `getrandom` of the C library.
//! The simulator replaces that function, so that the seed determines them too. One process
//! simulates one seed, on one thread.

use std::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0);

/// Derives everything that is drawn from here on from `seed`.
pub fn seed(seed: u64) {
    STATE.store(seed, Ordering::Relaxed);
}

/// The next 64 bits: SplitMix64, whose state is a counter.
fn next() -> u64 {
    let mut bits = STATE
        .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Replaces the C library's `getrandom(2)`.
///
/// # Safety
/// `buffer` must be valid for `length` bytes.
#[allow(unsafe_code, reason = "replaces a function of the C library")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    let mut drawn = 0;
    while drawn < length {
        let bytes = next().to_le_bytes();
        let part = bytes.len().min(length - drawn);
        // SAFETY: `drawn + part` is at most `length`, and the caller guarantees `length` bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.add(drawn), part) };
        drawn += part;
    }
    length as isize
}
