//! JSON schemas of the settings files, for editors and `isthmus config schema`.

use super::agent::AgentFile;
use super::gateway::GatewayFile;
use super::set_file::SetFile;

/// One of the three settings files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsFile {
    /// `set.yaml`.
    Set,
    /// `region-agent.yaml`.
    Agent,
    /// `gateway.yaml`.
    Gateway,
}

/// The JSON schema of `file`.
#[must_use]
pub fn schema(file: SettingsFile) -> serde_json::Value {
    let schema = match file {
        SettingsFile::Set => schemars::schema_for!(SetFile),
        SettingsFile::Agent => schemars::schema_for!(AgentFile),
        SettingsFile::Gateway => schemars::schema_for!(GatewayFile),
    };
    schema.to_value()
}
