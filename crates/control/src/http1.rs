//! HTTP/1.1 for people and tools: small requests, small answers, every limit set.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const BUFFER_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;

pub(crate) type Answer = Response<Full<Bytes>>;

/// Serves one connection; `handle` gets each request with its body, of at most `body_bytes_max`.
pub(crate) async fn serve<S, H, F>(stream: S, body_bytes_max: usize, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Parts, Bytes) -> F,
    F: Future<Output = Answer>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let handle = &handle;
        async move {
            let (parts, body) = request.into_parts();
            let reading = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, body_bytes_max).collect());
            Ok::<_, Infallible>(match reading.await {
                Ok(Ok(body)) => handle(parts, body.to_bytes()).await,
                Ok(Err(_)) => text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large, or broke off"),
                Err(_) => text(StatusCode::REQUEST_TIMEOUT, "the body did not come"),
            })
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "connection ended");
    }
}

pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", text.into())
}

pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => answer(status, "application/json", body.into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A value of a query string, as it stands there.
pub(crate) fn query<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    let pairs = parts.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}
