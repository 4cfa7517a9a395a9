//! One object as a user wrote it: its name, its metadata, its typed content, and where every field of it stands.
//!
//! Content is behind `Arc`s, so that a clone is cheap and so that whoever memoises can compare by identity: a source that reads an
//! unchanged object again hands on the old `Arc`s (see [`Object::adopt`]).

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    enforced::Unenforced,
    finding::Finding,
    istio::{DestinationRule, Gateway, PeerAuthentication, ServiceEntry, VirtualService},
    k8s,
    lines::LineMap,
};

/// The kinds that Mizzen reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Namespace,
    Service,
    ServiceAccount,
    Deployment,
    ConfigMap,
    Secret,
    Pod,
    EndpointSlice,
    Endpoints,
    Node,
    VirtualService,
    DestinationRule,
    Gateway,
    ServiceEntry,
    PeerAuthentication,
    AuthorizationPolicy,
    RequestAuthentication,
}

/// API versions of `networking.istio.io` that are served.
const ISTIO_NETWORKING: &[&str] =
    &["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"];
/// API versions of `security.istio.io` that are served.
const ISTIO_SECURITY: &[&str] = &["security.istio.io/v1", "security.istio.io/v1beta1"];

impl Kind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 17] = [
        Self::Namespace,
        Self::Service,
        Self::ServiceAccount,
        Self::Deployment,
        Self::ConfigMap,
        Self::Secret,
        Self::Pod,
        Self::EndpointSlice,
        Self::Endpoints,
        Self::Node,
        Self::VirtualService,
        Self::DestinationRule,
        Self::Gateway,
        Self::ServiceEntry,
        Self::PeerAuthentication,
        Self::AuthorizationPolicy,
        Self::RequestAuthentication,
    ];

    /// The name as it stands in a manifest, the plural, and the short name that people type.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Namespace => ("Namespace", "namespaces", "ns"),
            Self::Service => ("Service", "services", "svc"),
            Self::ServiceAccount => ("ServiceAccount", "serviceaccounts", "sa"),
            Self::Deployment => ("Deployment", "deployments", "deploy"),
            Self::ConfigMap => ("ConfigMap", "configmaps", "cm"),
            Self::Secret => ("Secret", "secrets", "secret"),
            Self::Pod => ("Pod", "pods", "po"),
            Self::EndpointSlice => ("EndpointSlice", "endpointslices", "eps"),
            Self::Endpoints => ("Endpoints", "endpoints", "ep"),
            Self::Node => ("Node", "nodes", "no"),
            Self::VirtualService => ("VirtualService", "virtualservices", "vs"),
            Self::DestinationRule => ("DestinationRule", "destinationrules", "dr"),
            Self::Gateway => ("Gateway", "gateways", "gw"),
            Self::ServiceEntry => ("ServiceEntry", "serviceentries", "se"),
            Self::PeerAuthentication => ("PeerAuthentication", "peerauthentications", "pa"),
            Self::AuthorizationPolicy => ("AuthorizationPolicy", "authorizationpolicies", "ap"),
            Self::RequestAuthentication => ("RequestAuthentication", "requestauthentications", "ra"),
        }
    }

    /// The name as it stands in a manifest's `kind`.
    pub const fn as_str(self) -> &'static str {
        self.names().0
    }

    /// The API versions under which the kind is accepted; all of them have the same schema.
    pub const fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Deployment => &["apps/v1"],
            Self::EndpointSlice => &["discovery.k8s.io/v1"],
            Self::VirtualService | Self::DestinationRule | Self::Gateway | Self::ServiceEntry => ISTIO_NETWORKING,
            Self::PeerAuthentication | Self::AuthorizationPolicy | Self::RequestAuthentication => ISTIO_SECURITY,
            _ => &["v1"],
        }
    }

    /// The kind of a manifest, or `None` if Mizzen does not read it.
    pub fn from_manifest(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind && known.api_versions().contains(&api_version))
    }

    /// The kind that a person means: singular, plural or short name, in any case.
    pub fn from_typed(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let (name, plural, short) = kind.names();
            [name, plural, short].iter().any(|known| known.eq_ignore_ascii_case(word))
        })
    }

    /// Whether objects of the kind lie outside of namespaces.
    pub const fn is_cluster_scoped(self) -> bool {
        matches!(self, Self::Namespace | Self::Node)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names one object of the mesh. `namespace` is empty for a cluster-scoped kind.
///
/// Displays as `Kind/NAMESPACE/NAME`, or `Kind/NAME` if cluster-scoped; ordered by kind, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    pub kind: Kind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl ObjectId {
    /// The id of an object; `namespace` is dropped if the kind is cluster-scoped.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.is_cluster_scoped() { "" } else { namespace };
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        if namespace.is_empty() { write!(f, "{kind}/{name}") } else { write!(f, "{kind}/{namespace}/{name}") }
    }
}

/// Labels, and selectors that compare them.
pub type Labels = BTreeMap<String, String>;

/// The part of `metadata` that has a meaning here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    /// `creationTimestamp` in seconds since the Unix epoch. Objects without one count as equally old.
    pub creation: Option<i64>,
    /// The owner marked `controller: true` in `ownerReferences`.
    pub owner: Option<Owner>,
}

/// Who made an object (a `ReplicaSet` or `Deployment` made the `Pod`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub kind: String,
    pub name: String,
}

/// Where an object stands: the file as the source named it, and its first line (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub file: Arc<str>,
    pub line: u32,
}

/// An accepted object. Its `findings` are warnings about it: an error would have kept it out.
#[derive(Debug, Clone)]
pub struct Object {
    pub id: ObjectId,
    pub meta: Arc<Meta>,
    pub spec: Spec,
    /// Field path → line, see [`Object::line_of`].
    pub lines: Arc<LineMap>,
    pub origin: Origin,
    pub findings: Arc<[Finding]>,
    /// The fields that are present and that this release does not enforce.
    pub unenforced: Arc<[Unenforced]>,
    /// Some field of `unenforced` would restrict or encrypt: the object's traffic must be refused (design §4.22).
    /// Where one part of an object can be refused alone, ask [`Object::refuses_under`].
    pub refuses_traffic: bool,
}

impl Object {
    /// The line of a field such as `spec.http[0].match[1]`, or of its nearest ancestor that is written down.
    pub fn line_of(&self, path: &str) -> u32 {
        self.lines.line_of(path)
    }

    /// Whether a field at or below `path` (`spec.servers[1]`) refuses traffic.
    pub fn refuses_under(&self, path: &str) -> bool {
        self.unenforced.iter().any(|field| field.restricts && field.is_under(path))
    }

    /// Whether both say the same, wherever they stand.
    pub fn same_content(&self, other: &Self) -> bool {
        self.id == other.id && self.meta == other.meta && self.spec == other.spec
    }

    /// Takes over the `Arc`s of `old` where the content is equal, so that identity means "unchanged"; positions stay the new ones.
    pub fn adopt(&mut self, old: &Self) {
        if self.id == old.id {
            self.id = old.id.clone();
        }
        if self.meta == old.meta {
            self.meta = Arc::clone(&old.meta);
        }
        if self.spec == old.spec {
            self.spec = old.spec.clone();
        }
    }
}

/// The content of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    Namespace,
    Service(Arc<k8s::ServiceSpec>),
    ServiceAccount,
    Deployment(Arc<k8s::DeploymentSpec>),
    ConfigMap(Arc<k8s::ConfigMap>),
    Secret(Arc<k8s::Secret>),
    Pod(Arc<k8s::Pod>),
    EndpointSlice(Arc<k8s::EndpointSlice>),
    Endpoints(Arc<k8s::Endpoints>),
    Node(Arc<k8s::Node>),
    VirtualService(Arc<VirtualService>),
    DestinationRule(Arc<DestinationRule>),
    Gateway(Arc<Gateway>),
    ServiceEntry(Arc<ServiceEntry>),
    PeerAuthentication(Arc<PeerAuthentication>),
    /// Recognised, not read: see [`crate::needs_allow_unenforced`].
    AuthorizationPolicy(Arc<serde_json::Value>),
    /// Recognised, not read: see [`crate::needs_allow_unenforced`].
    RequestAuthentication(Arc<serde_json::Value>),
}
