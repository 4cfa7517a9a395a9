//! `PeerAuthentication`: whether a workload accepts plain text.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::common::PolicySelector;

/// The mTLS mode of the workloads that `selector` chooses; without one, of the namespace, or of the mesh in the root namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    pub selector: Option<PolicySelector>,
    pub mtls: Option<MutualTls>,
    /// By the port of the workload (not of the service). The key is a port number; validation has refused all else.
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

/// A mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    pub mode: MtlsMode,
}

/// What a workload accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MtlsMode {
    /// As the next wider policy says; PERMISSIVE if none does.
    #[default]
    Unset,
    /// Plain text only.
    Disable,
    /// Plain text and mutual TLS.
    Permissive,
    /// Mutual TLS only.
    Strict,
}
