//! Istio's pod annotations (`traffic.sidecar.istio.io/…`), as its "Resource annotations" page describes them.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::{Ports, Ranges, Sidecar};

const PREFIX: &str = "traffic.sidecar.istio.io/";

/// An annotation whose value cannot be read. The object that carries it must not run uncaptured, or captured by guess.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {annotation}: {entry:?} is not {expected}")]
pub struct AnnotationError {
    /// The annotation's full name.
    pub annotation: String,
    /// The part of its value that is wrong.
    pub entry: String,
    /// What would have been right, with an example.
    pub expected: &'static str,
}

/// Reads what a pod's annotations say about capture. Absent ones leave the default; all that is wrong is reported at once.
///
/// Known: `includeInboundPorts`, `excludeInboundPorts`, `includeOutboundPorts`, `excludeOutboundPorts`,
/// `includeOutboundIPRanges`, `excludeOutboundIPRanges`. The first and fifth also take `*`.
pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Result<Sidecar, Vec<AnnotationError>> {
    let mut read = Reader { annotations, errors: Vec::new() };
    let default = Sidecar::default();
    let sidecar = Sidecar {
        inbound: read.choice("includeInboundPorts").map_or(default.inbound, |choice| match choice {
            Choice::All => Ports::All,
            Choice::Listed => Ports::Only(read.ports("includeInboundPorts")),
        }),
        inbound_excluded: read.ports("excludeInboundPorts"),
        outbound: read.choice("includeOutboundIPRanges").map_or(default.outbound, |choice| match choice {
            Choice::All => Ranges::All,
            Choice::Listed => Ranges::Only(read.ranges("includeOutboundIPRanges")),
        }),
        outbound_excluded: read.ranges("excludeOutboundIPRanges"),
        outbound_ports: read.ports("includeOutboundPorts"),
        outbound_ports_excluded: read.ports("excludeOutboundPorts"),
        dns: default.dns,
    };
    if read.errors.is_empty() { Ok(sidecar) } else { Err(read.errors) }
}

enum Choice {
    All,
    Listed,
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    errors: Vec<AnnotationError>,
}

impl Reader<'_> {
    fn choice(&self, name: &str) -> Option<Choice> {
        let value = self.annotations.get(&format!("{PREFIX}{name}"))?;
        Some(if value.trim() == "*" { Choice::All } else { Choice::Listed })
    }

    fn ports(&mut self, name: &str) -> Vec<u16> {
        self.entries(name, "a port from 1 to 65535, for example \"8080,9000\"", |entry| {
            entry.parse().ok().filter(|port| *port != 0)
        })
    }

    /// A bare address stands for itself alone.
    fn ranges(&mut self, name: &str) -> Vec<IpNet> {
        self.entries(name, "an address range, for example \"10.1.0.0/16,fd00::/8\"", |entry| {
            entry.parse().ok().or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from))
        })
    }

    fn entries<T>(&mut self, name: &str, expected: &'static str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let annotation = format!("{PREFIX}{name}");
        let value = self.annotations.get(&annotation).map_or("", String::as_str);
        let mut good = Vec::new();
        for entry in value.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match parse(entry) {
                Some(item) => good.push(item),
                None => {
                    self.errors.push(AnnotationError { annotation: annotation.clone(), entry: entry.into(), expected });
                }
            }
        }
        good
    }
}

#[cfg(test)]
mod tests;
