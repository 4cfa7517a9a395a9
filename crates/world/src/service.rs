//! Services: what a host is, which ports it has, how its endpoints are found.
//!
//! Protocol selection follows Istio's rules: `appProtocol` wins over the port's name, an unknown word means detection.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::labels::Labels;
use crate::name::Age;
use crate::visibility::Visibility;

/// One declaration of a host. Several objects may declare one host; [`crate::World::service_for`] tells which one counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    pub host: Arc<str>,
    pub namespace: Arc<str>,
    /// The object that declares it: `Service/default/reviews`.
    pub object: Arc<str>,
}

/// What a port speaks, as far as the mesh must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Http,
    Http2,
    Grpc,
    GrpcWeb,
    /// Opaque bytes: TCP, and the database protocols that are handled as such.
    Tcp,
    /// TLS of the application, passed on unopened (`https`, `tls`).
    Tls,
    Udp,
    /// Undeclared: detected per connection.
    Auto,
}

impl Protocol {
    pub fn is_http(self) -> bool {
        matches!(self, Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }

    pub fn is_tcp(self) -> bool {
        matches!(self, Protocol::Tcp | Protocol::Tls)
    }

    /// The protocol of a Kubernetes service port: `transport` is `TCP` or `UDP`, `number` the port's.
    pub fn of_service_port(transport: &str, app_protocol: Option<&str>, name: &str, number: u16) -> Protocol {
        if transport.eq_ignore_ascii_case("udp") {
            return Protocol::Udp;
        }
        match app_protocol {
            Some("kubernetes.io/h2c") => return Protocol::Http2,
            Some("kubernetes.io/ws") => return Protocol::Http,
            Some("kubernetes.io/wss") => return Protocol::Tls,
            _ => {}
        }
        Protocol::named(app_protocol.unwrap_or(name)).unwrap_or(match number {
            // Protocols in which the server speaks first: waiting for the client would wait for ever.
            25 | 53 | 3306 | 27017 => Protocol::Tcp,
            _ => Protocol::Auto,
        })
    }

    /// The protocol that a word such as `http`, `http-admin` or `HTTP2` names.
    pub fn named(word: &str) -> Option<Protocol> {
        let word = word.to_ascii_lowercase();
        if word.starts_with("grpc-web") {
            return Some(Protocol::GrpcWeb);
        }
        match word.split('-').next().unwrap_or_default() {
            "http" | "http_proxy" => Some(Protocol::Http),
            "http2" => Some(Protocol::Http2),
            "grpc" => Some(Protocol::Grpc),
            "tcp" | "mongo" | "redis" | "mysql" => Some(Protocol::Tcp),
            "https" | "tls" => Some(Protocol::Tls),
            "udp" => Some(Protocol::Udp),
            _ => None,
        }
    }
}

/// The port behind a service port: a number, or the name of a container port that each Pod resolves for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetPort {
    Number(u16),
    Name(Arc<str>),
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortSpec {
    pub number: u16,
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub target: TargetPort,
}

/// Where the endpoints come from and how a connection finds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// A virtual address in front of known endpoints.
    Balanced,
    /// No virtual address: the client picks an endpoint's own address.
    Headless,
    /// A `ServiceEntry` without resolution: the address that the client dialled.
    None,
    /// Endpoints are DNS names that the proxy resolves.
    Dns,
}

/// What declared the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Registry {
    Kubernetes,
    /// A `ServiceEntry`; `external` hosts never get mutual TLS.
    Entry {
        external: bool,
    },
}

/// A service without its endpoints, which change far more often and live beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub key: ServiceKey,
    pub age: Age,
    pub registry: Registry,
    pub resolution: Resolution,
    /// Virtual addresses, IPv4 first.
    pub vips: Vec<IpAddr>,
    /// Address blocks of a `ServiceEntry`, wider than one address.
    pub blocks: Vec<IpNet>,
    pub ports: Vec<PortSpec>,
    /// Which Pods are endpoints; `None` selects nothing.
    pub selector: Option<Labels>,
    pub visibility: Visibility,
    pub publish_not_ready: bool,
    /// SANs that a server may show beside those of its endpoints' accounts.
    pub subject_alt_names: Vec<Arc<str>>,
    /// It asks for something that is not enforced yet and would restrict: it gets no endpoints.
    pub refused: bool,
}

impl Service {
    pub fn host(&self) -> &Arc<str> {
        &self.key.host
    }

    pub fn namespace(&self) -> &Arc<str> {
        &self.key.namespace
    }

    /// The short name: of a Kubernetes service its own, otherwise the host.
    pub fn name(&self) -> &Arc<str> {
        match self.registry {
            Registry::Kubernetes => &self.age.object.name,
            Registry::Entry { .. } => &self.key.host,
        }
    }

    /// The object that declares it: `Service/default/reviews`.
    pub fn object(&self) -> &Arc<str> {
        &self.key.object
    }

    pub fn port(&self, number: u16) -> Option<&PortSpec> {
        self.ports.iter().find(|port| port.number == number)
    }

    pub fn is_kubernetes(&self) -> bool {
        self.registry == Registry::Kubernetes
    }

    pub fn is_headless(&self) -> bool {
        self.resolution == Resolution::Headless
    }

    /// The port a destination means: the one written, else the only one, else the port that was listened on.
    pub fn destination_port(service: Option<&Service>, written: Option<u16>, listener: u16) -> u16 {
        written.unwrap_or(match service.map(|service| &*service.ports) {
            Some([only]) => only.number,
            _ => listener,
        })
    }

    /// Who wins when one host is declared twice for one client: Kubernetes, then the client's own namespace, then age.
    pub(crate) fn precedence<'a>(&'a self, client: &str) -> (bool, bool, &'a Age) {
        (!self.is_kubernetes(), &*self.key.namespace != client, &self.age)
    }
}
