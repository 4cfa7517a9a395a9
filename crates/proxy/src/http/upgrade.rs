//! Connections that leave HTTP: `101 Switching Protocols`, then bytes both ways.
//!
//! Nothing of the client's is forwarded before the upstream has agreed, and only a 101 is agreement.

use std::rc::Rc;

use http::{HeaderValue, Response, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use mizzen_snapshot::HttpManager;
use tokio::task::JoinSet;

use super::{
    body::{Body, Lease},
    exchange::Exchange,
    local,
};
use crate::{
    error::{Kind, ProxyError},
    pump,
    registry::Speaks,
};

/// Passes the upstream's 101 on and joins the two connections.
pub(crate) fn respond(
    manager: &HttpManager,
    mut exchange: Exchange,
    mut response: Response<Incoming>,
    (client, lease): (Option<OnUpgrade>, Lease),
) -> Response<Body> {
    let Some(client) = client else {
        // The upstream switches though nobody asked: it speaks something else than HTTP now.
        return local::reply(manager, exchange, &ProxyError::new(Kind::UpstreamProtocol));
    };
    let upstream = hyper::upgrade::on(&mut response);
    let upgrade = response.headers().get(header::UPGRADE).cloned();
    let (mut head, _) = response.into_parts();
    super::headers::strip_hop_by_hop(&mut head.headers);
    if let Some(upgrade) = upgrade {
        head.headers.insert(header::UPGRADE, upgrade);
    }
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(server) = &manager.server_name {
        head.headers.insert(header::SERVER, server.clone());
    }
    exchange.record.code = head.status.as_u16();
    if let Some(log) = &exchange.log {
        log.format.capture_response(&head.headers, &mut exchange.record.captured);
    }
    exchange.http.connection.speaks(Speaks::Upgraded);
    let http = Rc::clone(&exchange.http);
    let mut tunnel = JoinSet::new();
    tunnel.spawn_local(join(exchange, client, upstream, lease));
    http.tunnel.set(Some(tunnel));
    Response::from_parts(head, Body::Empty)
}

/// The lease is held until the end: the endpoint counts the connection as in use.
async fn join(mut exchange: Exchange, client: OnUpgrade, upstream: OnUpgrade, lease: Lease) {
    let (Ok(client), Ok(upstream)) = (client.await, upstream.await) else {
        exchange.upstream_broke_off();
        return;
    };
    let counts = pump::Counts::default();
    let ended = pump::both_ways(TokioIo::new(client), TokioIo::new(upstream), None, &counts).await;
    exchange.record.flow.bytes_received += counts.up.get();
    exchange.record.flow.bytes_sent += counts.down.get();
    if ended.is_err() {
        exchange.upstream_broke_off();
    }
    exchange.finish();
    drop(lease);
}
