//! `ServiceEntry`: services that no Kubernetes `Service` describes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::common::{LabelsSelector, Port};

/// Hosts, their ports, and how their addresses are found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    pub hosts: Vec<String>,
    /// IPs, or CIDRs with resolution NONE and STATIC.
    pub addresses: Vec<String>,
    pub ports: Vec<Port>,
    pub location: Location,
    pub resolution: Resolution,
    /// Excludes `workloadSelector`.
    pub endpoints: Vec<WorkloadEntry>,
    pub workload_selector: Option<LabelsSelector>,
    /// `.`, `*`, `~` or namespaces; empty means the mesh's default.
    pub export_to: Vec<String>,
    pub subject_alt_names: Vec<String>,
}

/// Whether the service is part of the mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    #[default]
    MeshExternal,
    MeshInternal,
}

/// How addresses are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The address that the client asked for.
    #[default]
    None,
    /// `endpoints` with IP addresses.
    Static,
    /// All addresses that DNS gives.
    Dns,
    /// One address that DNS gives.
    DnsRoundRobin,
    /// By the host of each request.
    DynamicDns,
}

/// One endpoint of a `ServiceEntry`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// IP, DNS name or `unix:///path`; may be empty if `network` is set.
    pub address: String,
    /// Port name → number where it differs from the service's.
    pub ports: BTreeMap<String, u16>,
    pub labels: BTreeMap<String, String>,
    pub network: Option<String>,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
    pub weight: Option<u32>,
    pub service_account: Option<String>,
}
