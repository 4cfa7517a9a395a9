//! Numbered frames over long connections: each must come back once, in order, and no connection may end.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::BytesMut;
use hyper::{
    Method, StatusCode,
    header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
    task::JoinSet,
    time::{interval, timeout},
};

use crate::{
    connect::{Failed, To, empty, millis, seconds},
    output,
    websocket::{CLOSE, Frame, TEXT, accept},
};

/// Any key will do; this is the RFC's.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The last frames may take so long to come back.
const GRACE: Duration = Duration::from_secs(10);

/// Which protocol to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    /// RFC 6455.
    Websocket,
    /// Eight bytes a frame, as they are.
    Echo,
}

/// Options of `ws-load`.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// HTTP/1 only.
    #[command(flatten)]
    to: To,
    #[arg(long, default_value_t = 10)]
    connections: u64,
    /// Between two frames of a connection.
    #[arg(long = "interval-ms", default_value = "50", value_parser = millis)]
    interval: Duration,
    /// How long, in seconds; SIGTERM ends it earlier.
    #[arg(long, value_parser = seconds)]
    duration: Option<Duration>,
    #[arg(long, value_enum, default_value = "websocket")]
    upgrade: Protocol,
}

/// Counts of a run.
#[derive(Debug, Default, Serialize)]
struct Frames {
    opened: u64,
    sent: u64,
    received: u64,
    lost: u64,
    /// Came twice, or before one that was sent earlier.
    out_of_order: u64,
    /// Connections that ended before the run did.
    dropped_connections: u64,
    failures: Vec<String>,
}

type Shared = Arc<Mutex<Frames>>;

/// Runs until the time or SIGTERM ends it.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    ensure!(options.to.http == 1, "an Upgrade needs HTTP/1");
    let shared = Shared::default();
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    for _ in 0..options.connections {
        let (options, shared, stopping) = (options.clone(), shared.clone(), stopping.clone());
        connections.spawn(async move {
            if let Err(error) = connection(&options, &shared, stopping).await {
                let mut frames = lock(&shared);
                frames.dropped_connections += 1;
                frames.failures.push(format!("{error:#}"));
            }
        });
    }
    let time = async {
        match options.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        () = output::terminated() => {}
    }
    let _ = stop.send(true);
    let _ = timeout(2 * GRACE, async { while connections.join_next().await.is_some() {} }).await;
    let mut frames = lock(&shared);
    frames.lost = frames.sent - frames.received;
    output::line(&*frames);
    let whole = frames.lost == 0 && frames.out_of_order == 0 && frames.dropped_connections == 0;
    Ok(whole && frames.opened == options.connections && frames.received > 0)
}

fn lock(shared: &Shared) -> MutexGuard<'_, Frames> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connection(options: &Options, shared: &Shared, mut stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgrade(options).await?));
    lock(shared).opened += 1;
    let mut ticks = interval(options.interval);
    let (mut sent, mut received, mut buffer) = (0, 0, BytesMut::new());
    while !*stopping.borrow() {
        tokio::select! {
            _ = ticks.tick() => {
                writer.write_all(&encode(options.upgrade, sent)).await.context("cannot send")?;
                sent += 1;
                lock(shared).sent += 1;
            }
            read = reader.read_buf(&mut buffer) => {
                ensure!(read.context("cannot read")? > 0, "the other side closed after {received} of {sent} frames");
                take(options.upgrade, &mut buffer, &mut received, shared)?;
            }
            _ = stopping.changed() => {}
        }
    }
    let rest = async {
        while received < sent {
            ensure!(reader.read_buf(&mut buffer).await? > 0, "the other side closed after {received} of {sent} frames");
            take(options.upgrade, &mut buffer, &mut received, shared)?;
        }
        anyhow::Ok(())
    };
    timeout(GRACE, rest).await.map_err(|_| anyhow!("{received} of {sent} frames came back"))??;
    if options.upgrade == Protocol::Websocket {
        let mut out = Vec::new();
        Frame::new(CLOSE, &[0x03, 0xe8][..]).encode(Some([1, 2, 3, 4]), &mut out);
        writer.write_all(&out).await?;
    }
    writer.shutdown().await?;
    Ok(())
}

async fn upgrade(options: &Options) -> anyhow::Result<Upgraded> {
    let websocket = options.upgrade == Protocol::Websocket;
    let mut request = options.to.request(Method::GET, empty())?;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(if websocket { "websocket" } else { "echo" }));
    if websocket {
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static(KEY));
    }
    let mut sender = options.to.open().await?;
    let response = sender.send(request).await.map_err(|failed| match failed {
        Failed::Unsent(_) => anyhow!("the connection was closed at once"),
        Failed::Broken(error) => error.into(),
    })?;
    ensure!(response.status() == StatusCode::SWITCHING_PROTOCOLS, "status {}", response.status());
    if websocket {
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        ensure!(accepted == Some(accept(KEY.as_bytes()).as_bytes()), "a wrong Sec-WebSocket-Accept");
    }
    Ok(hyper::upgrade::on(response).await?)
}

fn encode(protocol: Protocol, number: u64) -> Vec<u8> {
    match protocol {
        Protocol::Echo => number.to_be_bytes().to_vec(),
        Protocol::Websocket => {
            let mut out = Vec::new();
            Frame::new(TEXT, number.to_string()).encode(Some([0x11, 0x22, 0x33, 0x44]), &mut out);
            out
        }
    }
}

/// Takes all whole frames out of `buffer` and compares them with the number that is due.
fn take(protocol: Protocol, buffer: &mut BytesMut, due: &mut u64, shared: &Shared) -> anyhow::Result<()> {
    while let Some(number) = decode(protocol, buffer)? {
        let mut frames = lock(shared);
        frames.received += 1;
        frames.out_of_order += u64::from(number != *due);
        *due += 1;
    }
    Ok(())
}

fn decode(protocol: Protocol, buffer: &mut BytesMut) -> anyhow::Result<Option<u64>> {
    match protocol {
        Protocol::Echo if buffer.len() < 8 => Ok(None),
        Protocol::Echo => Ok(Some(u64::from_be_bytes(buffer.split_to(8)[..].try_into()?))),
        Protocol::Websocket => match Frame::decode(buffer)? {
            Some(Frame { opcode: TEXT, payload, .. }) => Ok(Some(std::str::from_utf8(&payload)?.parse()?)),
            Some(frame) => bail!("a frame with opcode {}", frame.opcode),
            None => Ok(None),
        },
    }
}

#[cfg(test)]
mod tests;
