//! The request path, top to bottom: limits → normalise → identify → select route → forward or answer → respond.

use std::rc::Rc;

use http::{Request, Response, Version, header, request::Parts};
use hyper::body::Incoming;
use mizzen_rules::{RequestFacts, Silent};
use mizzen_snapshot::{
    HttpManager, Route, RouteAction, VirtualHost,
    walk::{self, RequestPlan},
};

use super::{
    body::Body,
    exchange::Exchange,
    forward::{self, Plan},
    headers, local, path, respond,
    server::HttpConnection,
};
use crate::{
    error::{Kind, ProxyError},
    worker::Config,
};

/// One request in, one response out; a failure is a response too.
pub(crate) async fn handle(http: Rc<HttpConnection>, request: Request<Incoming>) -> Response<Body> {
    let config = http.connection.worker.config();
    let manager = http.manager(&config);
    let mut exchange = Exchange::begin(&http, &request);
    match run(&config, &manager, &mut exchange, request).await {
        Ok(answer) => respond::forwarded(&manager, exchange, answer),
        Err(error) => local::reply(&manager, exchange, &error),
    }
}

async fn run(
    config: &Config,
    manager: &HttpManager,
    exchange: &mut Exchange,
    request: Request<Incoming>,
) -> Result<forward::Answer, ProxyError> {
    let (mut head, body) = request.into_parts();
    let upgrade = admit(manager, &mut head)?;
    path::normalise(&mut head, manager.path)?;
    let http = Rc::clone(&exchange.http);
    headers::identify(&http, manager, &mut head);
    describe(exchange, &head);
    match select(config, manager, &http, &head) {
        RequestPlan::NoRoute => Err(ProxyError::new(Kind::NoRoute)),
        RequestPlan::Direct { route, .. } => {
            exchange.record.flow.route = Some(route.name.clone());
            Ok(forward::Answer::Direct(route))
        }
        RequestPlan::NoCluster { route, target, .. } => {
            exchange.record.flow.route = Some(route.name.clone());
            if let RouteAction::Forward(action) = &route.action {
                exchange.record.flow.upstream.cluster = action.targets.get(target).map(|t| t.cluster.clone());
            }
            Err(ProxyError::new(Kind::NoCluster))
        }
        RequestPlan::Forward { host, route, target, cluster } => {
            exchange.record.flow.route = Some(route.name.clone());
            exchange.record.flow.upstream.cluster = Some(cluster.spec.name.clone());
            exchange.cluster = Some(cluster.clone());
            apply_route(exchange, &host, &route, target, &mut head);
            let plan = Plan { route, target, cluster, attempt_count: host.attempt_count, upgrade };
            forward::forward(config, manager, exchange, plan, (head, body)).await
        }
    }
}

/// Limits and what is ambiguous: refused before anything is decided. Returns whether this is an upgrade that is let through.
fn admit(manager: &HttpManager, head: &mut Parts) -> Result<bool, ProxyError> {
    if head.headers.len() > manager.header_count_max as usize {
        return Err(ProxyError::new(Kind::HeadersTooLarge));
    }
    if head.method == http::Method::CONNECT {
        return Err(ProxyError::new(Kind::ConnectRefused));
    }
    headers::check_framing(head)?;
    headers::authority_from_host(head)?;
    if head.version >= Version::HTTP_2 {
        return Ok(false);
    }
    let Some(upgrade) = headers::upgrade(&head.headers) else { return Ok(false) };
    let wanted = upgrade.to_ascii_lowercase();
    if wanted.split(|b| *b == b',').any(|name| name.trim_ascii() == b"h2c") {
        // RFC 9113 §3.1 withdrew it; a server may ignore it.
        head.headers.remove(header::UPGRADE);
        head.headers.remove("http2-settings");
        return Ok(false);
    }
    if manager.upgrades.iter().any(|u| &**u == "*" || u.as_bytes() == wanted) {
        return Ok(true);
    }
    Err(ProxyError::new(Kind::UpgradeRefused))
}

fn describe(exchange: &mut Exchange, head: &Parts) {
    exchange.record.path = head.uri.path_and_query().cloned();
    exchange.record.authority = headers::authority(head);
}

fn select(config: &Config, manager: &HttpManager, http: &HttpConnection, head: &Parts) -> RequestPlan {
    let authority = headers::authority_str(head);
    let facts = RequestFacts {
        method: head.method.as_str(),
        scheme: headers::scheme(head, http.scheme()),
        authority,
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &head.headers,
    };
    let random = http.connection.worker.rng.next();
    walk::request(&config.snapshot, manager, &facts, random, &mut Silent)
}

/// Rewrites and header operations: from here on the request is what the upstream gets.
fn apply_route(exchange: &mut Exchange, host: &VirtualHost, route: &Route, target: usize, head: &mut Parts) {
    let RouteAction::Forward(action) = &route.action else { return };
    let Some(chosen) = action.targets.get(target) else { return };
    if let Some(rewrite) = &action.path {
        path::rewrite(head, rewrite);
    }
    headers::apply(&mut head.headers, &chosen.request_headers);
    headers::apply(&mut head.headers, &route.request_headers);
    if let Some(authority) = action.authority.as_ref().or(chosen.authority.as_ref()) {
        headers::rewrite_authority(head, authority);
    }
    headers::decorate(&exchange.http, route, &mut head.headers);
    if host.attempt_count {
        headers::set_attempt(&mut head.headers, 1);
    }
    exchange.record.path = head.uri.path_and_query().cloned();
    exchange.record.authority = headers::authority(head);
    if let Some(log) = &exchange.log {
        log.format.capture_request(&head.headers, &mut exchange.record.captured);
    }
}
