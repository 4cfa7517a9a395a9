//! The rules of a `VirtualService` that apply to one client on one port, as routes in order.

use std::sync::Arc;

use mizzen_world::mesh::MeshSettings;
use mizzen_world::service::Service;
use mizzen_world::virtual_service::{Action, GatewayRef, HttpMatch, HttpRule, StringMatch, VirtualService};
use mizzen_world::{Labels, NsName, World};

use super::action::{cluster_of, decorator, forward_rule, put_retries, respond, response};
use super::matching::{everything, route_match};
use crate::memo::Shared;
use crate::wire::build::provenance;
use crate::wire::{Route, RouteAction};

/// The services that rules send to, as the client sees them; `None` where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Destinations(Vec<(Arc<str>, Option<Shared<Service>>)>);

impl Destinations {
    /// What the destinations of these rules are to a client in `namespace`.
    pub(crate) fn of<'a>(rules: impl IntoIterator<Item = &'a VirtualService>, world: &World, namespace: &str) -> Self {
        let mut found: Vec<(Arc<str>, Option<Shared<Service>>)> = Vec::new();
        for to in rules.into_iter().flat_map(VirtualService::destinations) {
            if found.iter().all(|(host, _)| *host != to.host) {
                found.push((to.host.clone(), world.service_for(namespace, &to.host).map(Shared::from)));
            }
        }
        Destinations(found)
    }

    pub(crate) fn get(&self, host: &str) -> Option<&Service> {
        self.0.iter().find(|(known, _)| **known == *host).and_then(|(_, service)| service.as_deref())
    }
}

/// What of the client a match may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) namespace: Arc<str>,
    pub(crate) labels: Labels,
}

/// Who the routes are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audience<'a> {
    pub(super) mesh: &'a MeshSettings,
    /// The port that was listened on.
    pub(super) port: u16,
    /// `None` if no rule asks.
    pub(super) source: Option<&'a Source>,
    /// The gateways by which the rules came; `None` for sidecars.
    pub(super) gateways: Option<&'a [NsName]>,
    pub(super) destinations: &'a Destinations,
}

/// A route, and whether it leaves nothing to those behind it.
#[derive(Debug)]
pub(super) struct Ruled {
    pub(super) route: Route,
    pub(super) everything: bool,
}

/// The routes of one object; what stands behind a route for everything is left out.
pub(super) fn routes(rule: &VirtualService, audience: Audience<'_>) -> Vec<Ruled> {
    if rule.refused {
        return vec![refused(rule)];
    }
    let mut routes = Vec::new();
    for (index, http) in rule.http.iter().enumerate() {
        let matches: Vec<(Option<usize>, Option<&HttpMatch>)> = match &*http.matches {
            [] => vec![(None, None)],
            some => some.iter().enumerate().map(|(at, matched)| (Some(at), Some(matched))).collect(),
        };
        for (at, matched) in matches {
            if matched.is_some_and(|matched| !applies(matched, audience)) {
                continue;
            }
            let path = VirtualService::rule_path(index, at);
            let everything = matched.is_none_or(HttpMatch::is_everything);
            routes.push(Ruled { route: route(rule, http, matched, &path, audience), everything });
            if everything {
                return routes;
            }
        }
    }
    routes
}

/// Whether the conditions that the data plane cannot see are met.
fn applies(matched: &HttpMatch, audience: Audience<'_>) -> bool {
    if matched.port.is_some_and(|port| port != audience.port) {
        return false;
    }
    if matched.gateways.is_empty() {
        let Some(source) = audience.source else { return true };
        let namespace = matched.source_namespace.as_ref();
        return source.labels.satisfy(&matched.source_labels) && namespace.is_none_or(|name| *name == source.namespace);
    }
    // Where a match names gateways, Istio does not look at the source.
    matched.gateways.iter().any(|gateway| match (gateway, audience.gateways) {
        (GatewayRef::Mesh, None) => true,
        (GatewayRef::Named(name), Some(gateways)) => gateways.contains(name),
        (GatewayRef::Mesh, Some(_)) | (GatewayRef::Named(_), None) => false,
    })
}

fn refused(rule: &VirtualService) -> Ruled {
    let body = format!("{} asks for something that is not enforced yet: its traffic is refused", rule.object);
    let mut route = respond("refused", 503, body.as_bytes());
    route.metadata = Some(provenance(&rule.object, "spec"));
    Ruled { route, everything: true }
}

fn route(
    rule: &VirtualService,
    http: &HttpRule,
    matched: Option<&HttpMatch>,
    path: &str,
    audience: Audience<'_>,
) -> Route {
    let mut route = Route {
        name: route_name(http, matched),
        matched: Some(matched.map_or_else(everything, route_match)),
        metadata: Some(provenance(&rule.object, path)),
        ..Route::default()
    };
    route.action = Some(match &http.action {
        Action::Respond { status, body } => RouteAction::Respond(response(*status, body)),
        Action::NotYet(what) => {
            let body = format!("{}: {path}: {what} is not enforced yet", rule.object);
            RouteAction::Respond(response(503, body.as_bytes()))
        }
        Action::Forward(to) => {
            let (mut action, levels) = forward_rule(http, to, matched, audience.destinations, audience.port);
            put_retries(&mut action, http, audience.mesh);
            levels.put(&mut route);
            let name = match &**to {
                [only] => cluster_authority(&cluster_of(only, audience.destinations, audience.port)),
                _ => format!("{}:{}", rule.age.object.name, audience.port),
            };
            route.decorator = Some(decorator(format!("{name}{}", operation_path(matched))));
            RouteAction::Forward(Box::new(action))
        }
    });
    route
}

/// `NAME` or `NAME.MATCH`; empty if the rule has no name.
fn route_name(http: &HttpRule, matched: Option<&HttpMatch>) -> String {
    match matched.map(|matched| &*matched.name).filter(|name| !name.is_empty()) {
        Some(name) if !http.name.is_empty() => format!("{}.{name}", http.name),
        _ => http.name.to_string(),
    }
}

/// `host:port` of a cluster's name.
fn cluster_authority(cluster: &str) -> String {
    let mut parts = cluster.split('|').skip(1);
    let port = parts.next().unwrap_or_default();
    format!("{}:{port}", parts.nth(1).unwrap_or_default())
}

/// The path's part of an operation: `/*`, `PREFIX*`, the path, or the pattern.
fn operation_path(matched: Option<&HttpMatch>) -> String {
    match matched.and_then(|matched| matched.uri.as_ref()) {
        None | Some(StringMatch::Present) => "/*".to_owned(),
        Some(StringMatch::Prefix(prefix)) => format!("{prefix}*"),
        Some(StringMatch::Exact(path)) => path.to_string(),
        Some(StringMatch::Regex(pattern)) => pattern.to_string(),
    }
}
