//! Talking to running agents and gateways.

pub(crate) mod http;
pub(crate) mod status;
