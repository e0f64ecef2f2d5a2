//! Slots: the durable consumers that the operator created for a process, and which of them are in
//! use.
//!
//! A process that may create consumers can make the server publish under any subject of the
//! account, another origin's included (docs/assumptions-nats.md). With slots it doesn't need that
//! right. It has several for each stream and takes a free one for each reader
//! ([`super::slot_consumers`]).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The consumers through which a process reads streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Consumers that it creates itself and that end with it. For development.
    Own,
    /// Its slots, which the operator has created with [`super::Connection::provide`].
    Slots {
        /// How many it needs of each stream at once.
        each: u32,
    },
}

impl Readers {
    /// The consumers of a process that may (`create`, the setting `log.create`) or may not create
    /// what it needs. `each` is how many it needs of a stream at once.
    #[must_use]
    pub fn of(create: bool, each: u32) -> Self {
        if create { Self::Own } else { Self::Slots { each } }
    }
}

/// The slots of a process that are in use.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    pub(super) process: Arc<str>,
    pub(super) each: u32,
    taken: Arc<Mutex<BTreeSet<(String, u32)>>>,
}

/// A slot in use; it becomes free when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    stream: String,
    pub(super) number: u32,
}

impl Slots {
    pub(super) fn new(process: &str, each: u32) -> Self {
        Self {
            process: process.into(),
            each,
            taken: Arc::default(),
        }
    }

    /// Takes the first free slot of a stream.
    pub(super) fn take(&self, stream: &str) -> Slot {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = |number: &u32| !taken.contains(&(stream.to_owned(), *number));
        let number = (0..).find(is_free).unwrap_or_default();
        taken.insert((stream.to_owned(), number));
        Slot {
            slots: self.clone(),
            stream: stream.to_owned(),
            number,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&(std::mem::take(&mut self.stream), self.number));
    }
}

/// The name of a slot's consumer.
pub(super) fn name(process: &str, number: u32) -> String {
    format!("{process}_{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_once_its_reader_is_gone() {
        let slots = Slots::new("agent-1", 2);
        let (first, second) = (slots.take("LOG"), slots.take("LOG"));
        let other = slots.take("LEASES");
        assert_eq!((first.number, second.number, other.number), (0, 1, 0));
        drop(first);
        assert_eq!(slots.take("LOG").number, 0);
        assert_eq!(name("agent-1", 0), "agent-1_0");
    }
}
