//! The last phase: from an answer to the response that the client gets, with its exchange in the body.

use std::{sync::Arc, time::Instant};

use http::{HeaderValue, Response, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use mizzen_snapshot::{HttpManager, Route, RouteAction};

use super::{
    body::{Body, Gate, Lease, Passing},
    exchange::Exchange,
    forward::Answer,
    headers, local, upgrade,
};

/// An upstream's answer, and what it was asked by.
pub(crate) struct Forwarded {
    pub(crate) response: Response<Incoming>,
    pub(crate) route: Arc<Route>,
    pub(crate) target: usize,
    pub(crate) lease: Lease,
    pub(crate) sent: Instant,
    pub(crate) deadline: Option<Instant>,
    /// The client's side of an upgrade.
    pub(crate) upgrade: Option<hyper::upgrade::OnUpgrade>,
}

/// The response to a request that did not fail.
pub(crate) fn forwarded(manager: &HttpManager, mut exchange: Exchange, answer: Answer) -> Response<Body> {
    match answer {
        Answer::Direct(route) => {
            let RouteAction::Direct(direct) = &route.action else {
                return local::reply(manager, exchange, &crate::error::ProxyError::new(crate::error::Kind::NoRoute));
            };
            exchange.record.flow.details = Some("direct_response".into());
            let mut response = local::plain(&mut exchange, direct.status, direct.body.clone());
            headers::apply(response.headers_mut(), &route.response_headers);
            finish(manager, exchange, response)
        }
        Answer::Upstream(forwarded) => pass(manager, exchange, *forwarded),
    }
}

fn pass(manager: &HttpManager, mut exchange: Exchange, forwarded: Forwarded) -> Response<Body> {
    let Forwarded { response, route, target, lease, sent, deadline, upgrade } = forwarded;
    let switching = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
    exchange.record.flow.details = Some("via_upstream".into());
    exchange.record.response_begun = Some(exchange.started.elapsed());
    if switching {
        return upgrade::respond(manager, exchange, response, (upgrade, lease));
    }
    let (mut head, incoming) = response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    // The codec answers HTTP/1.0 in its own terms, from the form of 1.1.
    head.version = exchange.record.version.max(Version::HTTP_11);
    let took = u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX);
    head.headers.insert("x-envoy-upstream-service-time", HeaderValue::from(took));
    apply_operations(&mut head.headers, &route, target);
    headers::decorate_response(&exchange.http, &route, &mut head.headers);
    exchange.grpc_status(&head.headers);
    let mut response = Response::from_parts(head, ());
    if lease.gate.as_ref().is_some_and(Gate::is_held) {
        close_after(&mut response);
    }
    if incoming.is_end_stream() {
        lease.complete();
        return finish(manager, exchange, response.map(|()| Body::Empty));
    }
    let response = dress(manager, &mut exchange, response);
    let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at.into())));
    let passing = Passing { incoming, exchange, lease: Some(lease), deadline };
    response.map(|()| Body::Upstream(Box::new(passing)))
}

/// One destination: the route's operations, then its own; several: the other way round (Istio's order, as `compile` placed them).
fn apply_operations(headers: &mut http::HeaderMap, route: &Route, target: usize) {
    if let RouteAction::Forward(action) = &route.action
        && let Some(target) = action.targets.get(target)
    {
        headers::apply(headers, &target.response_headers);
    }
    headers::apply(headers, &route.response_headers);
}

/// A client that was not asked for its body may send it or not: the bytes after this answer cannot be told apart.
fn close_after<B>(response: &mut Response<B>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// What every response gets; the record learns what it became.
fn dress<B>(manager: &HttpManager, exchange: &mut Exchange, mut response: Response<B>) -> Response<B> {
    if let Some(server) = &manager.server_name {
        response.headers_mut().insert(header::SERVER, server.clone());
    }
    exchange.record.code = response.status().as_u16();
    if let Some(log) = &exchange.log {
        log.format.capture_response(response.headers(), &mut exchange.record.captured);
    }
    if exchange.http.connection.is_ending() && exchange.record.version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A response whose body is here: the exchange is over.
pub(crate) fn finish(manager: &HttpManager, mut exchange: Exchange, response: Response<Body>) -> Response<Body> {
    let response = dress(manager, &mut exchange, response);
    exchange.finish();
    response
}
