//! Names: hosts with their short forms and wildcards, namespaced names, and the order of age.
//!
//! Source: Istio's VirtualService and DestinationRule reference, "host" (expansion of short names, wildcard prefixes).

use std::fmt;
use std::sync::Arc;

/// A namespace and a name in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NsName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl NsName {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        NsName { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for NsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Who was first: creation time in seconds since the epoch (an object without one is older than any that has one, and
/// as old as its like), then namespace and name. Never the order of files or of arrival.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Age {
    pub created: Option<i64>,
    pub object: NsName,
}

/// The full host for `host` as written in a rule of `namespace`: a name without a dot is a service of the rule's
/// namespace; anything else stands for itself. Hosts are lower case.
pub fn expand_host(host: &str, namespace: &str, domain: &str) -> Arc<str> {
    let host = host.to_ascii_lowercase();
    if host.contains('.') || host.contains('*') || host.contains(':') {
        host.into()
    } else {
        format!("{host}.{namespace}.svc.{domain}").into()
    }
}

/// True for `*` and `*.suffix`.
pub fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// True if every name that `host` stands for is one that `pattern` stands for.
pub fn host_covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        None => pattern == host,
        Some(suffix) => {
            let rest = host.strip_prefix('*').unwrap_or(host);
            rest.ends_with(suffix) && (is_wildcard(host) || rest.len() > suffix.len())
        }
    }
}

/// What two host patterns have in common: the narrower one, if one covers the other.
pub fn intersect_hosts<'a>(a: &'a Arc<str>, b: &'a Arc<str>) -> Option<&'a Arc<str>> {
    if host_covers(a, b) {
        Some(b)
    } else if host_covers(b, a) {
        Some(a)
    } else {
        None
    }
}

/// The patterns that may cover an exact or wildcard host, the most specific first: the host itself, then `*.rest` from
/// the longest to the shortest, then `*`.
pub fn covering_patterns(host: &str) -> impl Iterator<Item = String> + '_ {
    let rest = host.strip_prefix("*.").unwrap_or(host);
    let skip_own = is_wildcard(host);
    let suffixes = rest.match_indices('.').map(move |(at, _)| format!("*{}", &rest[at..]));
    std::iter::once(host.to_owned()).chain(suffixes).chain((!skip_own || host != "*").then(|| "*".to_owned()))
}
