//! Settings: one file shared by the regions and one for each process (design.md sections 3 and 12).
//!
//! Reading has two steps. A *file* model defines the keys and their types; unknown keys, missing
//! units and wrong types are rejected there, with line and column. The *checked* model
//! ([`SetSettings`], [`AgentSettings`], [`GatewaySettings`]) is built from it: names are validated,
//! defaults filled in, paths resolved, and constraints between values checked. Code outside this
//! module sees only checked models and need not check again.

mod access;
mod address;
mod agent;
mod document;
mod environment;
mod error;
mod gateway;
mod process;
mod schema;
mod service_link;
mod set;
mod set_check;
mod set_file;
#[cfg(test)]
mod tests;
mod units;

pub use access::{
    BucketRights, Buckets, CallerSettings, DoorSettings, InvalidTokenHash, Role, TlsSettings, TokenHash,
};
pub use address::{Address, Endpoint, InvalidAddress, Listen, NatsServer};
pub use agent::{AgentSettings, MemoryLimits, SyncSettings};
pub use document::Document;
pub use environment::{Environment, RESERVED, RESERVED_PREFIX};
pub use error::{Fault, Place, SettingsError};
pub use gateway::{GatewaySettings, LinkSettings};
pub use process::{
    LogFormat, LogSettings, NatsSettings, Otlp, OtlpProtocol, ProcessSettings, Settings, TelemetrySettings,
};
pub use schema::{SettingsFile, schema};
pub use set::{BucketSettings, ClockLimits, GroupSettings, RegionSettings, SetDigest, SetSettings};
pub use set_file::Kind;
pub use units::{ByteSize, Duration, InvalidQuantity};
