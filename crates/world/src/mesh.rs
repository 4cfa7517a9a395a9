//! Mesh-wide settings: the part of `MeshConfig` that decides what is built.
//!
//! Defaults are Istio's (`MeshConfig` reference).

use std::sync::Arc;
use std::time::Duration;

use crate::virtual_service::Retries;
use crate::visibility::Visibility;

/// What happens to traffic towards hosts that the mesh does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutboundPolicy {
    #[default]
    AllowAny,
    RegistryOnly,
}

/// Where the inbound side of a proxy finds the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InboundPolicy {
    /// At the address that was dialled.
    #[default]
    Passthrough,
    /// At 127.0.0.1.
    Localhost,
}

/// How much of a path is normalised before anything looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PathNormalization {
    None,
    #[default]
    Base,
    MergeSlashes,
    DecodeAndMergeSlashes,
}

/// The least TLS version that servers accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsMinimum {
    #[default]
    V1_2,
    V1_3,
}

/// Access log: where to and in which format. An empty format is the default text format.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessLog {
    pub path: Arc<str>,
    pub format: Option<Arc<str>>,
    pub json: bool,
}

/// The settings of a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    pub trust_domain: Arc<str>,
    pub trust_domain_aliases: Vec<Arc<str>>,
    pub root_namespace: Arc<str>,
    /// The suffix of service hosts, `cluster.local`.
    pub domain: Arc<str>,
    pub access_log: Option<AccessLog>,
    pub outbound_policy: OutboundPolicy,
    pub inbound_policy: InboundPolicy,
    pub auto_mtls: bool,
    pub connect_timeout: Duration,
    /// `None` means the built-in default of two retries.
    pub retries: Option<Retries>,
    pub path_normalization: PathNormalization,
    pub tls_minimum: TlsMinimum,
    pub service_visibility: Visibility,
    pub rule_visibility: Visibility,
    pub route_visibility: Visibility,
    /// How many proxies in front of a gateway may be believed about the client's address.
    pub trusted_proxies: u32,
}

impl Default for MeshSettings {
    fn default() -> Self {
        MeshSettings {
            trust_domain: "cluster.local".into(),
            trust_domain_aliases: Vec::new(),
            root_namespace: "istio-system".into(),
            domain: "cluster.local".into(),
            access_log: None,
            outbound_policy: OutboundPolicy::AllowAny,
            inbound_policy: InboundPolicy::Passthrough,
            auto_mtls: true,
            connect_timeout: Duration::from_secs(10),
            retries: None,
            path_normalization: PathNormalization::Base,
            tls_minimum: TlsMinimum::V1_2,
            service_visibility: Visibility::Public,
            rule_visibility: Visibility::Public,
            route_visibility: Visibility::Public,
            trusted_proxies: 0,
        }
    }
}

impl MeshSettings {
    /// The trust domain and its aliases: whoever comes from one of them is of this mesh.
    pub fn trust_domains(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.trust_domain).chain(&self.trust_domain_aliases)
    }

    /// The identity of a service account: `spiffe://TD/ns/NS/sa/SA`.
    pub fn identity(&self, namespace: &str, account: &str) -> Arc<str> {
        format!("spiffe://{}/ns/{namespace}/sa/{account}", self.trust_domain).into()
    }
}
