//! A connection's way from accept to its handler: original destination → listener → detection → filter chain →
//! handshake → HTTP or TCP.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use bytes::BytesMut;
use mizzen_net::sock;
use mizzen_rules::{ConnectionFacts, Silent, Transport};
use mizzen_snapshot::{FilterChain, Handler, Listener, TcpProxy, walk};
use tokio::net::TcpStream;

use crate::{
    accept::Accepted,
    detect::{Inspector, Verdict},
    http,
    io::{Activity, Replayed, Stream},
    registry::{Entry, Registered, Speaks},
    tcp,
    tls::{self, Peer},
    worker::{Config, Worker},
};

/// A client that is silent for this long may be waiting for the server to speak first: the upstream is opened as TCP,
/// and the first byte from either side decides.
const SILENCE: Duration = Duration::from_millis(10);

/// What all phases of a connection know.
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) entry: Rc<Entry>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) chain: Arc<FilterChain>,
    pub(crate) peer_address: SocketAddr,
    /// Where the client connected to: for a redirected connection, before the redirect.
    pub(crate) destination: SocketAddr,
    /// Of the TLS session, if there is one.
    pub(crate) peer: Option<Arc<Peer>>,
    pub(crate) server_name: Box<str>,
    /// Metrics of this connection's requests, inbound.
    pub(crate) handles: std::cell::OnceCell<crate::telemetry::HttpHandles>,
}

/// Counts a connection out when its task ends, however it ends.
struct Counted(Rc<Worker>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.shared.loads[self.0.id].sub();
    }
}

/// Starts the task of a connection whose load is counted.
pub(crate) fn start(worker: Rc<Worker>, accepted: Accepted) {
    let counted = Counted(Rc::clone(&worker));
    tokio::task::spawn_local(async move {
        let _counted = counted;
        if let Some((registered, incoming)) = enter(&worker, accepted) {
            let entry = Rc::clone(&registered.entry);
            tokio::select! {
                biased;
                () = entry.aborted() => {
                    tracing::debug!(id = entry.id, reason = entry.ending_reason(), "connection cut");
                }
                () = serve(&worker, &registered, incoming) => {}
            }
        }
    });
}

/// A connection whose listener is known.
struct Incoming {
    listener: Arc<Listener>,
    stream: Replayed,
    destination: SocketAddr,
}

fn enter(worker: &Rc<Worker>, accepted: Accepted) -> Option<(Registered, Incoming)> {
    let Accepted { socket, peer, listener: bound } = accepted;
    socket.set_nodelay(true).ok();
    let config = worker.config();
    let bound = config.snapshot.listener(&bound)?;
    let local = socket.local_addr().ok()?;
    let destination = if bound.use_original_dst { sock::original_destination(&socket).unwrap_or(local) } else { local };
    let listener = config.snapshot.listener_for(bound, destination);
    if listener.connections_max.is_some_and(|max| worker.registry.count_on(&listener.name) >= max as usize) {
        worker.observer.connection_refused();
        return None;
    }
    let activity = Activity::new();
    let tcp = TcpStream::from_std(socket).ok()?;
    let stream = Replayed::new(BytesMut::new(), tcp, Arc::clone(&activity));
    let registered = worker.registry.enter(Arc::clone(&bound.name), peer, destination, activity);
    if worker.is_draining(listener.direction) {
        registered.entry.retire_when_quiet();
    }
    *registered.entry.listener.borrow_mut() = Arc::clone(&listener.name);
    Some((registered, Incoming { listener: Arc::clone(listener), stream, destination }))
}

/// One phase after the other. Each has a box of its own, so that a connection holds only what its present phase needs: an
/// idle one is mostly this future.
async fn serve(worker: &Rc<Worker>, registered: &Registered, incoming: Incoming) {
    let entry = &registered.entry;
    let Incoming { listener, mut stream, destination } = incoming;
    let mut inspector = Inspector::default();
    let facts = Facts { source: entry.peer, destination };
    let mut opened = None;

    let verdict = if listener.inspect_tls || listener.inspect_http {
        match Box::pin(detect(worker, &listener, facts, &mut stream, &mut inspector)).await {
            Some((verdict, upstream)) => {
                opened = upstream;
                verdict
            }
            None => return,
        }
    } else {
        Verdict::More
    };
    let config = worker.config();
    let Some(chain) = choose(&config, &listener, facts, &verdict) else {
        worker.observer.no_filter_chain(entry, &listener);
        return;
    };
    *entry.chain.borrow_mut() = Some(Arc::clone(&chain.name));
    let mut connection = Connection {
        worker: Rc::clone(worker),
        entry: Rc::clone(entry),
        listener,
        chain: Arc::clone(&chain),
        peer_address: entry.peer,
        destination,
        peer: None,
        server_name: match &verdict {
            Verdict::Tls(hello) => hello.server_name.as_str().into(),
            _ => "".into(),
        },
        handles: std::cell::OnceCell::new(),
    };
    let stream = match &chain.tls {
        None => Stream::Plain(stream),
        Some(spec) => {
            match Box::pin(tls::accept(&config, worker, (spec, alpn(&verdict)), chain.handshake_timeout, stream)).await
            {
                Ok((stream, peer)) => {
                    let peer = Arc::new(peer);
                    *entry.identity.borrow_mut() = Some(Arc::clone(&peer));
                    connection.peer = Some(peer);
                    stream
                }
                Err(error) => return worker.observer.handshake_failed(&connection, &error),
            }
        }
    };
    match &chain.handler {
        Handler::Tcp(proxy) => Box::pin(tcp::serve(connection, Arc::clone(proxy), stream, opened)).await,
        Handler::Http(manager) => {
            http::server::serve(connection, Arc::clone(manager), stream, inspector).await;
        }
    }
}

fn alpn(verdict: &Verdict) -> &[String] {
    match verdict {
        Verdict::Tls(hello) => &hello.alpn,
        _ => &[],
    }
}

/// Addresses of a connection.
#[derive(Clone, Copy)]
struct Facts {
    source: SocketAddr,
    destination: SocketAddr,
}

fn choose(config: &Config, listener: &Arc<Listener>, facts: Facts, verdict: &Verdict) -> Option<Arc<FilterChain>> {
    let alpn: smallvec::SmallVec<[&str; 8]>;
    let (transport, server_name, protocols): (_, &str, &[&str]) = match verdict {
        Verdict::Tls(hello) => {
            alpn = hello.alpn.iter().map(String::as_str).collect();
            (Transport::Tls, &hello.server_name, &alpn)
        }
        Verdict::Http1 => (Transport::Raw, "", &["http/1.1"]),
        Verdict::Http10 => (Transport::Raw, "", &["http/1.0", "http/1.1"]),
        Verdict::Http2 => (Transport::Raw, "", &["h2c"]),
        Verdict::Other | Verdict::More => (Transport::Raw, "", &[]),
    };
    let facts =
        ConnectionFacts { destination: facts.destination, source: facts.source, transport, server_name, protocols };
    walk::connection(&config.snapshot, listener, &facts, &mut Silent).chain
}

/// Reads until it is known what the client speaks. While the client is silent, the upstream of the chain that serves
/// raw TCP is opened: if the server speaks first, it is that.
async fn detect(
    worker: &Rc<Worker>,
    listener: &Arc<Listener>,
    facts: Facts,
    stream: &mut Replayed,
    inspector: &mut Inspector,
) -> Option<(Verdict, Option<tcp::Opened>)> {
    if let Ok(readable) = tokio::time::timeout(SILENCE, stream.readable()).await {
        readable.ok()?;
    } else if let Some(proxy) = raw_tcp(&worker.config(), listener, facts) {
        let tried = Cell::new(None);
        let speaks_first = async {
            match tcp::open_speculatively(worker, &proxy, facts.destination).await {
                Some(mut opened) => {
                    if !opened.speaks().await {
                        // Closed without a word: the client has still to say what it wants.
                        std::future::pending::<()>().await;
                    }
                    tried.set(Some(opened));
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            readable = stream.readable() => readable.ok()?,
            () = speaks_first => return Some((Verdict::Other, tried.into_inner())),
        }
    }
    loop {
        let verdict = inspector.look(stream.front());
        if verdict != Verdict::More {
            return Some((verdict, None));
        }
        if stream.fill().await.ok()? == 0 {
            // The client closed its side before it said what it speaks: TCP, if it said anything.
            return (!stream.front().is_empty()).then_some((Verdict::Other, None));
        }
    }
}

/// The TCP proxy that serves this destination when the client speaks no known protocol.
fn raw_tcp(config: &Config, listener: &Arc<Listener>, facts: Facts) -> Option<Arc<TcpProxy>> {
    let chain = choose(config, listener, facts, &Verdict::Other)?;
    match (&chain.handler, &chain.tls) {
        (Handler::Tcp(proxy), None) => Some(Arc::clone(proxy)),
        _ => None,
    }
}

impl Connection {
    /// Says what the connection speaks, for the registry.
    pub(crate) fn speaks(&self, speaks: Speaks) {
        self.entry.speaks.set(speaks);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.entry.is_ending()
    }
}

#[cfg(test)]
mod tests;
