//! What a route does: forward to clusters, or answer at once.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration,
};
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::cluster_weight::HostRewriteSpecifier as WeightedRewrite;
use envoy_types::pb::envoy::config::route::v3::{Decorator, RouteAction as Forward, WeightedCluster};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use mizzen_world::mesh::MeshSettings;
use mizzen_world::service::Service;
use mizzen_world::virtual_service::{Destination, HeaderOps, HttpMatch, HttpRule, Ops, StringMatch};

use super::headers::{authority, listed};
use super::matching::everything;
use super::retry::retry_policy;
use super::rules::Destinations;
use crate::cluster::{BLACK_HOLE, outbound_name};
use crate::wire::build::{duration, regex, u32_value};
use crate::wire::{DirectResponse, Route, RouteAction};

/// The route of a host that no rule decides: all requests to one cluster.
pub(crate) fn default_route(cluster: String, operation: String, mesh: &MeshSettings, outbound: bool) -> Route {
    let mut forward = forward(ClusterSpecifier::Cluster(cluster), None);
    forward.retry_policy = if outbound { retry_policy(None, mesh.retries.as_ref()) } else { None };
    Route {
        name: "default".to_owned(),
        matched: Some(everything()),
        action: Some(RouteAction::Forward(Box::new(forward))),
        decorator: Some(decorator(operation)),
        ..Route::default()
    }
}

/// A route that answers every request with a status and a text.
pub(crate) fn respond(name: &str, status: u16, body: &[u8]) -> Route {
    Route {
        name: name.to_owned(),
        matched: Some(everything()),
        action: Some(RouteAction::Respond(response(status, body))),
        ..Route::default()
    }
}

pub(super) fn response(status: u16, body: &[u8]) -> DirectResponse {
    let specifier = match std::str::from_utf8(body) {
        Ok(text) => Specifier::InlineString(text.to_owned()),
        Err(_) => Specifier::InlineBytes(body.to_vec()),
    };
    DirectResponse {
        status: u32::from(status),
        body: (!body.is_empty()).then(|| DataSource { specifier: Some(specifier), ..DataSource::default() }),
    }
}

pub(super) fn decorator(operation: String) -> Decorator {
    Decorator { operation, ..Decorator::default() }
}

/// To one place or several, within `timeout`; none is written as 0, for Envoy's own default would be 15 s.
fn forward(to: ClusterSpecifier, timeout: Option<Duration>) -> Forward {
    let timeout = duration(timeout.unwrap_or_default());
    Forward {
        cluster_specifier: Some(to),
        timeout: Some(timeout),
        max_stream_duration: Some(MaxStreamDuration {
            grpc_timeout_header_max: Some(timeout),
            ..MaxStreamDuration::default()
        }),
        ..Forward::default()
    }
}

/// A forwarding rule, and what it does with headers. `port` is the port that was listened on.
pub(super) fn forward_rule<'a>(
    rule: &'a HttpRule,
    to: &'a [Destination],
    matched: Option<&HttpMatch>,
    services: &Destinations,
    port: u16,
) -> (Forward, Levels<'a>) {
    let (specifier, single) = match to {
        [only] => (ClusterSpecifier::Cluster(cluster_of(only, services, port)), Some(only)),
        _ => (ClusterSpecifier::WeightedClusters(weighted(rule, to, services, port)), None),
    };
    let mut action = forward(specifier, rule.timeout);
    if let Some(path) = &rule.rewrite_uri {
        rewrite_path(&mut action, path, matched);
    }
    let own = rule.rewrite_authority.as_ref().or_else(|| authority(&rule.headers.request));
    let rewritten = own.or_else(|| single.and_then(|single| authority(&single.headers.request)));
    action.host_rewrite_specifier = rewritten.map(|host| HostRewriteSpecifier::HostRewriteLiteral(host.to_string()));
    // The only destination's operations come after the rule's: its values win.
    let ops = |pick: fn(&HeaderOps) -> &Ops| -> Vec<&'a Ops> {
        std::iter::once(pick(&rule.headers)).chain(single.map(|single| pick(&single.headers))).collect()
    };
    let levels = Levels { request: ops(|headers| &headers.request), response: ops(|headers| &headers.response) };
    (action, levels)
}

/// Header operations that act on a route, in order.
#[derive(Debug)]
pub(super) struct Levels<'a> {
    request: Vec<&'a Ops>,
    response: Vec<&'a Ops>,
}

impl Levels<'_> {
    pub(super) fn put(&self, route: &mut Route) {
        let request = listed(self.request.iter().copied());
        let response = listed(self.response.iter().copied());
        route.request_headers_to_add = request.add;
        route.request_headers_to_remove = request.remove;
        route.response_headers_to_add = response.add;
        route.response_headers_to_remove = response.remove;
    }
}

/// Retries of a rule.
pub(super) fn put_retries(action: &mut Forward, rule: &HttpRule, mesh: &MeshSettings) {
    action.retry_policy = retry_policy(rule.retries.as_ref(), mesh.retries.as_ref());
}

fn weighted(rule: &HttpRule, to: &[Destination], services: &Destinations, port: u16) -> WeightedCluster {
    let overridden = rule.rewrite_authority.is_some() || authority(&rule.headers.request).is_some();
    let clusters = to.iter().filter(|destination| destination.weight > 0).map(|destination| {
        let request = listed([&destination.headers.request]);
        let response = listed([&destination.headers.response]);
        let host = authority(&destination.headers.request).filter(|_| !overridden);
        ClusterWeight {
            name: cluster_of(destination, services, port),
            weight: Some(u32_value(destination.weight)),
            request_headers_to_add: request.add,
            request_headers_to_remove: request.remove,
            response_headers_to_add: response.add,
            response_headers_to_remove: response.remove,
            host_rewrite_specifier: host.map(|host| WeightedRewrite::HostRewriteLiteral(host.to_string())),
            ..ClusterWeight::default()
        }
    });
    WeightedCluster { clusters: clusters.collect(), ..WeightedCluster::default() }
}

/// The cluster that a destination means. A service or port that does not exist has none: its requests get 503, and the
/// route does not wait for what never comes.
pub(super) fn cluster_of(to: &Destination, services: &Destinations, listener: u16) -> String {
    let service = services.get(&to.host);
    let port = Service::destination_port(service, to.port, listener);
    match service.and_then(|service| service.port(port)) {
        Some(_) => outbound_name(port, to.subset.as_deref(), &to.host),
        None => BLACK_HOLE.to_owned(),
    }
}

/// A matched prefix is replaced; a path matched as a whole is replaced as a whole.
fn rewrite_path(action: &mut Forward, path: &str, matched: Option<&HttpMatch>) {
    match matched.and_then(|matched| matched.uri.as_ref()) {
        Some(StringMatch::Regex(pattern)) => {
            action.regex_rewrite =
                Some(RegexMatchAndSubstitute { pattern: Some(regex(pattern)), substitution: path.to_owned() });
        }
        _ => path.clone_into(&mut action.prefix_rewrite),
    }
}
