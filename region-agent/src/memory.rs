//! The two limits of an agent's memory (design.md section 6). Above the soft limit, local puts are
//! refused. Above the hard limit, apply and readiness stall. Nothing is ever evicted.

use std::sync::atomic::{AtomicU64, Ordering};

use isthmus_runtime::settings::MemoryLimits;

/// The memory that the stores of all shards use.
#[derive(Debug)]
pub struct Memory {
    soft: AtomicU64,
    hard: AtomicU64,
    used: AtomicU64,
}

impl Memory {
    /// Creates the limits, with nothing used yet.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        Self {
            soft: AtomicU64::new(limits.soft.0),
            hard: AtomicU64::new(limits.hard.0),
            used: AtomicU64::new(0),
        }
    }

    /// Replaces the limits.
    pub fn limit(&self, limits: MemoryLimits) {
        self.soft.store(limits.soft.0, Ordering::Relaxed);
        self.hard.store(limits.hard.0, Ordering::Relaxed);
    }

    /// Records that a store that used `before` bytes uses `after`.
    pub fn changed(&self, before: u64, after: u64) {
        self.used.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether a put must be refused.
    #[must_use]
    pub fn refuses_puts(&self) -> bool {
        self.used() >= self.limits().0
    }

    /// Whether nothing more may be applied.
    #[must_use]
    pub fn stalls(&self) -> bool {
        self.used() >= self.limits().1
    }

    /// The soft and the hard limit in bytes.
    #[must_use]
    pub fn limits(&self) -> (u64, u64) {
        (
            self.soft.load(Ordering::Relaxed),
            self.hard.load(Ordering::Relaxed),
        )
    }
}

#[cfg(test)]
mod tests {
    use isthmus_runtime::settings::ByteSize;

    use super::*;

    #[test]
    fn puts_stop_at_the_soft_limit_and_apply_at_the_hard_one() {
        let memory = Memory::new(MemoryLimits {
            soft: ByteSize(100),
            hard: ByteSize(150),
        });
        memory.changed(0, 99);
        assert!(!memory.refuses_puts());
        memory.changed(99, 120);
        assert!(memory.refuses_puts() && !memory.stalls());
        memory.changed(0, 30);
        assert!(memory.stalls());
        memory.changed(120, 10);
        assert_eq!(memory.used(), 40);
        assert!(!memory.refuses_puts());
    }
}
