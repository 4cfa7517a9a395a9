//! What a schema cannot say: ranges, one-of, names, references between fields. One module per kind.
//!
//! Rules are those of Istio's and Kubernetes' validation as their public API references give them. A check hangs its message on the
//! field it is about ([`At`]) and goes on, so that a user sees all mistakes of an object at once.

mod destination_rule;
mod endpoints;
mod gateway;
mod hosts;
mod http_route;
mod load_balancer;
mod mesh_config;
mod peer_authentication;
mod service;
mod service_entry;
mod strings;
mod virtual_service;
mod workloads;

#[cfg(test)]
mod tests;

use std::{collections::HashSet, hash::Hash, net::IpAddr};

pub(crate) use mesh_config::mesh_config;

use crate::{
    Duration,
    object::{Kind, Labels, Spec},
    problem::{At, Problems},
};

/// Checks the content of an object.
pub(crate) fn spec(spec: &Spec, problems: &Problems) {
    let root = At::root(problems);
    let at = root.field("spec");
    match spec {
        Spec::Service(service) => service::check(&at, service),
        Spec::Deployment(deployment) => workloads::deployment(&at, deployment),
        Spec::Pod(pod) => workloads::pod(&root, pod),
        Spec::EndpointSlice(slice) => endpoints::slice(&root, slice),
        Spec::Endpoints(endpoints) => endpoints::endpoints(&root, endpoints),
        Spec::VirtualService(service) => virtual_service::check(&at, service),
        Spec::DestinationRule(rule) => destination_rule::check(&at, rule),
        Spec::Gateway(gateway) => gateway::check(&at, gateway),
        Spec::ServiceEntry(entry) => service_entry::check(&at, entry),
        Spec::PeerAuthentication(policy) => peer_authentication::check(&at, policy),
        Spec::Namespace
        | Spec::ServiceAccount
        | Spec::ConfigMap(_)
        | Spec::Secret(_)
        | Spec::Node(_)
        | Spec::AuthorizationPolicy(_)
        | Spec::RequestAuthentication(_) => {}
    }
}

/// Longest DNS name, and so the longest object name.
const NAME_BYTES_MAX: usize = 253;
/// Longest DNS label.
const LABEL_BYTES_MAX: usize = 63;

/// An RFC 1123 label: lower-case letters, digits and `-`, not at the ends.
fn is_dns_label(text: &str) -> bool {
    text.len() <= LABEL_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The name of an object; services have to be a DNS label that begins with a letter.
pub(crate) fn object_name(at: &At<'_>, kind: Kind, name: &str) -> bool {
    if matches!(kind, Kind::Service | Kind::Namespace) {
        let ok = is_dns_label(name) && (kind != Kind::Service || name.starts_with(|c: char| c.is_ascii_lowercase()));
        if !ok {
            at.error(
                format!(
                    "expected at most 63 lower-case letters, digits and `-`, beginning with a letter, found {name:?}"
                ),
                "reviews",
            );
        }
        return ok;
    }
    let ok = name.len() <= NAME_BYTES_MAX && name.split('.').all(is_dns_label);
    if !ok {
        at.error(format!("expected lower-case letters, digits, `-` and `.`, found {name:?}"), "reviews-v1");
    }
    ok
}

/// The namespace of an object.
pub(crate) fn namespace(at: &At<'_>, name: &str) -> bool {
    let ok = is_dns_label(name);
    if !ok {
        at.error(format!("expected the name of a namespace, found {name:?}"), "default");
    }
    ok
}

/// Keys `[PREFIX/]NAME` and values as Kubernetes has them.
pub(crate) fn labels(at: &At<'_>, labels: &Labels) {
    for (key, value) in labels {
        let at = at.field(key);
        let (prefix, name) = key.split_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if !is_label_word(name) || name.is_empty() || prefix.is_some_and(|prefix| !prefix.split('.').all(is_dns_label))
        {
            at.error(format!("{key:?} is no label key"), "app.kubernetes.io/name");
        }
        if !is_label_word(value) {
            at.error(
                format!("expected at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends, found {value:?}"),
                "v1",
            );
        }
    }
}

fn is_label_word(text: &str) -> bool {
    let ends_well = |c: char| c.is_ascii_alphanumeric();
    text.len() <= LABEL_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && (text.is_empty() || (text.starts_with(ends_well) && text.ends_with(ends_well)))
}

/// A port of 1 to 65535, `u16` apart from zero.
fn port(at: &At<'_>, number: u16) {
    if number == 0 {
        at.error("expected a port from 1 to 65535", "8080");
    }
}

/// A port of 1 to 65535 in the wider type of Kubernetes.
fn wide_port(at: &At<'_>, number: i32) {
    if !(1..=65_535).contains(&number) {
        at.error(format!("expected a port from 1 to 65535, found {number}"), "8080");
    }
}

/// A duration that, if it is there, is at least a millisecond.
fn at_least_1ms(at: &At<'_>, duration: Option<Duration>) {
    if duration.is_some_and(|duration| duration.get() < std::time::Duration::from_millis(1)) {
        at.error("expected a duration of at least 1ms", "500ms");
    }
}

/// A timeout: zero turns it off, all else is at least a millisecond.
fn timeout(at: &At<'_>, duration: Option<Duration>) {
    at_least_1ms(at, duration.filter(|duration| !duration.is_zero()));
}

/// A share of 0 to 100.
fn percent(at: &At<'_>, value: f64) {
    if !(0.0..=100.0).contains(&value) {
        at.error(format!("expected a percentage from 0 to 100, found {value}"), "50");
    }
}

/// An IP address or, where `cidr` says so, a network.
fn address(at: &At<'_>, text: &str, cidr: bool) {
    let fits = text.parse::<IpAddr>().is_ok() || (cidr && text.parse::<ipnet::IpNet>().is_ok());
    if !fits {
        let what = if cidr { "an IP address or CIDR" } else { "an IP address" };
        at.error(format!("expected {what}, found {text:?}"), if cidr { "10.1.0.0/16" } else { "10.1.2.3" });
    }
}

/// The names of those `fields` that are set: `(name, is set)`.
fn set_of<'f>(fields: &[(&'f str, bool)]) -> Vec<&'f str> {
    fields.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect()
}

/// At most one of `fields` may be set.
fn at_most_one(at: &At<'_>, fields: &[(&str, bool)]) {
    let set = set_of(fields);
    if set.len() > 1 {
        at.error(format!("only one of {} may be set", quoted(&set)), set[0]);
    }
}

/// Just one of `fields` must be set.
fn exactly_one(at: &At<'_>, fields: &[(&str, bool)]) {
    at_most_one(at, fields);
    if set_of(fields).is_empty() {
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        at.error(format!("expected one of {}", quoted(&names)), names[0]);
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The first item that stands a second time, with its index.
fn duplicate<T: Eq + Hash + Clone>(items: impl IntoIterator<Item = T>) -> Option<(usize, T)> {
    let mut seen = HashSet::new();
    items.into_iter().enumerate().find(|(_, item)| !seen.insert(item.clone()))
}
