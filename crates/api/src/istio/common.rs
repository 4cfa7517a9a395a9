//! Shapes that several kinds share.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A string condition: at most one of the fields; none means "is present" where the field is a header or query parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    pub exact: Option<String>,
    pub prefix: Option<String>,
    /// RE2 syntax; the whole value must match.
    pub regex: Option<String>,
}

/// [`StringMatch`] as the one thing it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringMatchKind<'a> {
    Present,
    Exact(&'a str),
    Prefix(&'a str),
    Regex(&'a str),
}

impl StringMatch {
    /// The one condition; validation has refused more than one.
    pub fn kind(&self) -> StringMatchKind<'_> {
        match self {
            Self { exact: Some(value), .. } => StringMatchKind::Exact(value),
            Self { prefix: Some(value), .. } => StringMatchKind::Prefix(value),
            Self { regex: Some(value), .. } => StringMatchKind::Regex(value),
            _ => StringMatchKind::Present,
        }
    }
}

/// Where traffic goes: a host of the registry (short names are in the rule's namespace), a subset of it, a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    pub host: String,
    #[serde(default)]
    pub subset: Option<String>,
    #[serde(default)]
    pub port: Option<PortSelector>,
}

impl Destination {
    /// The port asked for; `None` means the only port of the service.
    pub fn port_number(&self) -> Option<u16> {
        self.port.as_ref().map(|port| port.number)
    }
}

/// A port by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortSelector {
    pub number: u16,
}

/// A port of a `Gateway` server or a `ServiceEntry`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    pub number: u16,
    /// `HTTP`, `HTTPS`, `GRPC`, `GRPC-WEB`, `HTTP2`, `MONGO`, `TCP` or `TLS`, in any case. Empty means `TCP` in a `ServiceEntry`.
    #[serde(default)]
    pub protocol: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub target_port: Option<u16>,
}

/// Selector of the security kinds: all of `matchLabels` must hold; empty selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicySelector {
    pub match_labels: BTreeMap<String, String>,
}

/// Selector of the networking kinds (`workloadSelector.labels`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelsSelector {
    pub labels: BTreeMap<String, String>,
}

/// A bound on the TLS version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum TlsVersion {
    /// The default of whoever reads it.
    #[default]
    #[serde(rename = "TLS_AUTO")]
    Auto,
    #[serde(rename = "TLSV1_0")]
    V1_0,
    #[serde(rename = "TLSV1_1")]
    V1_1,
    #[serde(rename = "TLSV1_2")]
    V1_2,
    #[serde(rename = "TLSV1_3")]
    V1_3,
}
