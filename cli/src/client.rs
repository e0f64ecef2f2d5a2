//! Requests to running agents and gateways.

pub(crate) mod agreement;
pub(crate) mod batch;
pub(crate) mod bulk;
pub(crate) mod door;
pub(crate) mod http;
pub(crate) mod kv;
pub(crate) mod operators;
pub(crate) mod proof;
pub(crate) mod status;
