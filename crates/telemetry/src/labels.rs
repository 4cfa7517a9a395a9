//! Who talked to whom: the label sets of Istio's standard metrics
//! (<https://istio.io/latest/docs/reference/config/metrics/>).
//!
//! In: what the proxy knows of itself, of its peer (certificate, endpoint metadata) and of the service addressed. Out:
//! a [`Labels`] value that identifies one series. The strings are shared, because a proxy knows few workloads and meets
//! each on many connections.

use std::sync::Arc;

/// Written where a fact about a peer is missing.
pub const UNKNOWN: &str = "unknown";

/// Which side of a connection reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reporter {
    /// The client's proxy, or a gateway.
    Source,
    /// The server's proxy.
    Destination,
    /// A waypoint.
    Waypoint,
}

impl Reporter {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Waypoint => "waypoint",
        }
    }
}

/// How the connection from the downstream was secured, as seen by the reporter; the source's proxy always says
/// `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecurityPolicy {
    /// The source reports, or it cannot be told.
    Unknown,
    /// Plain text.
    None,
    /// Mutual TLS with a verified peer.
    MutualTls,
}

impl SecurityPolicy {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unknown => UNKNOWN,
            Self::None => "none",
            Self::MutualTls => "mutual_tls",
        }
    }
}

/// One end of a connection. A reporter's own facts may be empty strings; those of a peer start from
/// [`Workload::unknown`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Name of the controller, a Deployment's mostly.
    pub workload: Arc<str>,
    /// Its namespace; where the peer presented a SPIFFE id, the namespace in it.
    pub namespace: Arc<str>,
    /// `spiffe://…`
    pub principal: Arc<str>,
    /// Label `app`.
    pub app: Arc<str>,
    /// Label `version`.
    pub version: Arc<str>,
    /// Label `service.istio.io/canonical-name`, or what Istio falls back to.
    pub canonical_service: Arc<str>,
    /// Label `service.istio.io/canonical-revision`.
    pub canonical_revision: Arc<str>,
    /// The cluster's id, `Kubernetes` by default.
    pub cluster: Arc<str>,
}

impl Workload {
    /// A peer of which nothing is known; its revision is `latest`, as Istio has it.
    pub fn unknown() -> Self {
        let mut workload = Self::all(UNKNOWN);
        workload.canonical_revision = "latest".into();
        workload
    }

    pub(crate) fn all(value: &str) -> Self {
        let value: Arc<str> = value.into();
        Self {
            workload: value.clone(),
            namespace: value.clone(),
            principal: value.clone(),
            app: value.clone(),
            version: value.clone(),
            canonical_service: value.clone(),
            canonical_revision: value.clone(),
            cluster: value,
        }
    }
}

/// The service that was addressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service {
    /// `reviews.default.svc.cluster.local`, or `BlackHoleCluster`, `PassthroughCluster`, `InboundPassthroughCluster`.
    pub host: Arc<str>,
    /// `reviews`
    pub name: Arc<str>,
    /// `default`
    pub namespace: Arc<str>,
}

impl Service {
    /// A service of which nothing is known.
    pub fn unknown() -> Self {
        Self::all(UNKNOWN)
    }

    pub(crate) fn all(value: &str) -> Self {
        let value: Arc<str> = value.into();
        Self { host: value.clone(), name: value.clone(), namespace: value }
    }
}

/// What all requests of one series share. Protocol, code and flags come with each request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels {
    /// Who reports.
    pub reporter: Reporter,
    /// The client.
    pub source: Arc<Workload>,
    /// The server.
    pub destination: Arc<Workload>,
    /// The service the client addressed.
    pub service: Arc<Service>,
    /// How the downstream connection was secured.
    pub security: SecurityPolicy,
}

impl Labels {
    /// The series that takes what found no room.
    pub(crate) fn overflow() -> Self {
        let workload = Arc::new(Workload::all("overflow"));
        Self {
            reporter: Reporter::Destination,
            source: workload.clone(),
            destination: workload,
            service: Arc::new(Service::all("overflow")),
            security: SecurityPolicy::Unknown,
        }
    }

    /// Names and values in Istio's order up to `destination_cluster`; what follows differs by metric.
    pub(crate) fn pairs(&self) -> [(&'static str, &str); 20] {
        let (source, destination, service) = (&*self.source, &*self.destination, &*self.service);
        [
            ("reporter", self.reporter.name()),
            ("source_workload", &source.workload),
            ("source_canonical_service", &source.canonical_service),
            ("source_canonical_revision", &source.canonical_revision),
            ("source_workload_namespace", &source.namespace),
            ("source_principal", &source.principal),
            ("source_app", &source.app),
            ("source_version", &source.version),
            ("source_cluster", &source.cluster),
            ("destination_workload", &destination.workload),
            ("destination_workload_namespace", &destination.namespace),
            ("destination_principal", &destination.principal),
            ("destination_app", &destination.app),
            ("destination_version", &destination.version),
            ("destination_service", &service.host),
            ("destination_canonical_service", &destination.canonical_service),
            ("destination_canonical_revision", &destination.canonical_revision),
            ("destination_service_name", &service.name),
            ("destination_service_namespace", &service.namespace),
            ("destination_cluster", &destination.cluster),
        ]
    }
}
