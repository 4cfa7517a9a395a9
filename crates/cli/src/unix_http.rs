//! HTTP/1.1 over Unix sockets: one request, one connection.
//!
//! The control plane's socket and the proxies' admin sockets answer this way (docs/dev/contracts.md). Answers are bounded.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, task::JoinHandle};

/// Largest answer that is read; a larger one is an error.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// For what is answered at once.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// One request. `uri` is a path with its query; the deadline is for all of it.
pub(crate) async fn request(
    socket: &Path,
    (method, uri): (Method, &str),
    body: Bytes,
    timeout: Duration,
) -> Result<(StatusCode, Bytes)> {
    let exchange = async {
        let stream =
            UnixStream::connect(socket).await.with_context(|| format!("connecting to {}", socket.display()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder().method(method).uri(uri).header("host", "localhost").body(Full::new(body))?;
        // Drives the connection until the answer is read; dropped, it closes it.
        let _driver = AbortOnDrop(tokio::spawn(connection));
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        anyhow::Ok((status, body.map_err(|error| anyhow::anyhow!(error))?.to_bytes()))
    };
    tokio::time::timeout(timeout, exchange).await.context("no answer in time")?
}

/// A task that ends with its owner.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A request whose answer is 200 with JSON.
pub(crate) async fn json<T: DeserializeOwned>(socket: &Path, (method, uri): (Method, &str), body: Bytes) -> Result<T> {
    let (status, answer) = request(socket, (method, uri), body, TIMEOUT).await?;
    parse(uri, status, &answer)
}

/// Reads a 200 with JSON; any other status is an error with the beginning of its body.
pub(crate) fn parse<T: DeserializeOwned>(uri: &str, status: StatusCode, answer: &Bytes) -> Result<T> {
    let beginning = || String::from_utf8_lossy(&answer[..answer.len().min(300)]).trim().to_owned();
    ensure!(status == StatusCode::OK, "{uri}: {status}: {}", beginning());
    serde_json::from_slice(answer).with_context(|| format!("{uri}: unexpected answer: {}", beginning()))
}
