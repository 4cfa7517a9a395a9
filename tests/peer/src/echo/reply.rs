//! The echo's responses.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRAILER},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use super::{
    Facts,
    controls::{Content, Controls, Framing},
};
use crate::{
    connect::{Body, full},
    escape, pattern,
};

/// What a request brought.
struct Received {
    bytes: u64,
    sha256: String,
    trailers: Option<HeaderMap>,
    broken: bool,
}

/// Answers as the query says.
pub(super) async fn answer(
    request: Request<Incoming>,
    controls: &Controls,
    name: &str,
    facts: &Facts,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = match controls.content {
        Content::Echo => Response::new(body.map_err(io::Error::other).boxed()),
        Content::Description | Content::Pattern(_) => {
            let received = if controls.early { None } else { Some(read(body).await) };
            match controls.content {
                Content::Pattern(bytes) => patterned(bytes, controls),
                _ => described(&describe(&head, received, name, facts), controls),
            }
        }
    };
    *response.status_mut() = controls.status;
    for (name, value) in &controls.headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// A JSON response.
pub(super) fn json(value: &Value) -> Response<Body> {
    described(value, &Controls::default())
}

/// A query that makes no sense.
pub(super) fn error(message: &str) -> Response<Body> {
    let mut response = json(&json!({"error": message}));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

async fn read(mut body: Incoming) -> Received {
    let mut hash = Sha256::new();
    let mut received = Received { bytes: 0, sha256: String::new(), trailers: None, broken: false };
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                received.bytes += data.len() as u64;
                hash.update(&data);
            }
            Ok(Err(frame)) => received.trailers = frame.into_trailers().ok(),
            Err(_) => {
                received.broken = true;
                break;
            }
        }
    }
    received.sha256 = escape::hex(&hash.finalize());
    received
}

fn describe(head: &hyper::http::request::Parts, received: Option<Received>, name: &str, facts: &Facts) -> Value {
    let mut described = json!({
        "peer": name,
        "method": head.method.as_str(),
        "uri": head.uri.to_string(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "version": format!("{:?}", head.version),
        "headers": pairs(&head.headers),
        "remote": facts.remote,
        "local": facts.local,
        "tls": facts.tls,
    });
    if let Some(received) = received {
        described["body_bytes"] = received.bytes.into();
        described["body_sha256"] = received.sha256.into();
        described["trailers"] = json!(received.trailers.as_ref().map(pairs));
        described["broken"] = received.broken.into();
    }
    described
}

/// Names and values in order, so that doubles show.
fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), escape::show(value.as_bytes()))).collect()
}

fn described(value: &Value, controls: &Controls) -> Response<Body> {
    let text = Bytes::from(value.to_string());
    let sha256 = pattern::sha256_of(&text);
    let mut response = match controls.framing {
        Framing::Length => Response::new(full(text)),
        Framing::Chunked | Framing::Trailers => Response::new(streamed(vec![text], controls, &sha256)),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    hashed(&mut response, &sha256, controls);
    response
}

fn patterned(bytes: u64, controls: &Controls) -> Response<Body> {
    let sha256 = pattern::sha256(bytes);
    let mut response = Response::new(streamed(pattern::pieces(bytes), controls, &sha256));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if controls.framing == Framing::Length {
        response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    }
    hashed(&mut response, &sha256, controls);
    response
}

fn hashed(response: &mut Response<Body>, sha256: &str, controls: &Controls) {
    if controls.framing == Framing::Trailers {
        response.headers_mut().insert(TRAILER, HeaderValue::from_static("x-trailer, x-body-sha256"));
    } else if let Ok(value) = HeaderValue::from_str(sha256) {
        response.headers_mut().insert("x-body-sha256", value);
    }
}

/// The pieces as a body that pauses, breaks off and ends with trailers as it was told.
fn streamed<I>(pieces: I, controls: &Controls, sha256: &str) -> Body
where
    I: IntoIterator<Item = Bytes>,
    I::IntoIter: Send + Sync + 'static,
{
    let (pause, mut left) = (controls.pause, controls.abort_after);
    let cut = pieces.into_iter().map(move |piece| match &mut left {
        None => Ok(piece),
        Some(0) => Err(io::Error::other("told to break off")),
        Some(left) => {
            let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
            *left -= taken as u64;
            Ok(piece.slice(..taken))
        }
    });
    let data = stream::iter(cut.enumerate()).then(move |(place, piece)| async move {
        if place > 0 && !pause.is_zero() {
            sleep(pause).await;
        }
        if piece.is_err() {
            // hyper sends what it has when a body makes it wait, and throws it away when it fails.
            tokio::task::yield_now().await;
        }
        piece.map(Frame::data)
    });
    let mut trailers = HeaderMap::new();
    if controls.framing == Framing::Trailers {
        trailers.insert("x-trailer", HeaderValue::from_static("yes"));
        trailers.extend(
            HeaderValue::from_str(sha256)
                .ok()
                .map(|value| (hyper::header::HeaderName::from_static("x-body-sha256"), value)),
        );
    }
    let end = stream::iter((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))));
    BodyExt::boxed(StreamBody::new(data.chain(end)))
}
