//! From records to metrics, edges and log lines: one call at the end of a request or connection.
//!
//! Handles are resolved per connection (inbound) or per upstream connection (outbound); a request then costs a few stores.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use mizzen_snapshot::{
    ClusterSpec, Listener,
    cluster::Workload as EndpointWorkload,
    listener::{AccessLogSpec, Direction},
};
use mizzen_telemetry::{
    ConnFacts, Counter, Edge, EdgeKey, EdgeProtocol, Flag, Flow, HttpRecord, HttpSeries, Labels, Metrics, Reporter,
    RequestProtocol, SecurityPolicy, Service, Shard, TcpSeries, TlsFacts, UNKNOWN, Workload,
    access_log::{Format, LogWriter},
};

use crate::{
    access_log,
    connection::Connection,
    registry::Entry,
    shared::Shared,
    tls::{Peer, TlsError},
    upstream::pool,
};

/// A log that this worker writes.
pub(crate) struct Log {
    pub(crate) format: Format,
    writer: RefCell<LogWriter>,
}

/// Metric and edge of a request.
#[derive(Clone)]
pub(crate) struct HttpHandles {
    series: HttpSeries,
    http: Edge,
    grpc: Edge,
}

/// Metric and edge of a TCP connection.
pub(crate) struct TcpHandles {
    pub(crate) series: TcpSeries,
    pub(crate) edge: Edge,
}

/// Handles that hang on one upstream connection.
#[derive(Default)]
pub(crate) struct OutboundHandles(OnceCell<HttpHandles>);

impl std::fmt::Debug for OutboundHandles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OutboundHandles")
    }
}

/// The worker's reporter.
pub(crate) struct Observer {
    shard: Shard,
    metrics: Metrics,
    own: Arc<Workload>,
    unknown: Arc<Workload>,
    logs: RefCell<HashMap<Arc<AccessLogSpec>, Option<Rc<Log>>>>,
    shared_logs: Arc<Shared>,
    refused: Counter,
    no_chain: Counter,
    handshakes_failed: Counter,
}

impl Observer {
    pub(crate) fn new(shard: Shard, shared: &Arc<Shared>) -> Self {
        let metrics = shared.metrics.clone();
        Self {
            own: Arc::new(shared.bootstrap.workload()),
            unknown: Arc::new(Workload::unknown()),
            logs: RefCell::default(),
            shared_logs: Arc::clone(shared),
            refused: shard.counter("mizzen_connections_refused_total", &[]),
            no_chain: shard.counter("mizzen_no_filter_chain_total", &[]),
            handshakes_failed: shard.counter("mizzen_handshakes_failed_total", &[]),
            shard,
            metrics,
        }
    }

    /// The log of a chain, opened at its first use.
    pub(crate) fn log(&self, spec: Option<&Arc<AccessLogSpec>>) -> Option<Rc<Log>> {
        let spec = spec?;
        if let Some(known) = self.logs.borrow().get(spec) {
            return known.clone();
        }
        let opened = access_log::format(spec).and_then(|format| {
            let writer = self.shared_logs.access_logs.writer(&spec.path, &self.metrics)?;
            Some(Rc::new(Log { format, writer: RefCell::new(writer) }))
        });
        self.logs.borrow_mut().insert(Arc::clone(spec), opened.clone());
        opened
    }

    /// Several times a second: lines of a quiet log are written.
    pub(crate) fn tick(&self) {
        for log in self.logs.borrow().values().flatten() {
            log.writer.borrow_mut().flush();
        }
    }

    pub(crate) fn connection_refused(&self) {
        self.refused.add(1);
    }

    pub(crate) fn no_filter_chain(&self, entry: &Entry, listener: &Listener) {
        self.no_chain.add(1);
        tracing::debug!(listener = &*listener.name, peer = %entry.peer, to = %entry.destination, "no filter chain matches");
    }

    pub(crate) fn handshake_failed(&self, connection: &Connection, error: &TlsError) {
        self.handshakes_failed.add(1);
        tracing::debug!(chain = &*connection.chain.name, peer = %connection.peer_address, %error, "TLS handshake failed");
    }

    /// The end of an HTTP request.
    pub(crate) fn http(&self, connection: &Connection, facts: &ConnFacts, record: &HttpRecord, ended: &Ended<'_>) {
        let handles = self.http_handles(connection, record, ended);
        handles.series.record(&record.outcome());
        let edge = match record.protocol {
            RequestProtocol::Http => &handles.http,
            RequestProtocol::Grpc { .. } => &handles.grpc,
        };
        if record.succeeded() {
            edge.success(record.flow.duration);
        } else {
            edge.failure(record.flow.duration);
        }
        if let Some(log) = ended.log {
            log.writer.borrow_mut().http(&log.format, facts, record);
        }
    }

    fn http_handles(&self, connection: &Connection, record: &HttpRecord, ended: &Ended<'_>) -> HttpHandles {
        if connection.listener.direction == Direction::Outbound
            && let Some(upstream) = ended.upstream
        {
            return upstream.handles.0.get_or_init(|| self.resolve_http(connection, record, ended)).clone();
        }
        if connection.listener.direction == Direction::Inbound {
            return connection.handles.get_or_init(|| self.resolve_http(connection, record, ended)).clone();
        }
        self.resolve_http(connection, record, ended)
    }

    fn resolve_http(&self, connection: &Connection, record: &HttpRecord, ended: &Ended<'_>) -> HttpHandles {
        let authority = record.authority.as_ref().and_then(|a| a.to_str().ok());
        let labels = self.labels(connection, ended, authority);
        let edge = |protocol| self.shard.edge(&self.edge_key(connection, ended, &labels, protocol));
        HttpHandles { series: self.shard.http(&labels), http: edge(EdgeProtocol::Http), grpc: edge(EdgeProtocol::Grpc) }
    }

    /// The handles of a TCP connection.
    pub(crate) fn tcp_handles(&self, connection: &Connection, ended: &Ended<'_>) -> TcpHandles {
        let labels = self.labels(connection, ended, None);
        TcpHandles {
            series: self.shard.tcp(&labels),
            edge: self.shard.edge(&self.edge_key(connection, ended, &labels, EdgeProtocol::Tcp)),
        }
    }

    fn labels(&self, connection: &Connection, ended: &Ended<'_>, authority: Option<&str>) -> Labels {
        let peer = connection.peer.as_deref();
        match connection.listener.direction {
            Direction::Inbound => Labels {
                reporter: Reporter::Destination,
                source: peer.map_or_else(|| Arc::clone(&self.unknown), |peer| Arc::new(known_by_certificate(peer))),
                destination: Arc::new(with_principal(&self.own, peer.and_then(|p| p.local_principal.as_ref()))),
                service: Arc::new(inbound_service(ended.cluster, &self.own)),
                security: if peer.is_some_and(|p| p.principal.is_some()) {
                    SecurityPolicy::MutualTls
                } else {
                    SecurityPolicy::None
                },
            },
            Direction::Outbound => {
                let upstream = ended.upstream.and_then(|u| u.peer.as_deref());
                let own_principal = upstream.and_then(|p| p.local_principal.as_ref());
                Labels {
                    reporter: Reporter::Source,
                    source: Arc::new(with_principal(&self.own, own_principal)),
                    destination: Arc::new(endpoint(ended.workload, upstream)),
                    service: Arc::new(outbound_service(ended.cluster, authority)),
                    security: SecurityPolicy::Unknown,
                }
            }
        }
    }

    fn edge_key(&self, connection: &Connection, ended: &Ended<'_>, labels: &Labels, protocol: EdgeProtocol) -> EdgeKey {
        let inbound = connection.listener.direction == Direction::Inbound;
        let peer = if inbound { connection.peer.as_deref() } else { ended.upstream.and_then(|u| u.peer.as_deref()) };
        EdgeKey {
            direction: if inbound {
                mizzen_telemetry::Direction::Inbound
            } else {
                mizzen_telemetry::Direction::Outbound
            },
            protocol,
            source_ip: inbound.then(|| connection.peer_address.ip()),
            source_principal: peer.filter(|_| inbound).and_then(|p| p.principal.clone()),
            destination: if inbound { Arc::clone(&self.own.workload) } else { Arc::clone(&labels.service.host) },
            upstream_ip: ended.upstream.filter(|_| !inbound).map(|u| u.remote.ip()),
            mtls: peer.is_some_and(|p| p.principal.is_some()),
            key_exchange: peer.and_then(|p| p.key_exchange).map(Into::into),
        }
    }
}

/// What of the upstream side goes into the labels.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ended<'a> {
    pub(crate) cluster: Option<&'a ClusterSpec>,
    pub(crate) workload: Option<&'a EndpointWorkload>,
    pub(crate) upstream: Option<&'a pool::Facts>,
    pub(crate) log: Option<&'a Log>,
}

fn known_by_certificate(peer: &Peer) -> Workload {
    let mut workload = Workload::unknown();
    if let Some(principal) = &peer.principal {
        workload.principal = Arc::clone(principal);
        if let Some(namespace) = namespace_of(principal) {
            workload.namespace = namespace.into();
        }
    }
    workload
}

/// `spiffe://TD/ns/NS/sa/SA` → `NS`.
fn namespace_of(principal: &str) -> Option<&str> {
    principal.split_once("/ns/")?.1.split('/').next()
}

fn with_principal(own: &Arc<Workload>, principal: Option<&Arc<str>>) -> Workload {
    let mut workload = Workload::clone(own);
    workload.principal = principal.map_or_else(|| UNKNOWN.into(), Arc::clone);
    workload
}

fn endpoint(metadata: Option<&EndpointWorkload>, peer: Option<&Peer>) -> Workload {
    let mut workload = Workload::unknown();
    if let Some(found) = metadata {
        workload.workload = (&*found.name).into();
        workload.namespace = (&*found.namespace).into();
        workload.canonical_service = (&*found.canonical_name).into();
        workload.canonical_revision = (&*found.canonical_revision).into();
        workload.app = Arc::clone(&workload.canonical_service);
        workload.version = Arc::clone(&workload.canonical_revision);
        workload.cluster = (&*found.cluster).into();
    }
    if let Some(principal) = peer.and_then(|p| p.principal.as_ref()) {
        workload.principal = Arc::clone(principal);
    }
    workload
}

fn outbound_service(cluster: Option<&ClusterSpec>, authority: Option<&str>) -> Service {
    let Some(cluster) = cluster else { return Service::unknown() };
    if let Some(service) = &cluster.service {
        return Service {
            host: (&*service.host).into(),
            name: (&*service.name).into(),
            namespace: (&*service.namespace).into(),
        };
    }
    let mut service = Service::unknown();
    if let "PassthroughCluster" | "BlackHoleCluster" = &*cluster.name {
        service.name = Arc::clone(&cluster.name);
        service.host = authority.map_or_else(|| Arc::clone(&cluster.name), Into::into);
    } else if let Some(authority) = authority {
        service.host = authority.into();
        service.name = authority.split('.').next().unwrap_or(authority).into();
    }
    service
}

fn inbound_service(cluster: Option<&ClusterSpec>, own: &Workload) -> Service {
    if let Some(service) = cluster.and_then(|c| c.service.as_ref()) {
        return Service {
            host: (&*service.host).into(),
            name: (&*service.name).into(),
            namespace: (&*service.namespace).into(),
        };
    }
    let mut service = Service::unknown();
    service.host = Arc::clone(&own.canonical_service);
    service.name = Arc::clone(&own.canonical_service);
    service.namespace = Arc::clone(&own.namespace);
    service
}

/// The connection's facts as the log wants them.
pub(crate) fn connection_facts(connection: &Connection) -> ConnFacts {
    ConnFacts {
        id: connection.entry.id,
        remote: connection.peer_address,
        local: connection.destination,
        server_name: (!connection.server_name.is_empty()).then(|| (&*connection.server_name).into()),
        tls: connection.peer.as_deref().map(|peer| {
            Arc::new(TlsFacts {
                version: peer.version,
                cipher: peer.cipher,
                key_exchange: peer.key_exchange.map(Into::into),
                peer_uri_sans: peer.uri_sans.clone(),
                peer_subject: Some(Arc::clone(&peer.subject)),
                peer_serial: Some(Arc::clone(&peer.serial)),
                peer_fingerprint: Some(Arc::clone(&peer.fingerprint)),
                local_uri_san: peer.local_principal.clone(),
            })
        }),
    }
}

/// Flags of a TCP connection that ended so.
pub(crate) fn flag_all(flow: &mut Flow, flags: &[Flag]) {
    for flag in flags {
        flow.flags.set(*flag);
    }
}

/// The end of a TCP connection.
pub(crate) fn tcp_ended(facts: &ConnFacts, flow: &Flow, handles: &TcpHandles, log: Option<&Log>) {
    handles.series.closed(flow.flags);
    if !flow.flags.is_empty() {
        handles.edge.broken();
    }
    if let Some(log) = log {
        log.writer.borrow_mut().tcp(&log.format, facts, flow);
    }
}
