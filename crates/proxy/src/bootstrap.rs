//! How the process was started: command line, Istio's agent environment, handed-over sockets; and the xDS node made of it.
//!
//! Names are Istio's (pilot-agent's environment and node metadata), so that a pod or unit file written for it works.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::PathBuf,
    time::Duration,
};

use mizzen_telemetry::Workload;
use mizzen_xds::NodeFacts;
use serde_json::Value as Json;

/// What the proxy tells the control plane that it can do (docs/wire.md).
const CAPABILITIES: [&str; 2] = ["mizzen.io/vhds", "istio.alpn"];

/// Whose proxy this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Beside a workload.
    Sidecar,
    /// A gateway.
    Router,
}

/// Everything known at the start.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    pub(crate) role: Role,
    pub(crate) workers: usize,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    pub(crate) trust_domain: String,
    pub(crate) ip: IpAddr,
    pub(crate) workload_name: String,
    pub(crate) cluster_id: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, Json>,
    /// `host:port` of the control plane; also of the CA unless that is set.
    pub(crate) discovery_address: String,
    pub(crate) ca_address: String,
    pub(crate) admin_port: u16,
    pub(crate) status_port: u16,
    pub(crate) admin_socket: Option<PathBuf>,
    /// How long connections may finish after SIGTERM.
    pub(crate) termination_drain: Duration,
    /// Asked of the CA; `None` takes its default.
    pub(crate) certificate_ttl: Option<Duration>,
    /// Whether socket marks can be set here.
    pub(crate) marks: bool,
    /// Networks reached directly; with a broker, everything else goes through it.
    pub(crate) inside: Vec<(IpAddr, u8)>,
    /// Listening sockets handed over, by port.
    pub(crate) handed: Vec<(u16, OwnedFd)>,
}

/// `host.mizzen.internal`: an address of the sandbox that only the broker can lead anywhere (docs/dev/contracts.md).
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 255, 254));

impl Bootstrap {
    /// A copy of the listening socket that was handed over for the address's port, if there is one.
    pub(crate) fn handed_socket(&self, address: SocketAddr) -> Option<io::Result<TcpListener>> {
        if address.is_ipv6() {
            // One handed socket serves the port, whatever its family.
            return None;
        }
        let (_, socket) = self.handed.iter().find(|(port, _)| *port == address.port())?;
        Some(socket.try_clone().map(TcpListener::from))
    }

    /// Whether an address is reached without the broker.
    pub(crate) fn is_inside(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || (ip != HOST && self.inside.iter().any(|net| contains(*net, ip)))
    }

    /// The identity asked of the CA.
    pub(crate) fn spiffe_id(&self) -> String {
        format!("spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }

    /// `type~ip~name.namespace~namespace.svc.cluster.local`.
    pub(crate) fn node_id(&self) -> String {
        let role = match self.role {
            Role::Sidecar => "sidecar",
            Role::Router => "router",
        };
        format!("{role}~{}~{}.{}~{}.svc.cluster.local", self.ip, self.name, self.namespace, self.namespace)
    }

    /// The workload's own labels, for metrics.
    pub(crate) fn workload(&self) -> Workload {
        let label = |names: &[&str]| names.iter().find_map(|name| self.labels.get(*name)).map(String::as_str);
        let canonical = label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
        let revision = label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
        Workload {
            workload: (&*self.workload_name).into(),
            namespace: (&*self.namespace).into(),
            principal: self.spiffe_id().into(),
            app: label(&["app"]).unwrap_or_default().into(),
            version: label(&["version"]).unwrap_or_default().into(),
            canonical_service: canonical.unwrap_or(&self.workload_name).into(),
            canonical_revision: revision.unwrap_or("latest").into(),
            cluster: (&*self.cluster_id).into(),
        }
    }

    /// The xDS node.
    pub(crate) fn node(&self) -> NodeFacts {
        let own = [
            ("NAME", self.name.clone().into()),
            ("NAMESPACE", self.namespace.clone().into()),
            ("SERVICE_ACCOUNT", self.service_account.clone().into()),
            ("WORKLOAD_NAME", self.workload_name.clone().into()),
            ("CLUSTER_ID", self.cluster_id.clone().into()),
            ("INSTANCE_IPS", self.ip.to_string().into()),
            ("ISTIO_VERSION", env!("CARGO_PKG_VERSION").into()),
            ("LABELS", serde_json::json!(self.labels)),
        ];
        let own = own.into_iter().map(|(name, value): (&str, Json)| (name.to_owned(), value));
        NodeFacts {
            id: self.node_id(),
            cluster: format!("{}.{}", self.workload_name, self.namespace),
            user_agent: "mizzen-proxy".to_owned(),
            // What the environment says wins over what follows from it.
            metadata: own.chain(self.metadata.clone()).collect(),
            capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        }
    }
}

fn contains((net, bits): (IpAddr, u8), ip: IpAddr) -> bool {
    let prefix = |a: u128, b: u128, width: u32| {
        let shift = width.saturating_sub(u32::from(bits));
        a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
    };
    match (net, ip.to_canonical()) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => prefix(u128::from(net.to_bits()), u128::from(ip.to_bits()), 32),
        (IpAddr::V6(net), IpAddr::V6(ip)) => prefix(net.to_bits(), ip.to_bits(), 128),
        _ => false,
    }
}
