//! The common parts of all HTTP doors of Isthmus: errors with stable codes, the administrative
//! routes, listeners and their limits, access control.
//!
//! A door only translates (design.md section 6): it makes no decisions about data. Except for the
//! binaries this is the only crate that uses axum.

pub mod access;
pub mod admin;
pub mod aside;
pub mod body;
pub mod browser;
pub mod certificates;
pub mod code;
pub mod doctor;
pub mod held;
pub mod history;
pub mod names;
pub mod open;
pub mod openapi;
pub mod operators;
pub mod problem;
pub mod refusals;
pub mod region;
pub mod serve;
pub mod streams;

pub use access::{Gate, Proof};
pub use admin::{Admin, Currency, admin_router};
pub use aside::Aside;
pub use body::read_body;
pub use browser::no_foreign_pages;
pub use code::ErrorCode;
pub use doctor::process_kind;
pub use held::{ALLOWANCE, HeldBytes, Holding, HoldsItself, no_room};
pub use history::History;
pub use open::{Doors, OpenDoor, bind_admin, serve_admin};
pub use problem::{Problem, with_problems};
pub use serve::{BindError, Door, Limits};
