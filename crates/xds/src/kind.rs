//! The kinds of resources that travel, the order in which they are sent, and which kind may refer to which.
//!
//! In: type URLs. Out: [`Kind`], its order and its referrers. This is all the crate knows about meaning.

/// A kind of resource. The order of the variants is the order in which updates are sent ("make before break":
/// <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Cluster,
    Endpoints,
    Listener,
    Route,
    VirtualHost,
    Secret,
    Extension,
    NameTable,
}

/// Every kind, in sending order.
pub const KINDS: [Kind; 8] = [
    Kind::Cluster,
    Kind::Endpoints,
    Kind::Listener,
    Kind::Route,
    Kind::VirtualHost,
    Kind::Secret,
    Kind::Extension,
    Kind::NameTable,
];

impl Kind {
    /// The type URL on the wire.
    pub const fn type_url(self) -> &'static str {
        match self {
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Kind::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Kind::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
            Kind::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Kind::Extension => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Kind::NameTable => "type.googleapis.com/istio.networking.nds.v1.NameTable",
        }
    }

    /// The short name people use: `CDS`, `EDS`, `LDS`, `RDS`, `VHDS`, `SDS`, `ECDS`, `NDS`.
    pub const fn short(self) -> &'static str {
        match self {
            Kind::Cluster => "CDS",
            Kind::Endpoints => "EDS",
            Kind::Listener => "LDS",
            Kind::Route => "RDS",
            Kind::VirtualHost => "VHDS",
            Kind::Secret => "SDS",
            Kind::Extension => "ECDS",
            Kind::NameTable => "NDS",
        }
    }

    /// The kind of a type URL, if it is one that this crate carries.
    pub fn from_type_url(type_url: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.type_url() == type_url)
    }

    /// Kinds whose resources may name a resource of this kind. Its removals wait until these are acknowledged.
    pub(crate) const fn referrers(self) -> &'static [Kind] {
        match self {
            Kind::Listener | Kind::NameTable => &[],
            Kind::Route => &[Kind::Listener],
            Kind::VirtualHost => &[Kind::Route],
            Kind::Cluster | Kind::Extension => &[Kind::Listener, Kind::Route, Kind::VirtualHost],
            Kind::Endpoints => &[Kind::Cluster],
            Kind::Secret => &[Kind::Cluster, Kind::Listener],
        }
    }

    /// Whether a first request that names nothing means "everything" (the legacy wildcard; only for kinds that are
    /// roots of the configuration, as the protocol has it).
    pub(crate) const fn wildcard_when_unnamed(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener | Kind::NameTable)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.short())
    }
}
