//! A deterministic simulation of whole regions (design.md: tests/sim).
//!
//! Every process of every region runs the tasks of the real binaries, on its own runtime, whose
//! time the simulation advances. Everything around them is simulated: NATS by the twins in memory,
//! the network by byte streams with delays, wall clocks by numbers, randomness by the seed
//! ([`entropy`]). Faults are drawn from the seed ([`plan`], [`faults`]). After every step the state
//! is compared with a slow reference ([`mod@reference`], [`oracle`]). At the end everything heals,
//! and the regions must become equal.
//!
//! Reading order: [`world`], [`node`], [`site`], [`network`], then [`oracle`].

pub mod clients;
pub mod command;
pub mod disk;
pub mod entropy;
pub mod faults;
pub mod folder;
pub mod garble;
pub mod lag;
pub mod many;
pub mod network;
pub mod node;
pub mod one;
pub mod oracle;
mod pipe;
pub mod plan;
#[cfg(feature = "planted")]
pub mod planted;
pub mod reference;
pub mod site;
pub mod time;
pub mod trace;
pub mod world;
