//! Forwarding: pick an endpoint, get a connection, send; and again if the policy says so.

use std::{
    cell::Cell,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use http::{Request, Response, Version, request::Parts};
use http_body::Body as _;
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioIo, TokioTimer};
use mizzen_snapshot::{
    Cluster, ClusterKind, HttpManager, Route, RouteAction,
    cluster::UpstreamProtocol,
    route::{Forward, RetryPolicy},
};
use mizzen_telemetry::Flag;
use smallvec::SmallVec;

use super::{
    body::{Counted, Gate, Lease, Replay, RequestBody, RequestError, Way},
    exchange::Exchange,
    headers,
    respond::Forwarded,
    retry, server,
};
use crate::{
    error::{Kind, ProxyError, Retry},
    upstream::{
        connect,
        live::{LiveCluster, LiveHost},
        pool::{Http1, Http2, Key, Protocol, STREAMS_MAX},
    },
    worker::{Config, Worker, unix_now},
};

/// Pooled connections that may turn out closed before one request gives up on the pool and makes its own.
const STALE_MAX: u32 = 3;

/// Unread bytes on an HTTP/2 connection to an upstream: one full window for each stream, so that clients that do not read
/// cannot keep the others from their answers.
const UPSTREAM_WINDOW_BYTES: u32 = server::STREAM_WINDOW_BYTES * STREAMS_MAX as u32;

/// Bytes of a response's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What was decided for a request.
pub(crate) struct Plan {
    pub(crate) route: Arc<Route>,
    pub(crate) target: usize,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) attempt_count: bool,
    pub(crate) upgrade: bool,
}

/// What comes of a request that did not fail.
pub(crate) enum Answer {
    /// The route answers.
    Direct(Arc<Route>),
    Upstream(Box<Forwarded>),
}

/// The request as it goes out, over all tries.
struct Outgoing {
    head: Option<Parts>,
    /// The head is cloned for each try, because a sent one cannot be had back.
    keep: bool,
    body: Source,
    upgrade: bool,
    /// `Expect: 100-continue` goes to the upstream, and its answer releases the body.
    expects: bool,
}

enum Source {
    Empty,
    Once(Option<RequestBody>),
    Replay(Rc<Replay>),
}

/// What a try needs beside the request.
struct Sending<'a> {
    worker: &'a Rc<Worker>,
    cluster: &'a Arc<Cluster>,
    key_protocol: Protocol,
    mesh_alpn: bool,
}

/// Forwards a request within the route's timeout.
pub(crate) async fn forward(
    config: &Config,
    manager: &HttpManager,
    exchange: &mut Exchange,
    plan: Plan,
    (head, body): (Parts, Incoming),
) -> Result<Answer, ProxyError> {
    let route = Arc::clone(&plan.route);
    let RouteAction::Forward(action) = &route.action else { return Err(ProxyError::new(Kind::NoRoute)) };
    let deadline = timeout(action, &head, exchange.is_grpc()).map(|timeout| exchange.started + timeout);
    let tries = tries(config, manager, exchange, &plan, (head, body));
    let forwarded = match deadline {
        None => tries.await,
        Some(at) => {
            tokio::time::timeout_at(at.into(), tries).await.unwrap_or_else(|_| Err(ProxyError::new(Kind::Timeout)))
        }
    }?;
    let Tried { response, lease, sent, upgrade } = forwarded;
    Ok(Answer::Upstream(Box::new(Forwarded { response, route, target: plan.target, lease, sent, deadline, upgrade })))
}

/// The route's timeout, or `grpc-timeout` capped by it (Envoy `max_stream_duration.grpc_timeout_header_max`).
fn timeout(action: &Forward, head: &Parts, grpc: bool) -> Option<Duration> {
    let asked = || head.headers.get("grpc-timeout")?.to_str().ok().and_then(grpc_timeout);
    if let (true, Some(cap)) = (grpc, action.grpc_timeout_max)
        && let Some(asked) = asked()
    {
        return Some(if cap.is_zero() { asked } else { asked.min(cap) });
    }
    action.timeout
}

/// `100m` (gRPC over HTTP/2: up to eight digits and a unit).
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = (digits.len() <= 8).then(|| digits.parse().ok()).flatten()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// A try that got an answer.
struct Tried {
    response: Response<Incoming>,
    lease: Lease,
    sent: Instant,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
}

async fn tries(
    config: &Config,
    manager: &HttpManager,
    exchange: &mut Exchange,
    plan: &Plan,
    (mut head, body): (Parts, Incoming),
) -> Result<Tried, ProxyError> {
    let RouteAction::Forward(action) = &plan.route.action else { return Err(ProxyError::new(Kind::NoRoute)) };
    let http = Rc::clone(&exchange.http);
    let worker = &http.connection.worker;
    let protocol = protocol(&plan.cluster, head.version);
    let policy = action.retry.as_deref();
    let mut upgrade = plan.upgrade.then(|| hyper::upgrade::on(Request::from_parts(clone_extensions(&mut head), ())));
    let mut outgoing = outgoing(exchange, policy, plan, protocol, (head, body));
    let live = worker.live.cluster(config, &plan.cluster, &worker.rng);
    let way = Sending { worker, cluster: &plan.cluster, key_protocol: protocol, mesh_alpn: manager.alpn_by_downstream };
    let mut tried: SmallVec<[SocketAddr; 4]> = SmallVec::new();
    let mut attempt = 1;
    loop {
        exchange.record.flow.upstream.attempts = attempt;
        let host = pick(&way, &live, policy, &tried, http.connection.destination)?;
        let outcome = one_try(&way, exchange, &host, policy, &mut outgoing).await;
        let more = policy.is_some_and(|p| attempt <= p.retries) && outgoing.can_go_again();
        let error = match outcome {
            Ok((response, lease, sent)) => {
                let wants = policy.is_some_and(|policy| {
                    retry::on_response(policy, exchange.is_grpc(), response.status(), response.headers())
                });
                if !(wants && more) {
                    if wants && attempt > 1 {
                        exchange.record.flow.flags.set(Flag::RetryLimitExceeded);
                    }
                    return Ok(Tried { response, lease, sent, upgrade: upgrade.take() });
                }
                None
            }
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            let wants = policy.is_some_and(|policy| retry::on_error(policy.on, &error));
            if !(wants && more) {
                if wants && attempt > 1 {
                    exchange.record.flow.flags.set(Flag::RetryLimitExceeded);
                }
                return Err(error);
            }
        }
        let Some(policy) = policy else { return Err(ProxyError::new(Kind::ConnectFailed)) };
        tried.push(host.address);
        wait(policy, attempt, worker).await;
        attempt += 1;
        if plan.attempt_count {
            outgoing.set_attempt(attempt);
        }
    }
}

async fn wait(policy: &RetryPolicy, retry: u32, worker: &Worker) {
    let wait = mizzen_balance::retry::backoff(retry, policy.backoff_base, policy.backoff_max, worker.rng.next());
    tokio::time::sleep(wait).await;
}

/// hyper keeps an upgrade in the request's extensions; it is taken out before the head goes its way.
fn clone_extensions(head: &mut Parts) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.extensions = std::mem::take(&mut head.extensions);
    parts
}

fn protocol(cluster: &Cluster, downstream: Version) -> Protocol {
    match cluster.spec.protocol {
        UpstreamProtocol::Http2 => Protocol::Http2,
        UpstreamProtocol::Downstream if downstream == Version::HTTP_2 => Protocol::Http2,
        UpstreamProtocol::Http1 | UpstreamProtocol::Downstream => Protocol::Http1,
    }
}

/// Takes off what is for the downstream hop, and puts the request into the upstream's form.
fn outgoing(
    exchange: &mut Exchange,
    policy: Option<&RetryPolicy>,
    plan: &Plan,
    protocol: Protocol,
    (mut head, body): (Parts, Incoming),
) -> Outgoing {
    let http2 = protocol == Protocol::Http2 && !plan.upgrade;
    let upgrade_value = plan.upgrade.then(|| head.headers.get(http::header::UPGRADE).cloned()).flatten();
    headers::strip_hop_by_hop(&mut head.headers);
    if let Some(value) = upgrade_value {
        head.headers.insert(http::header::UPGRADE, value);
        head.headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("upgrade"));
    }
    let expects = expects_continue(&mut head, protocol == Protocol::Http1, &body);
    let secure = headers::scheme(&head, exchange.record.scheme) == "https";
    headers::fit_version(&mut head, http2, secure);
    let keep = policy.is_some_and(|p| p.retries > 0 && retry::needs_copy(p, exchange.is_grpc(), http2));
    let body = if body.is_end_stream() {
        Source::Empty
    } else {
        let bytes = Rc::new(Cell::new(0));
        exchange.received = Some(Rc::clone(&bytes));
        if keep {
            Source::Replay(Replay::new(body, bytes))
        } else {
            Source::Once(Some(RequestBody::Once(Counted { incoming: body, bytes })))
        }
    };
    Outgoing { head: Some(head), keep, body, upgrade: plan.upgrade, expects }
}

/// Whether the upstream is asked for a 100. It is between HTTP/1 and HTTP/1; elsewhere the codec answers the client when
/// its body is first polled. Other expectations are the upstream's affair.
fn expects_continue(head: &mut Parts, http1: bool, body: &Incoming) -> bool {
    use http::header::EXPECT;
    if !head.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return false;
    }
    let expects = http1 && head.version == Version::HTTP_11 && !body.is_end_stream();
    if !expects {
        head.headers.remove(EXPECT);
    }
    expects
}

impl Outgoing {
    /// The request of the next try.
    fn request(&mut self) -> Option<(Request<RequestBody>, Option<Gate>)> {
        let head = if self.keep { self.head.clone() } else { self.head.take() }?;
        let body = match &mut self.body {
            Source::Empty => RequestBody::Empty,
            Source::Once(body) => body.take()?,
            Source::Replay(replay) => RequestBody::Replay(replay.reader()),
        };
        if !self.expects {
            return Some((Request::from_parts(head, body), None));
        }
        let gate = Gate::default();
        let mut request = Request::from_parts(head, RequestBody::Held(gate.clone(), Box::new(body)));
        let asked = gate.clone();
        hyper::ext::on_informational(&mut request, move |answer| {
            if answer.status() == http::StatusCode::CONTINUE {
                asked.open();
            }
        });
        Some((request, Some(gate)))
    }

    /// A request that was not sent comes back whole.
    fn take_back(&mut self, request: Request<RequestBody>) {
        let (head, body) = request.into_parts();
        self.head = Some(head);
        if let Source::Once(source) = &mut self.body {
            *source = Some(if let RequestBody::Held(_, body) = body { *body } else { body });
        }
    }

    fn can_go_again(&self) -> bool {
        let body = match &self.body {
            Source::Empty => true,
            Source::Once(body) => body.is_some(),
            Source::Replay(replay) => replay.is_whole(),
        };
        self.head.is_some() && body
    }

    fn set_attempt(&mut self, attempt: u32) {
        if let Some(head) = &mut self.head {
            headers::set_attempt(&mut head.headers, attempt);
        }
    }
}

fn pick(
    way: &Sending<'_>,
    live: &LiveCluster,
    policy: Option<&RetryPolicy>,
    tried: &[SocketAddr],
    destination: SocketAddr,
) -> Result<Rc<LiveHost>, ProxyError> {
    let host = if way.cluster.spec.kind == ClusterKind::OriginalDst {
        live.given(destination)
    } else {
        let avoid = policy.filter(|p| p.avoid_previous_hosts).map_or(&[][..], |_| tried);
        live.pick(avoid, policy.map_or(1, |p| p.host_selection_attempts), &way.worker.rng)
    };
    host.ok_or_else(|| ProxyError::new(Kind::NoHealthyUpstream))
}

async fn one_try(
    way: &Sending<'_>,
    exchange: &mut Exchange,
    host: &Rc<LiveHost>,
    policy: Option<&RetryPolicy>,
    outgoing: &mut Outgoing,
) -> Result<(Response<Incoming>, Lease, Instant), ProxyError> {
    exchange.record.flow.upstream.host = Some(host.address);
    exchange.workload.clone_from(&host.workload);
    exchange.upstream = None;
    let attempt = send(way, exchange, host, outgoing);
    match policy.and_then(|p| p.per_try_timeout) {
        None => attempt.await,
        Some(limit) => {
            tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| Err(ProxyError::new(Kind::PerTryTimeout)))
        }
    }
}

/// Sends over a pooled connection or a new one. A pooled one that was closed before anything was written costs nothing:
/// the next is taken.
async fn send(
    way: &Sending<'_>,
    exchange: &mut Exchange,
    host: &Rc<LiveHost>,
    outgoing: &mut Outgoing,
) -> Result<(Response<Incoming>, Lease, Instant), ProxyError> {
    let http2 = way.key_protocol == Protocol::Http2 && !outgoing.upgrade;
    let key = Key {
        protocol: if http2 { Protocol::Http2 } else { Protocol::Http1 },
        tls: host.tls(&way.cluster.spec.tls).cloned(),
        mesh_alpn: way.mesh_alpn,
    };
    host.active.set(host.active.get() + 1);
    let mut lease = Lease { host: Rc::clone(host), way: Way::Gone, gate: None };
    let mut stale = 0;
    loop {
        let fresh = stale >= STALE_MAX;
        let connection = if http2 {
            Connection::Http2(http2_connection(way, host, &key, fresh).await?)
        } else {
            Connection::Http1(http1_connection(way, host, &key, fresh).await?)
        };
        exchange.upstream = Some(Rc::clone(connection.facts()));
        exchange.record.flow.upstream.local = Some(connection.facts().local);
        let Some((request, gate)) = outgoing.request() else {
            return Err(ProxyError::new(Kind::ConnectionTermination));
        };
        lease.gate = gate;
        let sent = Instant::now();
        match connection.send(request, &mut lease).await {
            Ok(response) => return Ok((response, lease, sent)),
            Err((error, Some(request))) => {
                outgoing.take_back(request);
                if stale >= STALE_MAX {
                    return Err(ProxyError { retry: Retry::IfUnsent, ..error });
                }
                stale += 1;
            }
            Err((error, None)) => return Err(error),
        }
    }
}

enum Connection {
    Http1(Http1),
    Http2(Http2),
}

type Unsent = (ProxyError, Option<Request<RequestBody>>);

impl Connection {
    fn facts(&self) -> &Rc<crate::upstream::pool::Facts> {
        match self {
            Self::Http1(connection) => &connection.facts,
            Self::Http2(connection) => &connection.facts,
        }
    }

    async fn send(self, request: Request<RequestBody>, lease: &mut Lease) -> Result<Response<Incoming>, Unsent> {
        match self {
            Self::Http1(mut connection) => {
                connection.requests += 1;
                let response = connection.sender.try_send_request(request).await.map_err(classify)?;
                lease.way = Way::Http1(connection);
                Ok(response)
            }
            Self::Http2(mut connection) => {
                connection.streams.set(connection.streams.get() + 1);
                connection.requests.set(connection.requests.get() + 1);
                lease.way = Way::Http2 { streams: connection.streams, idle_since: connection.idle_since };
                connection.sender.try_send_request(request).await.map_err(classify)
            }
        }
    }
}

/// hyper's error in our terms; the request itself, if none of it was written.
fn classify(mut error: conn::TrySendError<Request<RequestBody>>) -> Unsent {
    let request = error.take_message();
    let error = error.into_error();
    let kind = if let Some(fault) = body_fault(&error) {
        fault
    } else if error.is_parse() {
        Kind::UpstreamProtocol
    } else {
        match h2_error(&error) {
            // A stream that GOAWAY ends is one that the peer did not take up (RFC 9113 §6.8).
            Some(h2) if h2.reason() == Some(h2::Reason::REFUSED_STREAM) || h2.is_go_away() && h2.is_remote() => {
                Kind::RefusedStream
            }
            Some(h2) if h2.reason().is_some() => Kind::RemoteReset,
            _ => Kind::ConnectionTermination,
        }
    };
    (ProxyError::new(kind).with_transport(super::local::chain(&error)), request)
}

/// The client's fault, if the request's body is what failed.
fn body_fault(error: &hyper::Error) -> Option<Kind> {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let mut source = std::error::Error::source(error)?;
    source.downcast_ref::<RequestError>()?;
    loop {
        if let Some(io) = source.downcast_ref::<std::io::Error>() {
            let malformed = matches!(io.kind(), InvalidData | InvalidInput);
            return Some(if malformed { Kind::BadRequest("http1.body_malformed") } else { Kind::ClientGone });
        }
        let Some(next) = source.source() else { return Some(Kind::ClientGone) };
        source = next;
    }
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            return Some(h2);
        }
        source = cause.source();
    }
    None
}

async fn http1_connection(way: &Sending<'_>, host: &Rc<LiveHost>, key: &Key, fresh: bool) -> Result<Http1, ProxyError> {
    if !fresh && let Some(pooled) = host.pool.take_http1(key, unix_now()) {
        return Ok(pooled);
    }
    let (stream, facts) = Box::pin(connect::open(way.worker, &way.cluster.spec, host, key)).await?;
    let (sender, connection) = conn::http1::Builder::new()
        .max_headers(256)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ProxyError::unsent(Kind::ConnectFailed).with_transport(error))?;
    // Its end shows in the sender, which whoever waits for a response or takes it from the pool sees. (No `async` block:
    // it would keep the place of what it captured beside what it awaits, for as long as the connection lasts.)
    tokio::task::spawn_local(connection.with_upgrades().map(drop));
    Ok(Http1 { sender, facts: Rc::new(facts), key: key.clone(), requests: 0, idle_since: 0 })
}

async fn http2_connection(way: &Sending<'_>, host: &Rc<LiveHost>, key: &Key, fresh: bool) -> Result<Http2, ProxyError> {
    let requests_max = way.cluster.spec.requests_per_connection_max;
    let _connecting = loop {
        if !fresh && let Some(pooled) = host.pool.find_http2(key, unix_now(), requests_max) {
            return Ok(pooled);
        }
        match host.pool.begin_connecting() {
            Ok(connecting) => break connecting,
            Err(someone_else) => someone_else.notified().await,
        }
    };
    let (stream, facts) = Box::pin(connect::open(way.worker, &way.cluster.spec, host, key)).await?;
    let (sender, mut connection) = conn::http2::Builder::new(server::Local)
        .timer(TokioTimer::new())
        .initial_stream_window_size(server::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(UPSTREAM_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_send_buf_size(server::SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(server::RESET_STREAMS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ProxyError::unsent(Kind::ConnectFailed).with_transport(error))?;
    let streams_allowed = Rc::new(Cell::new(connection.current_max_send_streams()));
    let allowed = Rc::clone(&streams_allowed);
    tokio::task::spawn_local(std::future::poll_fn(move |cx| {
        let ended = Pin::new(&mut connection).poll(cx);
        allowed.set(connection.current_max_send_streams());
        ended.map(drop)
    }));
    let opened = Http2 {
        streams_allowed,
        sender,
        facts: Rc::new(facts),
        key: key.clone(),
        streams: Rc::default(),
        requests: Rc::default(),
        idle_since: Rc::new(Cell::new(crate::clock::now())),
    };
    host.pool.add_http2(opened.clone());
    Ok(opened)
}
