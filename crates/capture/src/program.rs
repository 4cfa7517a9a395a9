//! From what is to be captured to the text of the nftables program (`nft(8)`).

use std::{
    fmt::{self, Display, Write as _},
    iter,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mizzen_net::sock::mark;

/// Ports on which the proxy takes captured traffic (Istio's numbers).
pub mod port {
    /// TCP that the workload sends.
    pub const OUTBOUND: u16 = 15001;
    /// TCP that the workload is sent.
    pub const INBOUND: u16 = 15006;
    /// DNS queries of the workload, UDP and TCP.
    pub const DNS: u16 = 15053;
}

/// Ports on which the proxy itself serves, never captured inbound: admin, merged metrics, readiness, DNS, raw metrics.
pub const PROXY_PORTS: [u16; 5] = [15000, 15020, 15021, 15053, 15090];

/// The program that removes what [`Capture::program`] made, and nothing else. Fails if the table does not exist.
pub const REMOVE: &str = "delete table inet mizzen\n";

/// What is captured in one network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capture {
    /// DNS only: a gateway's namespace, whose other traffic belongs to the gateway itself.
    DnsOnly,
    /// A workload with a proxy beside it.
    Sidecar(Sidecar),
}

/// What a sidecar captures. The default is everything but its own service ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// Inbound TCP ports that go to the proxy.
    pub inbound: Ports,
    /// Inbound TCP ports that go to the workload directly, besides [`PROXY_PORTS`]. Applies only to [`Ports::All`].
    pub inbound_excluded: Vec<u16>,
    /// Destinations whose TCP goes to the proxy.
    pub outbound: Ranges,
    /// Destinations that are dialled directly, even inside `outbound`.
    pub outbound_excluded: Vec<IpNet>,
    /// Destination ports captured whatever the destination (unless that is excluded).
    pub outbound_ports: Vec<u16>,
    /// Destination ports, TCP and UDP, that are dialled directly. Port 53 here switches DNS capture off.
    pub outbound_ports_excluded: Vec<u16>,
    /// Whether DNS goes to the proxy.
    pub dns: bool,
}

/// A choice of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Every port.
    All,
    /// These; an empty list is none.
    Only(Vec<u16>),
}

/// A choice of destination addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Every address.
    All,
    /// These, which may overlap and be of both families; an empty list is none.
    Only(Vec<IpNet>),
}

impl Default for Sidecar {
    fn default() -> Self {
        Self {
            inbound: Ports::All,
            inbound_excluded: Vec::new(),
            outbound: Ranges::All,
            outbound_excluded: Vec::new(),
            outbound_ports: Vec::new(),
            outbound_ports_excluded: Vec::new(),
            dns: true,
        }
    }
}

impl Capture {
    /// The program. Loading it replaces an earlier one of the same namespace atomically.
    pub fn program(&self) -> String {
        let mut out = Program::default();
        match self {
            Self::DnsOnly => {
                out.chain("outbound", None, &dns_rules());
                out.chain("output", Some("type nat hook output priority -100; policy accept;"), &own_traffic(false));
            }
            Self::Sidecar(sidecar) => {
                out.chain("inbound", None, &sidecar.inbound_rules());
                out.chain("outbound", None, &sidecar.outbound_rules());
                out.chain(
                    "prerouting",
                    Some("type nat hook prerouting priority -100; policy accept;"),
                    &["jump inbound".into()],
                );
                out.chain("output", Some("type nat hook output priority -100; policy accept;"), &own_traffic(true));
            }
        }
        out.finish()
    }
}

impl Sidecar {
    /// For connections that arrive, and for those of the proxy to its own workload's address. What falls through is let pass.
    fn inbound_rules(&self) -> Vec<String> {
        let redirect = |what: &str| format!("{what} redirect to :{}", port::INBOUND);
        match &self.inbound {
            Ports::All => {
                let direct = PROXY_PORTS.iter().chain(&self.inbound_excluded).copied();
                vec![format!("tcp dport {} return", set(direct)), redirect("meta l4proto tcp")]
            }
            Ports::Only(ports) if ports.is_empty() => Vec::new(),
            Ports::Only(ports) => vec![redirect(&format!("tcp dport {}", set(ports.iter().copied())))],
        }
    }

    /// For what the workload itself sends. The order is Istio's: excluded ports, DNS, excluded ranges, what is included.
    fn outbound_rules(&self) -> Vec<String> {
        let redirect = |what: &str| format!("{what} redirect to :{}", port::OUTBOUND);
        let mut rules = Vec::new();
        if !self.outbound_ports_excluded.is_empty() {
            let direct = set(self.outbound_ports_excluded.iter().copied());
            rules.extend([format!("tcp dport {direct} return"), format!("udp dport {direct} return")]);
        }
        if self.dns {
            rules.extend(dns_rules());
        }
        rules.extend(by_family(&self.outbound_excluded).map(|ranges| format!("{ranges} return")));
        if !self.outbound_ports.is_empty() {
            rules.push(redirect(&format!("tcp dport {}", set(self.outbound_ports.iter().copied()))));
        }
        match &self.outbound {
            Ranges::All => rules.push(redirect("meta l4proto tcp")),
            Ranges::Only(ranges) => {
                rules.extend(by_family(ranges).map(|ranges| redirect(&format!("{ranges} meta l4proto tcp"))));
            }
        }
        rules
    }
}

fn dns_rules() -> Vec<String> {
    ["udp", "tcp"].map(|protocol| format!("{protocol} dport 53 redirect to :{}", port::DNS)).into()
}

/// Tells the proxy's own connections from the workload's, which alone reach the chain `outbound`.
fn own_traffic(sidecar: bool) -> Vec<String> {
    let (outbound, to_app) = (mark::OUTBOUND, mark::INBOUND);
    let mut rules = vec![format!("meta mark {to_app} return")];
    if sidecar {
        rules.extend([
            // Where Istio's inbound cluster binds: a proxy that cannot mark its sockets is told by it.
            "oifname \"lo\" ip saddr 127.0.0.6 return".into(),
            "oifname \"lo\" ip6 saddr ::6 return".into(),
            // A workload that calls its own service: the proxy picked the workload itself, so the call still has to
            // pass the inbound side.
            format!("meta mark {outbound} oifname \"lo\" ip daddr != 127.0.0.0/8 jump inbound"),
            format!("meta mark {outbound} oifname \"lo\" ip6 daddr != ::1 jump inbound"),
        ]);
    }
    rules.extend([format!("meta mark {outbound} return"), "oifname \"lo\" return".into(), "jump outbound".into()]);
    rules
}

/// `ip daddr { … }` and `ip6 daddr { … }`, as far as there are ranges of that family. Overlaps are merged, since nft
/// refuses a set with overlapping intervals.
fn by_family(ranges: &[IpNet]) -> impl Iterator<Item = String> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for range in ranges {
        match range.trunc() {
            IpNet::V4(range) => v4.push(range),
            IpNet::V6(range) => v6.push(range),
        }
    }
    let v4 = list(Ipv4Net::aggregate(&v4)).map(|set| format!("ip daddr {set}"));
    let v6 = list(Ipv6Net::aggregate(&v6)).map(|set| format!("ip6 daddr {set}"));
    v4.into_iter().chain(v6)
}

/// A set of ports, sorted, without duplicates.
fn set(ports: impl Iterator<Item = u16>) -> String {
    let mut ports: Vec<u16> = ports.collect();
    ports.sort_unstable();
    ports.dedup();
    list(ports).unwrap_or_else(|| "{ }".into())
}

/// `{ a, b }`, or `None` for nothing.
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> Option<String> {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    (!items.is_empty()).then(|| format!("{{ {} }}", items.join(", ")))
}

/// Writes the table's text.
#[derive(Default)]
struct Program(String);

impl Program {
    fn chain(&mut self, name: &str, hook: Option<&str>, rules: &[String]) {
        let lines = hook.into_iter().chain(rules.iter().map(String::as_str));
        let body = lines.fold(String::new(), |body, line| body + "\t\t" + line + "\n");
        self.write(format_args!("\tchain {name} {{\n{body}\t}}\n"));
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a String takes any text");
    }

    /// The table is declared first so that deleting it succeeds whether it was there or not; the transaction makes the
    /// three steps one.
    fn finish(self) -> String {
        iter::once("table inet mizzen\ndelete table inet mizzen\ntable inet mizzen {\n")
            .chain([self.0.as_str(), "}\n"])
            .collect()
    }
}

#[cfg(test)]
mod tests;
