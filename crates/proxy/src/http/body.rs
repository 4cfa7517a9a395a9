//! Bodies, handed through frame by frame: never a channel, never a task.
//!
//! A request's body may be kept (up to [`REPLAY_BYTES_MAX`]) while it passes, so that the request can be sent again; a larger
//! one is sent once. A response's body carries its exchange, which is recorded when the last frame has passed or the
//! client is gone.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::exchange::Exchange;
use crate::upstream::pool::{Http1, Pool};

/// Body bytes kept for a retry; a request with a larger body is not retried after its first byte.
pub(crate) const REPLAY_BYTES_MAX: usize = 64 * 1024;

/// The body of a request on its way to the upstream.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    Once(Counted),
    Replay(Reader),
    /// Not touched until the upstream asks for it: then the client is asked for it too.
    Held(Gate, Box<RequestBody>),
}

/// Why a request's body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the client broke off")]
    Client(#[from] hyper::Error),
    #[error("the upstream answered without asking for the body")]
    NotAskedFor,
}

/// Holds a body back until the upstream's `100 Continue` (RFC 9110 §10.1.1). Shared with hyper's callback, hence `Send`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    state: AtomicU8,
    waker: AtomicWaker,
}

const HELD: u8 = 0;
const ASKED_FOR: u8 = 1;
const NOT_ASKED_FOR: u8 = 2;

impl Gate {
    /// The upstream asks for the body.
    pub(crate) fn open(&self) {
        self.leave_held(ASKED_FOR);
    }

    /// The exchange is over; a body that is still held will never be asked for. False if it was.
    fn close(&self) -> bool {
        self.leave_held(NOT_ASKED_FOR)
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == HELD
    }

    fn leave_held(&self, next: u8) -> bool {
        let left = self.0.state.compare_exchange(HELD, next, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.0.waker.wake();
        left
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        self.0.waker.register(cx.waker());
        match self.0.state.load(Ordering::Acquire) {
            HELD => Poll::Pending,
            ASKED_FOR => Poll::Ready(Ok(())),
            _ => Poll::Ready(Err(RequestError::NotAskedFor)),
        }
    }
}

/// A body that is sent once; its bytes are counted for the log.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) incoming: Incoming,
    pub(crate) bytes: Rc<Cell<u64>>,
}

/// A body that may be sent again.
#[derive(Debug)]
pub(crate) struct Replay {
    state: RefCell<Kept>,
}

#[derive(Debug)]
struct Kept {
    incoming: Incoming,
    frames: Vec<Bytes>,
    replay_bytes: usize,
    overflowed: bool,
    ended: bool,
    trailers: Option<HeaderMap>,
    bytes: Rc<Cell<u64>>,
}

/// One pass over a [`Replay`].
#[derive(Debug)]
pub(crate) struct Reader {
    replay: Rc<Replay>,
    at: usize,
}

impl Replay {
    pub(crate) fn new(incoming: Incoming, bytes: Rc<Cell<u64>>) -> Rc<Self> {
        let state = Kept {
            incoming,
            frames: Vec::new(),
            replay_bytes: 0,
            overflowed: false,
            ended: false,
            trailers: None,
            bytes,
        };
        Rc::new(Self { state: RefCell::new(state) })
    }

    /// Whether all that has passed so far can pass again.
    pub(crate) fn is_whole(&self) -> bool {
        !self.state.borrow().overflowed
    }

    pub(crate) fn reader(self: &Rc<Self>) -> Reader {
        Reader { replay: Rc::clone(self), at: 0 }
    }
}

impl Reader {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestError>>> {
        let kept = &mut *self.replay.state.borrow_mut();
        if let Some(frame) = kept.frames.get(self.at) {
            self.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
        }
        if kept.ended {
            // Trailers come last, and once per pass.
            let passed = std::mem::replace(&mut self.at, usize::MAX) == usize::MAX;
            return Poll::Ready(kept.trailers.clone().filter(|_| !passed).map(|t| Ok(Frame::trailers(t))));
        }
        let Some(frame) = ready!(Pin::new(&mut kept.incoming).poll_frame(cx)?) else {
            kept.ended = true;
            return Poll::Ready(None);
        };
        if let Some(data) = frame.data_ref() {
            kept.bytes.set(kept.bytes.get() + data.len() as u64);
            if kept.replay_bytes + data.len() <= REPLAY_BYTES_MAX && !kept.overflowed {
                kept.replay_bytes += data.len();
                kept.frames.push(data.clone());
                self.at += 1;
            } else {
                kept.overflowed = true;
                kept.frames = Vec::new();
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            kept.ended = true;
            kept.trailers = Some(trailers.clone());
            self.at = usize::MAX;
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = RequestError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Once(body) => {
                let frame = ready!(Pin::new(&mut body.incoming).poll_frame(cx));
                if let Some(Ok(frame)) = &frame
                    && let Some(data) = frame.data_ref()
                {
                    body.bytes.set(body.bytes.get() + data.len() as u64);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(RequestError::Client)))
            }
            Self::Replay(reader) => reader.poll(cx),
            Self::Held(gate, body) => {
                ready!(gate.poll(cx))?;
                Pin::new(&mut **body).poll_frame(cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(body) => body.incoming.is_end_stream(),
            Self::Replay(reader) => {
                let kept = reader.replay.state.borrow();
                reader.at >= kept.frames.len()
                    && (kept.ended && kept.trailers.is_none() || kept.incoming.is_end_stream())
            }
            Self::Held(_, body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Once(body) => body.incoming.size_hint(),
            Self::Replay(reader) => {
                let kept = reader.replay.state.borrow();
                let behind: u64 = kept.frames.iter().skip(reader.at).map(|f| f.len() as u64).sum();
                match kept.incoming.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(behind + rest),
                    None => SizeHint::new(),
                }
            }
            Self::Held(_, body) => body.size_hint(),
        }
    }
}

/// Why a response's body ended early; hyper then cuts the connection or resets the stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the upstream broke off")]
    Upstream(#[source] hyper::Error),
    #[error("the route's timeout passed while the body was under way")]
    Timeout,
}

/// The body of a response on its way to the client.
pub(crate) enum Body {
    Empty,
    /// Made here.
    Local(Bytes),
    Upstream(Box<Passing>),
}

/// An upstream's body, and all that is settled at its end.
pub(crate) struct Passing {
    pub(crate) incoming: Incoming,
    pub(crate) exchange: Exchange,
    pub(crate) lease: Option<Lease>,
    /// The route's timeout covers the whole response.
    pub(crate) deadline: Option<Pin<Box<Sleep>>>,
}

/// What a request holds of its endpoint while it is under way.
pub(crate) struct Lease {
    pub(crate) host: Rc<crate::upstream::live::LiveHost>,
    pub(crate) way: Way,
    /// The request's body waits here for a `100 Continue`.
    pub(crate) gate: Option<Gate>,
}

/// The connection that it holds.
pub(crate) enum Way {
    /// Back to the pool when the response is complete.
    Http1(Http1),
    /// A stream's place.
    Http2 { streams: Rc<Cell<usize>>, idle_since: Rc<Cell<u64>> },
    /// Left HTTP.
    Gone,
}

impl Lease {
    /// The response is complete: an HTTP/1 connection can serve again.
    pub(crate) fn complete(mut self) {
        if self.gate.take().is_some_and(|gate| gate.close()) {
            // The upstream's connection still owes a body that nobody will send.
            return;
        }
        match std::mem::replace(&mut self.way, Way::Gone) {
            Way::Http1(connection) => give_back(Rc::clone(&self.host), connection),
            // A stream's place is given up with this value.
            way => self.way = way,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.host.active.set(self.host.active.get().saturating_sub(1));
        if let Some(gate) = &self.gate {
            gate.close();
        }
        if let Way::Http2 { streams, idle_since } = &self.way {
            streams.set(streams.get().saturating_sub(1));
            idle_since.set(crate::clock::now());
        }
    }
}

/// hyper's task has mostly seen the end of the response before us; if not, we wait for it apart from the request.
fn give_back(host: Rc<crate::upstream::live::LiveHost>, mut connection: Http1) {
    if connection.sender.is_closed() {
        return;
    }
    if connection.sender.is_ready() {
        let pool: &Pool = &host.pool;
        return pool.put_http1(connection);
    }
    tokio::task::spawn_local(async move {
        if connection.sender.ready().await.is_ok() {
            host.pool.put_http1(connection);
        }
    });
}

impl Passing {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            self.exchange.timed_out();
            return Poll::Ready(Some(Err(BodyError::Timeout)));
        }
        match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.exchange.record.flow.bytes_sent += data.len() as u64;
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.exchange.trailers(trailers);
                }
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.exchange.upstream_broke_off();
                Poll::Ready(Some(Err(BodyError::Upstream(error))))
            }
            None => {
                self.complete();
                Poll::Ready(None)
            }
        }
    }

    fn complete(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.complete();
            self.exchange.finish();
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Local(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Local(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Upstream(passing) => passing.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Local(bytes) => bytes.is_empty(),
            Self::Upstream(passing) => passing.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Local(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upstream(passing) => passing.incoming.size_hint(),
        }
    }
}
