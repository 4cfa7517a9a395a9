//! The connections of one worker: who they are, what they do, and how they are asked to end.
//!
//! The registry serves drain, re-check after a configuration change, idle and header timeouts, and the admin listing.
//! An [`Entry`] is shared between the connection's task (which reads the state) and the worker's sweep (which writes it).

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use serde::Serialize;

use crate::{clock, io::Activity, tls::Peer};

/// Requests that a client may abandon on one connection before more than half of all are a reason to cut it: HTTP/2's
/// rapid reset costs the client nothing and us a request each (CVE-2023-44487; the figures are Envoy's).
const ABANDONED_MAX: u32 = 500;

/// How long a drained connection without requests may take to say goodbye (an HTTP/2 peer has to answer a PING); then it is
/// cut. Envoy's `drain_timeout`.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// What a connection turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Speaks {
    /// Not known yet.
    Detecting,
    Http1,
    Http2,
    Tcp,
    /// Left HTTP by an `Upgrade`.
    Upgraded,
}

/// How a connection is asked to end. States only go forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    No,
    /// Finish what is under way, take nothing new.
    Drain,
    /// Now.
    Abort,
}

/// An HTTP/1 connection that is to end is closed when nothing passed for this long: a request on its way would have come.
const QUIET: Duration = Duration::from_millis(300);

/// One downstream connection.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    /// The bound listener that accepted it.
    pub(crate) accepted_on: Arc<str>,
    pub(crate) peer: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) activity: Arc<Activity>,
    pub(crate) listener: RefCell<Arc<str>>,
    pub(crate) chain: RefCell<Option<Arc<str>>>,
    pub(crate) speaks: Cell<Speaks>,
    pub(crate) identity: RefCell<Option<Arc<Peer>>>,
    /// Requests so far (for TCP: 1).
    pub(crate) requests: Cell<u64>,
    /// Requests under way.
    pub(crate) active: Cell<u32>,
    pub(crate) idle_timeout: Cell<Option<Duration>>,
    /// With requests under way, and no byte in either direction.
    pub(crate) stream_idle_timeout: Cell<Option<Duration>>,
    pub(crate) headers_timeout: Cell<Duration>,
    started: u64,
    /// Bytes received when the last request ended: more than that while no request is under way is an unfinished head.
    received_mark: Cell<u64>,
    head_since: Cell<Option<u64>>,
    abandoned: Cell<u32>,
    ending: Cell<Ending>,
    retiring: Cell<bool>,
    ending_since: Cell<u64>,
    reason: Cell<&'static str>,
    waker: RefCell<Option<Waker>>,
}

impl Entry {
    /// Asks the connection to end; a weaker request than the present one changes nothing.
    pub(crate) fn end(&self, ending: Ending, reason: &'static str) {
        if ending > self.ending.get() {
            self.ending.set(ending);
            self.ending_since.set(clock::now());
            self.reason.set(reason);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Lets the connection end without a race. A client that is about to use an idle HTTP/1 connection must not find it
    /// closed: it learns from its next response, and the connection is closed once it was quiet. HTTP/2 can say so at once.
    pub(crate) fn retire(&self) {
        self.retiring.set(true);
        if self.speaks.get() != Speaks::Http1 {
            self.end(Ending::Drain, "draining");
        }
    }

    /// Retires a connection that came while its listener was draining.
    pub(crate) fn retire_when_quiet(&self) {
        self.retiring.set(true);
    }

    /// Whether responses should say that this connection ends.
    pub(crate) fn is_ending(&self) -> bool {
        self.retiring.get() || self.ending.get() != Ending::No
    }

    pub(crate) fn ending_reason(&self) -> &'static str {
        self.reason.get()
    }

    /// Ready when the ending is further than `known`.
    pub(crate) fn poll_ending(&self, known: Ending, cx: &mut Context<'_>) -> Poll<Ending> {
        let ending = self.ending.get();
        if ending > known {
            return Poll::Ready(ending);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ready when the connection has to end at once.
    pub(crate) async fn aborted(&self) {
        std::future::poll_fn(|cx| self.poll_ending(Ending::Drain, cx)).await;
    }

    pub(crate) fn request_begins(&self) {
        self.requests.set(self.requests.get() + 1);
        self.active.set(self.active.get() + 1);
        self.head_since.set(None);
    }

    pub(crate) fn request_ends(&self) {
        self.active.set(self.active.get().saturating_sub(1));
        self.received_mark.set(self.activity.received());
    }

    /// The client went away from a request without its answer.
    pub(crate) fn request_abandoned(&self) {
        let abandoned = self.abandoned.get() + 1;
        self.abandoned.set(abandoned);
        if abandoned >= ABANDONED_MAX && u64::from(abandoned) * 2 > self.requests.get() {
            self.end(Ending::Abort, "too many abandoned requests");
        }
    }

    /// The sweep's judgement of this connection at the coarse present.
    fn sweep(&self, unix_now: u64) {
        if self.ending.get() == Ending::Abort {
            return;
        }
        if self.identity.borrow().as_ref().is_some_and(|peer| peer.not_after <= unix_now) && self.is_http() {
            self.end(Ending::Drain, "peer certificate expired");
        }
        let is_silent =
            |limit: Option<Duration>| limit.is_some_and(|limit| clock::has_passed(limit, self.activity.last()));
        if self.active.get() > 0 {
            if self.is_http() && is_silent(self.stream_idle_timeout.get()) {
                self.end(Ending::Abort, "stream idle");
            }
            return;
        }
        if self.ending.get() == Ending::Drain
            && self.is_http()
            && clock::has_passed(DRAIN_GRACE, self.ending_since.get())
        {
            return self.end(Ending::Abort, "drained");
        }
        if self.retiring.get() && self.is_http() && clock::has_passed(QUIET, self.activity.last()) {
            self.end(Ending::Drain, "draining");
        }
        match self.speaks.get() {
            Speaks::Http1 | Speaks::Http2 => {
                if self.head_overdue() {
                    return self.end(Ending::Abort, "request headers took too long");
                }
                if is_silent(self.idle_timeout.get()) {
                    self.end(Ending::Drain, "idle");
                }
            }
            // The chain is chosen, and it is HTTP's: the first bytes are an unfinished head.
            Speaks::Detecting if self.idle_timeout.get().is_some() => {
                if self.head_overdue() || is_silent(self.idle_timeout.get()) {
                    self.end(Ending::Abort, "no request");
                }
            }
            // A silent client may wait for a server that speaks first; TCP has its own idle timer.
            Speaks::Detecting | Speaks::Tcp | Speaks::Upgraded => {}
        }
    }

    fn head_overdue(&self) -> bool {
        let limit = self.headers_timeout.get();
        if self.speaks.get() == Speaks::Http2 {
            // Frames other than HEADERS are no sign of a request; a connection that never made one is cut.
            return self.requests.get() == 0 && clock::has_passed(limit, self.started);
        }
        if self.activity.received() <= self.received_mark.get() {
            self.head_since.set(None);
            return false;
        }
        let since = self.head_since.get().unwrap_or_else(clock::now);
        self.head_since.set(Some(since));
        clock::has_passed(limit, since)
    }

    fn is_http(&self) -> bool {
        matches!(self.speaks.get(), Speaks::Http1 | Speaks::Http2)
    }
}

/// What the admin API lists of a connection.
#[derive(Debug, Serialize)]
pub(crate) struct ConnectionInfo {
    pub(crate) worker: usize,
    pub(crate) id: u64,
    pub(crate) accepted_on: String,
    pub(crate) listener: String,
    pub(crate) chain: Option<String>,
    pub(crate) peer: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) protocol: Speaks,
    pub(crate) principal: Option<String>,
    pub(crate) tls: Option<String>,
    pub(crate) key_exchange: Option<&'static str>,
    pub(crate) requests: u64,
    pub(crate) active: u32,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) age_ms: u64,
    pub(crate) idle_ms: u64,
    pub(crate) draining: Option<&'static str>,
}

/// All connections of a worker.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: RefCell<HashMap<u64, Rc<Entry>>>,
    next: Cell<u64>,
}

/// Takes its entry out of the registry when the connection's task ends.
pub(crate) struct Registered {
    registry: Rc<Registry>,
    pub(crate) entry: Rc<Entry>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.entries.borrow_mut().remove(&self.entry.id);
    }
}

impl Registry {
    pub(crate) fn enter(
        self: &Rc<Self>,
        accepted_on: Arc<str>,
        peer: SocketAddr,
        destination: SocketAddr,
        activity: Arc<Activity>,
    ) -> Registered {
        let id = self.next.get();
        self.next.set(id + 1);
        let entry = Rc::new(Entry {
            id,
            listener: RefCell::new(Arc::clone(&accepted_on)),
            accepted_on,
            peer,
            destination,
            activity,
            chain: RefCell::new(None),
            speaks: Cell::new(Speaks::Detecting),
            identity: RefCell::new(None),
            requests: Cell::new(0),
            active: Cell::new(0),
            idle_timeout: Cell::new(None),
            stream_idle_timeout: Cell::new(None),
            headers_timeout: Cell::new(Duration::from_mins(1)),
            started: clock::now(),
            received_mark: Cell::new(0),
            head_since: Cell::new(None),
            abandoned: Cell::new(0),
            ending: Cell::new(Ending::No),
            retiring: Cell::new(false),
            ending_since: Cell::new(0),
            reason: Cell::new(""),
            waker: RefCell::new(None),
        });
        self.entries.borrow_mut().insert(id, Rc::clone(&entry));
        Registered { registry: Rc::clone(self), entry }
    }

    /// Connections of one listener.
    pub(crate) fn count_on(&self, listener: &str) -> usize {
        self.entries.borrow().values().filter(|e| &**e.listener.borrow() == listener).count()
    }

    /// Applies timeouts; `unix_now` in seconds.
    pub(crate) fn sweep(&self, unix_now: u64) {
        for entry in self.entries.borrow().values() {
            entry.sweep(unix_now);
        }
    }

    /// Calls `judge` for each connection and ends those for which it gives a reason.
    pub(crate) fn recheck(&self, mut judge: impl FnMut(&Entry) -> Option<(Ending, &'static str)>) {
        for entry in self.entries.borrow().values() {
            if let Some((ending, reason)) = judge(entry) {
                entry.end(ending, reason);
            }
        }
    }

    /// Retires the connections that `is_meant`.
    pub(crate) fn retire(&self, is_meant: impl Fn(&Entry) -> bool) {
        self.entries.borrow().values().filter(|entry| is_meant(entry)).for_each(|entry| entry.retire());
    }

    pub(crate) fn list(&self, worker: usize) -> Vec<ConnectionInfo> {
        self.entries.borrow().values().map(|entry| info(worker, entry)).collect()
    }
}

fn info(worker: usize, entry: &Entry) -> ConnectionInfo {
    let identity = entry.identity.borrow();
    ConnectionInfo {
        worker,
        id: entry.id,
        accepted_on: entry.accepted_on.to_string(),
        listener: entry.listener.borrow().to_string(),
        chain: entry.chain.borrow().as_deref().map(str::to_owned),
        peer: entry.peer,
        destination: entry.destination,
        protocol: entry.speaks.get(),
        principal: identity.as_ref().and_then(|p| p.principal.as_deref().map(str::to_owned)),
        tls: identity.as_ref().map(|p| p.version.to_owned()),
        key_exchange: identity.as_ref().and_then(|p| p.key_exchange),
        requests: entry.requests.get(),
        active: entry.active.get(),
        received_bytes: entry.activity.received(),
        sent_bytes: entry.activity.sent(),
        age_ms: clock::since(entry.started).as_millis() as u64,
        idle_ms: clock::since(entry.activity.last()).as_millis() as u64,
        draining: (entry.ending.get() != Ending::No).then(|| entry.reason.get()),
    }
}
