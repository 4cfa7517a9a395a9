//! Answers that the proxy gives by itself.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use mizzen_snapshot::HttpManager;
use mizzen_telemetry::{Flag, RequestProtocol};

use super::{body::Body, exchange::Exchange, respond};
use crate::error::{Kind, ProxyError};

/// The reply to a request that failed: status, body and flag from the error table.
pub(crate) fn reply(manager: &HttpManager, mut exchange: Exchange, error: &ProxyError) -> Response<Body> {
    exchange.failed(error);
    let row = error.row();
    let retried = exchange.record.flow.flags.contains(Flag::RetryLimitExceeded);
    let text: Bytes = match (row.reset, retried, &error.transport) {
        (false, ..) => Bytes::from_static(row.reason.as_bytes()),
        (true, false, _) => {
            format!("upstream connect error or disconnect/reset before headers. reset reason: {}", row.reason).into()
        }
        (true, true, _) => format!(
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: {}",
            row.reason
        )
        .into(),
    };
    let mut response = plain(&mut exchange, row.status, text);
    if error.kind == Kind::Overflow {
        response.headers_mut().insert("x-envoy-overloaded", HeaderValue::from_static("true"));
    }
    // Only an HTTP/1 connection whose bytes cannot be trusted any more is closed.
    if matches!(error.kind, Kind::BadRequest(_) | Kind::HeadersTooLarge)
        && exchange.record.version < http::Version::HTTP_2
    {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    respond::finish(manager, exchange, response)
}

/// A reply with a text body; to a gRPC request the same in gRPC's terms.
pub(crate) fn plain(exchange: &mut Exchange, status: StatusCode, text: Bytes) -> Response<Body> {
    if exchange.is_grpc() {
        return grpc(exchange, status, &text);
    }
    exchange.record.flow.bytes_sent = text.len() as u64;
    let has_text = !text.is_empty();
    let mut response = Response::new(if has_text { Body::Local(text) } else { Body::Empty });
    *response.status_mut() = status;
    if has_text {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

/// gRPC has its status in headers, and HTTP's is 200 (gRPC over HTTP/2, "Responses"; the mapping is Envoy's).
fn grpc(exchange: &mut Exchange, status: StatusCode, text: &Bytes) -> Response<Body> {
    let code = match status.as_u16() {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    };
    exchange.record.protocol = RequestProtocol::Grpc { status: Some(code) };
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    if let Some(message) = grpc_message(text) {
        headers.insert("grpc-message", message);
    }
    response
}

/// Percent-encoded as gRPC wants it.
fn grpc_message(text: &[u8]) -> Option<HeaderValue> {
    if text.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b' '..=b'~' if *byte != b'%' => out.push(char::from(*byte)),
            other => {
                use std::fmt::Write;
                write!(out, "%{other:02X}").ok();
            }
        }
    }
    HeaderValue::from_str(&out).ok()
}

/// An error and its sources, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
