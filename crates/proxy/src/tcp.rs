//! TCP: one cluster choice per connection, then the byte pump.

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::BytesMut;
use mizzen_rules::WeightTable;
use mizzen_snapshot::{Cluster, ClusterKind, Lookup, TcpProxy};
use mizzen_telemetry::{Flag, Flow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    connection::Connection,
    error::{Kind, ProxyError},
    io::Stream,
    pump::{self, Broken},
    registry::Speaks,
    telemetry::{self, Ended, TcpHandles},
    upstream::{
        connect,
        live::LiveHost,
        pool::{Facts, Key, Protocol},
    },
    worker::Worker,
};

/// Both directions silent for this long: closed (Envoy's default, 1 h).
const IDLE_TIMEOUT: Duration = Duration::from_hours(1);

/// Endpoints tried for one connection (Envoy `max_connect_attempts` is 1; another endpoint costs nobody anything while
/// no byte was sent).
const CONNECT_ATTEMPTS_MAX: u32 = 3;

/// An upstream connection that nothing was sent on yet.
pub(crate) struct Opened {
    cluster: Arc<Cluster>,
    host: Rc<LiveHost>,
    stream: Stream,
    facts: Rc<Facts>,
    /// What the server said first.
    first: BytesMut,
}

impl Opened {
    /// Waits for the server's first bytes; false when it closes without a word.
    pub(crate) async fn speaks(&mut self) -> bool {
        self.first.reserve(4096);
        self.stream.read_buf(&mut self.first).await.is_ok_and(|n| n > 0)
    }
}

/// Opens the upstream before it is known whether the client will speak; a failure is nobody's business yet.
pub(crate) async fn open_speculatively(
    worker: &Rc<Worker>,
    proxy: &TcpProxy,
    destination: SocketAddr,
) -> Option<Opened> {
    let mut flow = Flow::new(SystemTime::now());
    open(worker, proxy, destination, &mut flow).await.ok()
}

/// Opens a connection to an endpoint of the proxy's cluster.
async fn open(
    worker: &Rc<Worker>,
    proxy: &TcpProxy,
    destination: SocketAddr,
    flow: &mut Flow,
) -> Result<Opened, ProxyError> {
    let config = worker.config();
    let name = choose(proxy, worker.rng.next()).ok_or_else(|| ProxyError::new(Kind::NoCluster))?;
    flow.upstream.cluster = Some(Arc::clone(name));
    let Lookup::Known(cluster) = config.snapshot.cluster(name) else {
        return Err(ProxyError::new(Kind::NoCluster));
    };
    let live = worker.live.cluster(&config, cluster, &worker.rng);
    let mut tried = Vec::new();
    loop {
        let host = if cluster.spec.kind == ClusterKind::OriginalDst {
            live.given(destination)
        } else {
            live.pick(&tried, 1, &worker.rng)
        };
        let host = host.ok_or_else(|| ProxyError::new(Kind::NoHealthyUpstream))?;
        flow.upstream.host = Some(host.address);
        flow.upstream.attempts += 1;
        let key = Key { protocol: Protocol::Tcp, tls: host.tls(&cluster.spec.tls).cloned(), mesh_alpn: false };
        match connect::open(worker, &cluster.spec, &host, &key).await {
            Ok((stream, facts)) => {
                flow.upstream.local = Some(facts.local);
                host.active.set(host.active.get() + 1);
                return Ok(Opened {
                    cluster: Arc::clone(cluster),
                    host,
                    stream,
                    facts: Rc::new(facts),
                    first: BytesMut::new(),
                });
            }
            Err(error) => {
                tried.push(host.address);
                if cluster.spec.kind == ClusterKind::OriginalDst || flow.upstream.attempts >= CONNECT_ATTEMPTS_MAX {
                    return Err(error);
                }
            }
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.host.active.set(self.host.active.get().saturating_sub(1));
    }
}

fn choose(proxy: &TcpProxy, random: u64) -> Option<&Arc<str>> {
    match &*proxy.clusters {
        [(name, _)] => Some(name),
        several => {
            let weights: Vec<u32> = several.iter().map(|(_, weight)| *weight).collect();
            WeightTable::new(&weights).pick(random).map(|at| &several[at].0)
        }
    }
}

/// Serves a TCP connection until it ends; `opened` is the upstream of a server that spoke first.
pub(crate) async fn serve(connection: Connection, proxy: Arc<TcpProxy>, mut stream: Stream, opened: Option<Opened>) {
    connection.speaks(Speaks::Tcp);
    connection.entry.request_begins();
    let started = Instant::now();
    let mut flow = Flow::new(SystemTime::now());
    let opened = match opened {
        Some(opened) => {
            flow.upstream.cluster = Some(Arc::clone(&opened.cluster.spec.name));
            flow.upstream.host = Some(opened.host.address);
            flow.upstream.local = Some(opened.facts.local);
            Ok(opened)
        }
        None => open(&connection.worker, &proxy, connection.destination, &mut flow).await,
    };
    let mut passing = Passing { connection: &connection, proxy: &proxy, flow, started, handles: None, up: None };
    match opened {
        Ok(mut opened) => passing.pass(&mut stream, &mut opened).await,
        Err(error) => {
            passing.failed(&error);
            // The client learns that it did not reach anyone, and not that someone closed.
            mizzen_net::sock::reset_on_close(stream.tcp()).ok();
        }
    }
}

/// A TCP connection under way; dropped when it is over, however that came.
struct Passing<'a> {
    connection: &'a Connection,
    proxy: &'a TcpProxy,
    flow: Flow,
    started: Instant,
    handles: Option<TcpHandles>,
    up: Option<Rc<pump::Counts>>,
}

impl Passing<'_> {
    fn failed(&mut self, error: &ProxyError) {
        let row = error.row();
        telemetry::flag_all(&mut self.flow, row.flag.as_slice());
        self.flow.upstream.transport_failure = error.transport.as_ref().map(|reason| reason.to_string().into());
        let handles = self.connection.worker.observer.tcp_handles(self.connection, &Ended::default());
        handles.series.opened();
        handles.edge.opened();
        self.handles = Some(handles);
    }

    async fn pass(&mut self, stream: &mut Stream, opened: &mut Opened) {
        let ended = Ended {
            cluster: Some(&opened.cluster.spec),
            workload: opened.host.workload.as_deref(),
            upstream: Some(&opened.facts),
            log: None,
        };
        let handles = self.connection.worker.observer.tcp_handles(self.connection, &ended);
        handles.series.opened();
        handles.edge.opened();
        self.handles = Some(handles);
        let counts = Rc::new(pump::Counts::default());
        self.up = Some(Rc::clone(&counts));
        let first = std::mem::take(&mut opened.first);
        if !first.is_empty() {
            counts.down.set(first.len() as u64);
            if stream.write_all(&first).await.is_err() {
                self.flow.flags.set(Flag::DownstreamConnectionTermination);
                return;
            }
        }
        let idle = self.proxy.idle_timeout.unwrap_or(IDLE_TIMEOUT);
        match pump::both_ways(&mut *stream, &mut opened.stream, Some(idle), &counts).await {
            Ok(()) => {}
            Err(Broken::Idle) => self.flow.flags.set(Flag::StreamIdleTimeout),
            Err(Broken::Client(_)) => {
                self.flow.flags.set(Flag::DownstreamConnectionTermination);
                mizzen_net::sock::reset_on_close(opened.stream.tcp()).ok();
            }
            Err(Broken::Upstream(_)) => {
                self.flow.flags.set(Flag::UpstreamConnectionTermination);
                mizzen_net::sock::reset_on_close(stream.tcp()).ok();
            }
        }
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        if let Some(counts) = &self.up {
            self.flow.bytes_received = counts.up.get();
            self.flow.bytes_sent = counts.down.get();
        }
        self.flow.duration = self.started.elapsed();
        let observer = &self.connection.worker.observer;
        if let Some(handles) = &self.handles {
            handles.series.transferred(self.flow.bytes_sent, self.flow.bytes_received);
            let facts = telemetry::connection_facts(self.connection);
            let log = observer.log(self.proxy.access_log.as_ref());
            telemetry::tcp_ended(&facts, &self.flow, handles, log.as_deref());
        }
        self.connection.entry.request_ends();
    }
}
