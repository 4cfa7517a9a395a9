//! Route configurations, virtual hosts and routes, compiled.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use mizzen_rules::{HostTable, Named, Origin, RouteTable, WeightTable};

/// A route configuration: authority → virtual host.
#[derive(Debug)]
pub struct RouteConfig {
    pub name: Arc<str>,
    pub hosts: HostTable<Arc<VirtualHost>>,
    /// Hosts arrive as resources of their own (VHDS).
    pub on_demand_hosts: bool,
}

impl RouteConfig {
    /// The virtual hosts, each once, in no order.
    pub fn virtual_hosts(&self) -> impl Iterator<Item = &Arc<VirtualHost>> {
        let is_first = |domain: &str, host: &VirtualHost| {
            host.domains.first().is_some_and(|first| first.eq_ignore_ascii_case(domain))
        };
        self.hosts.iter().filter(move |(domain, host)| is_first(domain, host)).map(|(_, host)| host)
    }

    /// The clusters that its routes name; one of several routes comes several times.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.virtual_hosts().flat_map(|host| host.clusters())
    }
}

/// A virtual host: an ordered list of routes.
#[derive(Debug)]
pub struct VirtualHost {
    pub name: Arc<str>,
    pub domains: Vec<Box<str>>,
    pub table: RouteTable,
    /// In the order of `table`.
    pub routes: Vec<Arc<Route>>,
    /// `x-envoy-attempt-count` is set on requests.
    pub attempt_count: bool,
}

impl VirtualHost {
    /// The clusters that its routes name; one of several routes comes several times.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.routes.iter().flat_map(|route| route.action.clusters())
    }
}

impl Named for VirtualHost {
    fn name(&self) -> &str {
        &self.name
    }
}

/// What happens to a request.
#[derive(Debug)]
pub struct Route {
    /// `%ROUTE_NAME%`.
    pub name: Arc<str>,
    pub origin: Option<Origin>,
    pub action: RouteAction,
    /// `x-envoy-decorator-operation`.
    pub decorator: Option<HeaderValue>,
    /// Header operations of route, virtual host and route configuration, in the order in which they apply
    /// (those of the chosen weighted cluster come before).
    pub request_headers: HeaderOps,
    pub response_headers: HeaderOps,
}

/// The route's action.
#[derive(Debug)]
pub enum RouteAction {
    Forward(Box<Forward>),
    Direct(DirectResponse),
}

impl RouteAction {
    fn clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        let targets = match self {
            Self::Forward(forward) => forward.targets.as_slice(),
            Self::Direct(_) => &[],
        };
        targets.iter().map(|target| &target.cluster)
    }
}

/// Answered here.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    pub status: http::StatusCode,
    pub body: Bytes,
}

/// Sent to a cluster.
#[derive(Debug)]
pub struct Forward {
    /// In the order of `weights`; one entry is the common case.
    pub targets: Vec<Target>,
    pub weights: WeightTable,
    pub path: Option<PathRewrite>,
    /// `host_rewrite_literal`.
    pub authority: Option<HeaderValue>,
    /// For the whole exchange, all tries included; `None`: none.
    pub timeout: Option<Duration>,
    /// `grpc-timeout` is honoured up to this; `None`: not honoured; zero: no cap.
    pub grpc_timeout_max: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    pub retry: Option<Arc<RetryPolicy>>,
}

/// A cluster and what goes with it.
#[derive(Debug)]
pub struct Target {
    pub cluster: Arc<str>,
    pub request_headers: HeaderOps,
    pub response_headers: HeaderOps,
    pub authority: Option<HeaderValue>,
}

/// How the path changes on its way.
#[derive(Debug)]
pub enum PathRewrite {
    /// The matched prefix (of `matched_len` bytes) is replaced; an exact match replaces the whole path, and so does a
    /// regular expression, whose `matched_len` is `usize::MAX`.
    Prefix { matched_len: usize, replacement: Box<str> },
    /// Every match of `pattern` is replaced. `substitution` is in the syntax of `Regex::replace_all`: `${1}` is group 1.
    Regex { pattern: regex::Regex, substitution: Box<str> },
}

/// Header operations: removed first, then set (overwrite), then added (a line of its own).
#[derive(Clone, Debug, Default)]
pub struct HeaderOps {
    pub remove: Vec<HeaderName>,
    /// In order; values may hold no format operators in this release (a resource with one is rejected, `%%` is `%`).
    pub set: Vec<(HeaderName, HeaderValue, HeaderAction)>,
}

impl HeaderOps {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty()
    }
}

/// Envoy's `HeaderAppendAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderAction {
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfExists,
}

/// When and how often a request is tried again.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Tries after the first.
    pub retries: u32,
    pub on: RetryOn,
    /// Status codes that are retried.
    pub statuses: Vec<http::StatusCode>,
    pub per_try_timeout: Option<Duration>,
    /// Wait before retry n: uniform in [0, min((2^n − 1)·base, max)).
    pub backoff_base: Duration,
    pub backoff_max: Duration,
    /// Endpoints already tried are avoided, with this many attempts to find another.
    pub avoid_previous_hosts: bool,
    pub host_selection_attempts: u32,
}

/// Conditions, as Envoy names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "Envoy's own independent conditions")]
pub struct RetryOn {
    pub server_error: bool,
    pub gateway_error: bool,
    pub reset: bool,
    pub reset_before_request: bool,
    pub connect_failure: bool,
    pub refused_stream: bool,
    pub retriable_4xx: bool,
    pub retriable_status_codes: bool,
    pub grpc_cancelled: bool,
    pub grpc_deadline_exceeded: bool,
    pub grpc_internal: bool,
    pub grpc_resource_exhausted: bool,
    pub grpc_unavailable: bool,
}
