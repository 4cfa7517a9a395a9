//! `PeerAuthentication`: which transport a workload accepts.
//!
//! Composition (Istio's security reference): PERMISSIVE, overridden by the mesh (root namespace, no selector), then the
//! namespace, then the workload; UNSET inherits; among several of one level the oldest counts.

use std::sync::Arc;

use crate::labels::Labels;
use crate::name::Age;

/// What an inbound port accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MtlsMode {
    /// Plain text only.
    Disable,
    /// Both.
    #[default]
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// One `PeerAuthentication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAuthentication {
    pub age: Age,
    /// `PeerAuthentication/foo/default`.
    pub object: Arc<str>,
    /// `None` covers the whole namespace (or mesh).
    pub selector: Option<Labels>,
    /// `None` is UNSET.
    pub mode: Option<MtlsMode>,
    /// It asks for something that is not enforced yet: what it covers accepts nothing.
    pub refused: bool,
}

impl PeerAuthentication {
    fn is_in(&self, namespace: &str) -> bool {
        &*self.age.object.namespace == namespace
    }
}

/// The outcome for one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mtls {
    pub mode: MtlsMode,
    /// The object that set the mode; `None` is the default.
    pub decided_by: Option<Arc<str>>,
    /// The object because of which inbound traffic is refused altogether.
    pub refused_by: Option<Arc<str>>,
}

/// The effective policy for a workload with these labels in `namespace`.
pub fn effective(policies: &[&PeerAuthentication], root_namespace: &str, namespace: &str, labels: &Labels) -> Mtls {
    let oldest = |level: &dyn Fn(&PeerAuthentication) -> bool| {
        policies.iter().filter(|policy| level(policy)).min_by(|a, b| a.age.cmp(&b.age))
    };
    let mesh = oldest(&|policy| policy.is_in(root_namespace) && policy.selector.is_none());
    let own = oldest(&|policy| policy.is_in(namespace) && policy.selector.is_none());
    // A selector in the root namespace is ignored (Istio): it selects neither there nor elsewhere.
    let workload = oldest(&|policy| {
        namespace != root_namespace
            && policy.is_in(namespace)
            && policy.selector.as_ref().is_some_and(|selector| labels.satisfy(selector))
    });
    let mut outcome = Mtls::default();
    for policy in [mesh, own, workload].into_iter().flatten() {
        if let Some(mode) = policy.mode {
            outcome.mode = mode;
            outcome.decided_by = Some(policy.object.clone());
        }
        if policy.refused {
            outcome.refused_by = Some(policy.object.clone());
        }
    }
    outcome
}
