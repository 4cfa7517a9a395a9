//! What a mesh looks like right now: the one value behind the live table, the plain lines and `mizzen status`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    fleet::WorkloadView,
    mizzend::{Change, FindingView},
    report::{EdgeView, Usage},
};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) directory: String,
    /// All workloads are ready, and the control plane is up.
    pub(crate) ready: bool,
    pub(crate) workloads: Vec<WorkloadView>,
    /// Of each workload's proxies and programs.
    pub(crate) usage: BTreeMap<String, WorkloadUsage>,
    pub(crate) edges: Vec<LiveEdge>,
    pub(crate) findings: Vec<FindingView>,
    pub(crate) last_change: Option<Change>,
    /// `127.0.0.1:8080 → istio-system/istio-ingressgateway:80`.
    pub(crate) published: Vec<String>,
    /// Documents that are none of ours.
    pub(crate) not_used: Vec<String>,
    /// What is wrong with the machinery itself (the control plane is down).
    pub(crate) trouble: Option<String>,
}

/// An edge, and its pace in the last seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LiveEdge {
    /// Requests per second.
    pub(crate) rate: f64,
    pub(crate) edge: EdgeView,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkloadUsage {
    pub(crate) proxy: Option<Usage>,
    pub(crate) app: Option<Usage>,
    /// Of one core, proxy and program together, in the last seconds.
    pub(crate) cpu_share: Option<f64>,
}
