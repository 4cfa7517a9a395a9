//! gRPC over HTTP/2 as thin as xDS and the CA need it: message frames as bodies, statuses as trailers.
//!
//! In: messages or pieces of them, which are sent as they are, without a copy. Out: [`Body`], requests, responses.
//! Decoding and status codes are tonic's. Protocol: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Frame;
use hyper::client::conn::http2::SendRequest;
use prost::Message;
use tokio::sync::mpsc;
use tonic::codec::{Codec, Streaming};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// Messages that wait for HTTP/2's window; then the sender waits.
const QUEUED_MESSAGES_MAX: usize = 2;

/// One gRPC message, in pieces.
#[derive(Debug, Default)]
pub struct Framed(VecDeque<Bytes>);

impl Framed {
    /// Puts gRPC's prefix (not compressed, length) before the pieces.
    pub fn new(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let mut pieces: VecDeque<Bytes> = parts.into_iter().collect();
        let len: usize = pieces.iter().map(Bytes::len).sum();
        let mut prefix = BytesMut::with_capacity(5);
        prefix.put_u8(0);
        prefix.put_u32(len as u32);
        pieces.push_front(prefix.freeze());
        Self(pieces)
    }

    pub fn message(message: &impl Message) -> Self {
        Self::new([Bytes::from(message.encode_to_vec())])
    }
}

#[derive(Debug)]
enum Item {
    Message(Framed),
    End(Status),
}

/// The sending end of a [`Body`].
#[derive(Clone, Debug)]
pub struct Sender(mpsc::Sender<Item>);

/// The receiver is gone: the stream was closed by the peer or the connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is closed")]
pub struct Closed;

impl Sender {
    /// Waits until a message may be queued.
    pub async fn ready(&self) -> Result<Permit<'_>, Closed> {
        self.0.reserve().await.map(Permit).map_err(|_| Closed)
    }

    pub async fn send(&self, message: Framed) -> Result<(), Closed> {
        self.0.send(Item::Message(message)).await.map_err(|_| Closed)
    }

    /// Ends a response with this status.
    pub async fn end(&self, status: Status) {
        // Nobody is left to be told if this fails.
        let _ = self.0.send(Item::End(status)).await;
    }

    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// Room for one message.
#[derive(Debug)]
pub struct Permit<'a>(mpsc::Permit<'a, Item>);

impl Permit<'_> {
    pub fn send(self, message: Framed) {
        self.0.send(Item::Message(message));
    }
}

/// A stream of messages; as a response it ends with trailers.
#[derive(Debug)]
pub struct Body {
    source: mpsc::Receiver<Item>,
    sending: Framed,
    /// The trailers of a response are still to be sent.
    trailers_due: bool,
}

/// A response body and what fills it.
pub fn response_body() -> (Sender, Body) {
    body(true)
}

/// A request body and what fills it; dropping the sender ends it.
pub fn request_body() -> (Sender, Body) {
    body(false)
}

fn body(trailers_due: bool) -> (Sender, Body) {
    let (sender, source) = mpsc::channel(QUEUED_MESSAGES_MAX);
    (Sender(sender), Body { source, sending: Framed::default(), trailers_due })
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(piece) = self.sending.0.pop_front() {
                if piece.is_empty() {
                    continue;
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let status = match std::task::ready!(self.source.poll_recv(context)) {
                Some(Item::Message(message)) => {
                    self.sending = message;
                    continue;
                }
                Some(Item::End(status)) => status,
                None => Status::ok(""),
            };
            if !std::mem::take(&mut self.trailers_due) {
                return Poll::Ready(None);
            }
            return Poll::Ready(Some(Ok(Frame::trailers(to_headers(&status)))));
        }
    }

    /// A refusal has to be one frame of headers that ends the stream; gRPC's clients do not see its status otherwise.
    fn is_end_stream(&self) -> bool {
        let drained = self.source.is_closed() && self.source.is_empty();
        drained && self.sending.0.is_empty() && !self.trailers_due
    }
}

/// A response whose messages and status come through its body.
pub fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// A response that is a status only.
pub fn refusal(status: &Status) -> Response<Body> {
    let (_, mut body) = response_body();
    body.trailers_due = false;
    let mut response = response(body);
    response.headers_mut().extend(to_headers(status));
    response
}

/// A response of one message.
pub fn reply(message: &impl Message) -> Response<Body> {
    let (_, mut body) = response_body();
    body.sending = Framed::message(message);
    response(body)
}

fn to_headers(status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Only a message that cannot be a header fails; the code alone must still arrive.
    if status.add_header(&mut headers).is_err() {
        headers.insert("grpc-status", HeaderValue::from(status.code() as i32));
    }
    headers
}

/// The messages of a request.
pub fn incoming<T, B>(request: Request<B>, message_bytes_max: usize) -> Streaming<T>
where
    T: Message + Default + Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let decoder = ProstCodec::<T, T>::default().decoder();
    Streaming::new_request(decoder, request.into_body(), None, Some(message_bytes_max))
}

/// The bearer token of a request, if it carries one.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Opens a call; its answers are read from the stream.
pub async fn call<T>(
    connection: &mut SendRequest<Body>,
    target: Target<'_>,
    body: Body,
    message_bytes_max: usize,
) -> Result<Streaming<T>, Status>
where
    T: Message + Default + Send + 'static,
{
    let request = target.request(body)?;
    connection.ready().await.map_err(|error| unavailable(&error))?;
    let response = connection.send_request(request).await.map_err(|error| unavailable(&error))?;
    let (parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return Err(Status::new(Code::Unavailable, format!("HTTP status {}", parts.status)));
    }
    if let Some(status) = Status::from_header_map(&parts.headers)
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let decoder = ProstCodec::<T, T>::default().decoder();
    Ok(Streaming::new_response(decoder, body, parts.status, None, Some(message_bytes_max)))
}

/// Calls a method of one request and one answer.
pub async fn unary<T>(
    connection: &mut SendRequest<Body>,
    target: Target<'_>,
    message: &impl Message,
    message_bytes_max: usize,
) -> Result<T, Status>
where
    T: Message + Default + Send + 'static,
{
    let (_, mut body) = request_body();
    body.sending = Framed::message(message);
    let mut answers = call::<T>(connection, target, body, message_bytes_max).await?;
    answers.message().await?.ok_or_else(|| Status::internal("no answer"))
}

/// Whom a call goes to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Host and port as `:authority`.
    pub authority: &'a str,
    /// `/package.Service/Method`.
    pub path: &'a str,
    pub bearer: Option<&'a str>,
}

impl Target<'_> {
    fn request(&self, body: Body) -> Result<Request<Body>, Status> {
        let invalid = |error: http::Error| Status::invalid_argument(error.to_string());
        // Whether the connection has TLS is not known here; servers that look at the scheme are behind TLS.
        let uri = Uri::builder().scheme("https").authority(self.authority).path_and_query(self.path);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri.build().map_err(invalid)?)
            .header(TE, "trailers")
            .header(CONTENT_TYPE, GRPC);
        if let Some(token) = self.bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Status::invalid_argument("the token cannot be a header"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(body).map_err(invalid)
    }
}

/// A transport error with its causes, as gRPC reports it.
pub fn unavailable(error: &dyn std::error::Error) -> Status {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Status::unavailable(text)
}

#[cfg(test)]
mod tests;
