//! One large body, up or down, checked by its hash and never held.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Method, Response,
    body::{Frame, Incoming},
    header::CONTENT_LENGTH,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::{
    connect::{Body, Failed, To, full, seconds},
    escape, output, pattern,
};

/// Options of `stream-upload` and `stream-download`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// An `echo`; for a download `bytes=N` is added to the query.
    #[command(flatten)]
    to: To,
    #[arg(long, default_value_t = 100 * 1024 * 1024)]
    bytes: u64,
    /// Upload without a content length.
    #[arg(long)]
    chunked: bool,
    /// How long it may take, in seconds.
    #[arg(long, default_value = "120", value_parser = seconds)]
    timeout: Duration,
}

/// Sends a patterned body; good if the server says that its hash is right.
pub(crate) async fn upload(options: Options) -> anyhow::Result<bool> {
    let body: Body =
        StreamBody::new(stream::iter(pattern::pieces(options.bytes).map(|piece| Ok(Frame::data(piece))))).boxed();
    let mut request = options.to.request(Method::POST, body)?;
    if !options.chunked {
        request.headers_mut().insert(CONTENT_LENGTH, options.bytes.into());
    }
    let began = Instant::now();
    let exchange = async {
        let response = send(&options.to, request).await?;
        let status = response.status();
        let text = response.into_body().collect().await.context("the answer broke off")?.to_bytes();
        anyhow::Ok((status, serde_json::from_slice::<Value>(&text).unwrap_or_default()))
    };
    let (status, answer) = timeout(options.timeout, exchange).await.context("took too long")??;
    let good = status.is_success() && answer["body_sha256"] == pattern::sha256(options.bytes);
    report(good, status.as_u16(), answer["body_bytes"].as_u64().unwrap_or(0), began);
    Ok(good)
}

/// Fetches a patterned body; good if it is the pattern and whole.
pub(crate) async fn download(mut options: Options) -> anyhow::Result<bool> {
    let path = options.to.url.path_and_query().map_or("/", |path| path.as_str());
    let join = if path.contains('?') { '&' } else { '?' };
    let mut parts = options.to.url.clone().into_parts();
    parts.path_and_query = Some(format!("{path}{join}bytes={}", options.bytes).parse()?);
    options.to.url = parts.try_into()?;
    let request = options.to.request(Method::GET, full(Bytes::new()))?;
    let began = Instant::now();
    let exchange = async {
        let response = send(&options.to, request).await?;
        let status = response.status();
        let (mut hash, mut bytes, mut body) = (Sha256::new(), 0, response.into_body());
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.context("the body broke off")?.into_data() {
                bytes += data.len() as u64;
                hash.update(&data);
            }
        }
        anyhow::Ok((status, bytes, escape::hex(&hash.finalize())))
    };
    let (status, bytes, hash) = timeout(options.timeout, exchange).await.context("took too long")??;
    let good = status.is_success() && hash == pattern::sha256(options.bytes);
    report(good, status.as_u16(), bytes, began);
    Ok(good)
}

async fn send(to: &To, request: hyper::Request<Body>) -> anyhow::Result<Response<Incoming>> {
    let mut sender = to.open().await?;
    sender.send(request).await.map_err(|failed| match failed {
        Failed::Unsent(_) => anyhow!("the connection was closed at once"),
        Failed::Broken(error) => error.into(),
    })
}

fn report(good: bool, status: u16, bytes: u64, began: Instant) {
    output::line(&json!({"good": good, "status": status, "bytes": bytes, "seconds": began.elapsed().as_secs_f64()}));
}
