//! Host names, gateway references, visibility.

use std::net::IpAddr;

use super::{LABEL_BYTES_MAX, NAME_BYTES_MAX, duplicate, is_dns_label};
use crate::problem::At;

/// A DNS name of any case, without wildcard; its last label is not a number, or it would be taken for an address.
pub(super) fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= NAME_BYTES_MAX
        && host.split('.').all(label)
        && !host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

/// `*`, `*.SUFFIX`, `*-SUFFIX`, or a DNS name.
pub(super) fn is_wildcard_dns_name(host: &str) -> bool {
    match host.strip_prefix('*') {
        Some("") => true,
        Some(rest) => rest.strip_prefix(['.', '-']).is_some_and(is_dns_name),
        None => is_dns_name(host),
    }
}

/// Refuses a host that is neither a DNS name (with a wildcard in front) nor an IP address.
pub(super) fn host(at: &At<'_>, host: &str) {
    if !is_wildcard_dns_name(host) && host.parse::<IpAddr>().is_err() {
        at.error(bad_host(host), "reviews.prod.svc.cluster.local");
    }
}

/// Refuses a destination that is not one name or address.
pub(super) fn destination(at: &At<'_>, host: &str) {
    if host.starts_with('*') {
        at.error(format!("a destination is one host, no wildcard: found {host:?}"), "reviews");
    } else if !is_dns_name(host) && host.parse::<IpAddr>().is_err() {
        at.error(bad_host(host), "reviews");
    }
}

fn bad_host(host: &str) -> String {
    let why = if host.is_empty() {
        "an empty text".to_owned()
    } else if host.contains("://") || host.contains('/') {
        format!("{host:?} (a host has no scheme and no path)")
    } else if host.contains(':') {
        format!("{host:?} (the port has its own field)")
    } else if host.ends_with('.') {
        format!("{host:?} (without the dot at the end)")
    } else {
        format!("{host:?}")
    };
    format!("expected a host name, found {why}")
}

/// `mesh`, `NAME` or `NS/NAME`.
pub(super) fn gateway_reference(at: &At<'_>, text: &str) {
    let ok = match text.split_once('/') {
        Some((namespace, name)) => (is_dns_label(namespace) || namespace == ".") && is_object_name(name),
        None => is_object_name(text),
    };
    if !ok {
        at.error(format!("expected `mesh`, NAME or NAMESPACE/NAME, found {text:?}"), "istio-system/public");
    }
}

fn is_object_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && text.split('.').all(is_dns_label)
}

/// `.`, `*` or namespaces; `~` (nobody) only where `nobody` says so.
pub(super) fn export_to(at: &At<'_>, values: &[String], nobody: bool) {
    for (index, value) in values.iter().enumerate() {
        let known = value == "." || value == "*" || (nobody && value == "~") || is_dns_label(value);
        if !known {
            at.index(index).error(format!("expected `.`, `*` or a namespace, found {value:?}"), ".");
        }
    }
    if let Some((index, value)) = duplicate(values) {
        at.index(index).error(format!("{value:?} stands here twice"), "");
    }
    if values.len() > 1 && values.iter().any(|value| value == "*" || value == "~") {
        at.error("`*` and `~` stand alone", "[\"*\"]");
    }
}
