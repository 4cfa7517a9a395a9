//! A client that asks at a steady pace and tells when another server answers.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval},
};

use super::{line, monotonic_ns};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// `http://HOST[:PORT]/PATH`
    #[arg(long)]
    url: Uri,
    /// Between two requests, at least.
    #[arg(long)]
    every_us: u64,
}

/// A line for the first answer, and for each that another server gave than the one before it; until it is killed.
pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let host = options.url.host().context("the URL has no host")?.to_owned();
    let stream = TcpStream::connect((host.as_str(), options.url.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    let mut ticks = interval(Duration::from_micros(options.every_us));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = None;
    loop {
        ticks.tick().await;
        let request = Request::get(options.url.path()).header("host", &host).body(Empty::<Bytes>::new())?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let at_ns = monotonic_ns();
        ensure!(response.status().is_success(), "status {}", response.status());
        let peer = response.headers().get("x-peer").cloned();
        response.into_body().collect().await?;
        if peer != known {
            let name = peer.as_ref().and_then(|peer| peer.to_str().ok());
            line(&json!({"peer": name, "at_ns": at_ns}))?;
            known = peer;
        }
    }
}
