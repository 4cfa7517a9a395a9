//! `VirtualService` → model: hosts expanded, gateways named, each string condition in one form.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use mizzen_api::istio::{
    Destination as WrittenDestination, DirectResponse, HeaderOperations, Headers, HttpMatch as WrittenMatch, HttpRoute,
    HttpRouteDestination, Retries as WrittenRetries, StringMatch as WrittenString, StringMatchKind,
    VirtualService as Source,
};
use mizzen_api::{Duration, Object};

use super::{age, labels, text};
use crate::mesh::MeshSettings;
use crate::name::{NsName, expand_host};
use crate::virtual_service::{
    Action, Destination, GatewayRef, HeaderOps, HttpMatch, HttpRule, Named, Ops, Retries, StringMatch, VirtualService,
};
use crate::visibility::Visibility;

pub(crate) fn virtual_service(object: &Object, source: &Source, mesh: &MeshSettings) -> VirtualService {
    let namespace = &object.id.namespace;
    let mut hosts: Vec<Arc<str>> = Vec::new();
    for host in &source.hosts {
        let host = expand_host(host, namespace, &mesh.domain);
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let mut gateways = gateway_refs(&source.gateways, namespace);
    if gateways.is_empty() {
        gateways.push(GatewayRef::Mesh);
    }
    VirtualService {
        object: object.id.to_string().into(),
        age: age(object),
        hosts,
        gateways,
        visibility: Visibility::from_entries(
            source.export_to.iter().map(String::as_str),
            namespace,
            &mesh.route_visibility,
        ),
        http: source.http.iter().map(|route| rule(route, namespace, mesh)).collect(),
        refused: object.refuses_traffic,
    }
}

fn gateway_refs(written: &[String], own: &Arc<str>) -> Vec<GatewayRef> {
    let refs = written.iter().map(|name| match name.split_once('/') {
        None if name == "mesh" => GatewayRef::Mesh,
        None => GatewayRef::Named(NsName::new(own.clone(), name.as_str())),
        Some((namespace, name)) => GatewayRef::Named(NsName::new(namespace, name)),
    });
    refs.collect()
}

fn rule(route: &HttpRoute, namespace: &Arc<str>, mesh: &MeshSettings) -> HttpRule {
    let rewrite = route.rewrite.as_ref();
    HttpRule {
        name: route.name.as_deref().unwrap_or_default().into(),
        matches: route.matches.iter().map(|written| http_match(written, namespace)).collect(),
        action: action(route, namespace, mesh),
        headers: header_ops(route.headers.as_ref()),
        rewrite_uri: rewrite.and_then(|rewrite| text(rewrite.uri.as_ref())),
        rewrite_authority: rewrite.and_then(|rewrite| text(rewrite.authority.as_ref())),
        timeout: route.timeout.map(Duration::get).filter(|timeout| !timeout.is_zero()),
        retries: route.retries.as_ref().map(retries),
    }
}

fn action(route: &HttpRoute, namespace: &Arc<str>, mesh: &MeshSettings) -> Action {
    if let Some(response) = &route.direct_response {
        return Action::Respond { status: response.status, body: body(response) };
    }
    if route.redirect.is_some() {
        return Action::NotYet("redirect");
    }
    if route.delegate.is_some() {
        return Action::NotYet("delegate");
    }
    if route.route.is_empty() {
        return Action::NotYet("a rule without route");
    }
    Action::Forward(route.route.iter().map(|to| destination(to, namespace, mesh)).collect())
}

fn body(response: &DirectResponse) -> Arc<[u8]> {
    match &response.body {
        Some(body) => match (&body.string, &body.bytes) {
            (Some(string), _) => string.as_bytes().into(),
            (None, Some(encoded)) => {
                base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default().into()
            }
            (None, None) => Arc::default(),
        },
        None => Arc::default(),
    }
}

fn destination(to: &HttpRouteDestination, namespace: &Arc<str>, mesh: &MeshSettings) -> Destination {
    let WrittenDestination { host, subset, .. } = &to.destination;
    Destination {
        host: expand_host(host, namespace, &mesh.domain),
        subset: text(subset.as_ref()),
        port: to.destination.port_number(),
        weight: to.weight.unwrap_or(0),
        headers: header_ops(to.headers.as_ref()),
    }
}

fn http_match(written: &WrittenMatch, namespace: &Arc<str>) -> HttpMatch {
    HttpMatch {
        name: written.name.as_deref().unwrap_or_default().into(),
        uri: written.uri.as_ref().map(string_match),
        ignore_uri_case: written.ignore_uri_case,
        scheme: written.scheme.as_ref().map(string_match),
        method: written.method.as_ref().map(string_match),
        authority: written.authority.as_ref().map(string_match),
        headers: named(&written.headers),
        without_headers: named(&written.without_headers),
        query_params: named(&written.query_params),
        port: written.port,
        source_labels: labels(&written.source_labels),
        source_namespace: text(written.source_namespace.as_ref()),
        gateways: gateway_refs(&written.gateways, namespace),
    }
}

fn named(map: &BTreeMap<String, WrittenString>) -> Vec<Named> {
    map.iter().map(|(name, value)| (name.as_str().into(), string_match(value))).collect()
}

fn string_match(written: &WrittenString) -> StringMatch {
    match written.kind() {
        StringMatchKind::Present => StringMatch::Present,
        StringMatchKind::Exact(value) => StringMatch::Exact(value.into()),
        StringMatchKind::Prefix(value) => StringMatch::Prefix(value.into()),
        StringMatchKind::Regex(value) => StringMatch::Regex(value.into()),
    }
}

fn header_ops(headers: Option<&Headers>) -> HeaderOps {
    let ops = |written: Option<&HeaderOperations>| {
        let pairs = |map: &BTreeMap<String, String>| {
            map.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
        };
        written.map_or_else(Ops::default, |written| Ops {
            remove: written.remove.iter().map(|name| name.as_str().into()).collect(),
            set: pairs(&written.set),
            add: pairs(&written.add),
        })
    };
    headers.map_or_else(HeaderOps::default, |headers| HeaderOps {
        request: ops(headers.request.as_ref()),
        response: ops(headers.response.as_ref()),
    })
}

/// A retry policy, of a rule or of the mesh.
pub(crate) fn retries(written: &WrittenRetries) -> Retries {
    Retries {
        attempts: written.attempts,
        per_try_timeout: written.per_try_timeout.map(Duration::get).filter(|timeout| !timeout.is_zero()),
        retry_on: text(written.retry_on.as_ref()),
        remote_localities: written.retry_remote_localities.unwrap_or(false),
        ignore_previous_hosts: written.retry_ignore_previous_hosts.unwrap_or(true),
        backoff: written.backoff.map(Duration::get).filter(|backoff| !backoff.is_zero()),
    }
}
