//! Ports for tests that must be known before anything listens on them.
//!
//! The ports come from blocks of 256 below the system's range for outgoing connections. A process
//! holds the first port of its block for its whole life, so no two processes give out the same
//! port, even while nothing listens on it. `isthmus up --port-base auto` and tests/assumptions use
//! the same blocks.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

const FIRST: u16 = 10_240;
const BLOCK: u16 = 256;
const BLOCKS: u16 = 87;

struct Block {
    _guard: TcpListener,
    base: u16,
    next: u16,
}

static TAKEN: Mutex<Option<Block>> = Mutex::new(None);

/// A port of the loopback interface on which nothing listens. No other test gets it until 255 more
/// ports were requested.
///
/// # Panics
/// If no block is free, or no port of this process's block.
#[must_use]
pub fn free_port() -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let block = taken.get_or_insert_with(|| Block::take().expect("one of the blocks of ports is free"));
    (1..BLOCK)
        .map(|_| block.next_port())
        .find(|port| listen(*port).is_some())
        .expect("a port of this process's block is free")
}

impl Block {
    fn next_port(&mut self) -> u16 {
        self.next = self.next % (BLOCK - 1) + 1;
        self.base + self.next
    }

    fn take() -> Option<Self> {
        let start = (std::process::id() % u32::from(BLOCKS)) as u16;
        (0..BLOCKS).find_map(|step| {
            let base = FIRST + (start + step) % BLOCKS * BLOCK;
            Some(Self {
                _guard: listen(base)?,
                base,
                next: 0,
            })
        })
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}
