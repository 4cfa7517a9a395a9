//! Istio's DNS name table.

use std::{collections::HashMap, net::IpAddr};

use super::{At, Result, address, each};

/// `istio.networking.nds.v1.NameTable`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NameTable {
    #[prost(map = "string, message", tag = "1")]
    pub(crate) table: HashMap<String, NameInfo>,
}

/// `istio.networking.nds.v1.NameTable.NameInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NameInfo {
    #[prost(string, repeated, tag = "1")]
    pub(crate) ips: Vec<String>,
    /// `Kubernetes` or `External`.
    #[prost(string, tag = "2")]
    pub(crate) registry: String,
    #[prost(string, tag = "3")]
    pub(crate) shortname: String,
    #[prost(string, tag = "4")]
    pub(crate) namespace: String,
}

impl prost::Name for NameTable {
    const NAME: &'static str = "NameTable";
    const PACKAGE: &'static str = "istio.networking.nds.v1";
}

/// One name of a table.
#[derive(Debug)]
pub(crate) struct NameEntry {
    /// Lower case, without trailing dot; may begin with `*.`.
    pub(crate) name: Box<str>,
    pub(crate) standing: Standing,
    pub(crate) addresses: Box<[IpAddr]>,
}

/// Of two entries for one name the lesser wins: what is given before what is derived, then Kubernetes before others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Standing {
    is_derived: bool,
    is_external: bool,
}

/// Names as given, and for Kubernetes services `SVC.NS` and `SVC.NS.svc`. The bare `SVC` is left to the resolver's search
/// list.
pub(crate) fn from_wire(wire: &NameTable) -> Result<Vec<NameEntry>> {
    let mut entries = Vec::with_capacity(wire.table.len());
    for (name, info) in &wire.table {
        let addresses = each("ips", &info.ips, |ip| address::ip(ip)).at(&format!("table[{name}]"))?;
        let is_external = info.registry != "Kubernetes";
        let mut add = |name: &str, is_derived| {
            entries.push(NameEntry {
                name: name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into(),
                standing: Standing { is_derived, is_external },
                addresses: addresses.clone().into(),
            });
        };
        add(name, false);
        if !is_external && !info.shortname.is_empty() && !info.namespace.is_empty() {
            add(&format!("{}.{}", info.shortname, info.namespace), true);
            add(&format!("{}.{}.svc", info.shortname, info.namespace), true);
        }
    }
    Ok(entries)
}
