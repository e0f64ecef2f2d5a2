//! What every HTTP door of Isthmus has: errors with stable codes, the administrative routes, listeners and their limits.
//!
//! A door only translates (design.md section 6): it decides nothing about data. Beside the binaries this is the only
//! crate that names axum.

pub mod admin;
pub mod aside;
pub mod body;
pub mod browser;
pub mod code;
pub mod doctor;
pub mod history;
pub mod problem;
pub mod serve;

pub use admin::{Admin, Currency, admin_router};
pub use aside::Aside;
pub use body::read_body;
pub use browser::{no_foreign_pages, only_own_pages};
pub use code::ErrorCode;
pub use history::History;
pub use problem::{Problem, with_problems};
pub use serve::{BindError, bind, bind_loopback, serve};
