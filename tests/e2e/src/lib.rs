//! Real processes for tests and benchmarks: a set of regions run by the shipped `isthmus up` in its
//! own folder. Dropping the value ends the processes and removes the folder, also when a test
//! fails.

mod agent;
mod faults;
mod load;
pub mod nats;
mod nats_user;
mod process;
mod running;
mod site;
mod wait;

pub use agent::{Agent, Answer};
pub use faults::Met;
pub use load::{Load, Tally};
pub use nats_user::NatsUser;
pub use process::Process;
pub use running::{Running, binary, isthmus};
pub use site::Site;
pub use wait::until;
