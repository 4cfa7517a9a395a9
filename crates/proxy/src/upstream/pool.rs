//! Connections to one endpoint that can take a request: idle HTTP/1 connections and shared HTTP/2 ones.
//!
//! The key is everything that changes bytes before the first request: protocol, TLS settings, ALPN, identity. hyper's own
//! task watches an idle connection for the peer's FIN, so a closed one is seen before it is used.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hyper::client::conn::{http1, http2};
use mizzen_snapshot::listener::ClientTls;
use tokio::sync::Notify;

use crate::{clock, http::body::RequestBody, telemetry::OutboundHandles, tls::Peer};

/// Streams at once on one upstream HTTP/2 connection, at most; less if the peer says less. hyper queues without a bound
/// what is over the peer's limit, so we count ourselves and open another connection.
pub(crate) const STREAMS_MAX: usize = 100;

/// Idle HTTP/1 connections kept per endpoint and worker; a further one is closed when its request is done.
const IDLE_MAX: usize = 1024;

/// The application protocol asked of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    Tcp,
}

/// What two requests must share to share a connection.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) protocol: Protocol,
    pub(crate) tls: Option<Arc<ClientTls>>,
    /// ALPN follows the downstream protocol.
    pub(crate) mesh_alpn: bool,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => false,
        };
        self.protocol == other.protocol && self.mesh_alpn == other.mesh_alpn && same_tls
    }
}

/// Facts of an upstream connection.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) peer: Option<Arc<Peer>>,
    /// Metrics of the requests that go this way.
    pub(crate) handles: OutboundHandles,
}

impl Facts {
    fn is_expired(&self, unix_now: u64) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.not_after <= unix_now)
    }
}

/// An HTTP/1 connection that serves one request at a time.
#[derive(Debug)]
pub(crate) struct Http1 {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    pub(crate) facts: Rc<Facts>,
    pub(crate) key: Key,
    pub(crate) requests: u32,
    pub(crate) idle_since: u64,
}

/// An HTTP/2 connection that serves many.
#[derive(Clone, Debug)]
pub(crate) struct Http2 {
    pub(crate) sender: http2::SendRequest<RequestBody>,
    pub(crate) facts: Rc<Facts>,
    pub(crate) key: Key,
    pub(crate) streams: Rc<Cell<usize>>,
    /// The peer's `SETTINGS_MAX_CONCURRENT_STREAMS`, kept up to date by the connection's task.
    pub(crate) streams_allowed: Rc<Cell<usize>>,
    pub(crate) requests: Rc<Cell<u32>>,
    pub(crate) idle_since: Rc<Cell<u64>>,
}

impl Http2 {
    fn takes_another(&self, unix_now: u64, requests_max: u32) -> bool {
        !self.sender.is_closed()
            && self.streams.get() < self.streams_allowed.get().clamp(1, STREAMS_MAX)
            && !self.facts.is_expired(unix_now)
            && (requests_max == 0 || self.requests.get() < requests_max)
    }
}

/// The connections of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    http1: RefCell<Vec<Http1>>,
    http2: RefCell<Vec<Http2>>,
    /// An HTTP/2 connection is being made: whoever needs one too waits for it instead of making another.
    connecting: RefCell<Option<Rc<Notify>>>,
}

impl Pool {
    /// The idle HTTP/1 connection used last: the warmest, and the others may time out.
    pub(crate) fn take_http1(&self, key: &Key, unix_now: u64) -> Option<Http1> {
        let mut idle = self.http1.borrow_mut();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            if idle[at].key != *key {
                continue;
            }
            let connection = idle.swap_remove(at);
            if connection.sender.is_ready() && !connection.facts.is_expired(unix_now) {
                return Some(connection);
            }
            at = at.min(idle.len());
        }
        None
    }

    /// Takes back a connection that is ready for its next request.
    pub(crate) fn put_http1(&self, mut connection: Http1) {
        let mut idle = self.http1.borrow_mut();
        if idle.len() < IDLE_MAX {
            connection.idle_since = clock::now();
            idle.push(connection);
        }
    }

    /// An HTTP/2 connection with room for another stream.
    pub(crate) fn find_http2(&self, key: &Key, unix_now: u64, requests_max: u32) -> Option<Http2> {
        self.http2.borrow().iter().find(|c| c.key == *key && c.takes_another(unix_now, requests_max)).cloned()
    }

    pub(crate) fn add_http2(&self, connection: Http2) {
        let mut open = self.http2.borrow_mut();
        open.retain(|c| !c.sender.is_closed());
        open.push(connection);
    }

    /// `Err` with what to wait for when somebody else is connecting already; else the caller connects, and says so when
    /// it is done by dropping what it got.
    pub(crate) fn begin_connecting(&self) -> Result<Connecting<'_>, Rc<Notify>> {
        let mut connecting = self.connecting.borrow_mut();
        if let Some(notify) = connecting.as_ref() {
            return Err(Rc::clone(notify));
        }
        *connecting = Some(Rc::new(Notify::new()));
        Ok(Connecting(self))
    }

    /// Closes what was idle for too long, or whose peer's certificate has expired.
    pub(crate) fn sweep(&self, idle_timeout: Duration, unix_now: u64) {
        let stays = |since: u64, facts: &Facts| clock::since(since) < idle_timeout && !facts.is_expired(unix_now);
        self.http1.borrow_mut().retain(|c| !c.sender.is_closed() && stays(c.idle_since, &c.facts));
        // Dropping the last sender lets hyper finish the streams under way and close.
        self.http2.borrow_mut().retain(|c| {
            !c.sender.is_closed()
                && (c.streams.get() > 0 && !c.facts.is_expired(unix_now) || stays(c.idle_since.get(), &c.facts))
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.http1.borrow().is_empty() && self.http2.borrow().is_empty()
    }

    /// Idle HTTP/1 connections and HTTP/2 streams.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.http1.borrow().len(), self.http2.borrow().iter().map(|c| c.streams.get()).sum())
    }
}

/// Held while a connection is being made.
pub(crate) struct Connecting<'a>(&'a Pool);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        if let Some(notify) = self.0.connecting.borrow_mut().take() {
            notify.notify_waiters();
        }
    }
}
