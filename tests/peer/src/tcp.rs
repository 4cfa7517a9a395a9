//! TCP: an echo, a server that speaks first, a client for both. Half-close is passed on as it comes.

use anyhow::Context as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Duration, timeout},
};

use crate::{connect::millis, escape, listen::Listen, output};

/// Options of `tcp-echo`.
#[derive(clap::Args)]
pub(crate) struct EchoOptions {
    #[command(flatten)]
    listen: Listen,
}

/// Options of `server-first`.
#[derive(clap::Args)]
pub(crate) struct ServerFirstOptions {
    #[command(flatten)]
    listen: Listen,
    /// What it says first, with escapes.
    #[arg(long, default_value = "220 ready\\r\\n")]
    banner: String,
}

/// Options of `tcp-client`.
#[derive(clap::Args)]
pub(crate) struct ClientOptions {
    /// `HOST:PORT`
    #[arg(long)]
    connect: String,
    /// Wait for this before sending, with escapes: a server's banner.
    #[arg(long)]
    expect: Option<String>,
    /// What to send, with escapes; then the sending side is closed.
    #[arg(long, default_value = "")]
    send: String,
    /// How long all of it may take.
    #[arg(long = "timeout-ms", default_value = "10000", value_parser = millis)]
    timeout: Duration,
}

pub(crate) async fn echo(options: EchoOptions) -> anyhow::Result<bool> {
    options.listen.serve(|socket, _| echo_connection(socket, Vec::new())).await
}

pub(crate) async fn server_first(options: ServerFirstOptions) -> anyhow::Result<bool> {
    let banner = escape::parse(&options.banner)?;
    options.listen.serve(|socket, _| echo_connection(socket, banner.clone())).await
}

async fn echo_connection(mut socket: TcpStream, banner: Vec<u8>) {
    if socket.write_all(&banner).await.is_ok() {
        let (mut reader, mut writer) = socket.split();
        // Ends, and closes our direction, when theirs ends.
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
        let _ = writer.shutdown().await;
    }
}

pub(crate) async fn client(options: ClientOptions) -> anyhow::Result<bool> {
    let (expect, send) = (escape::parse(options.expect.as_deref().unwrap_or(""))?, escape::parse(&options.send)?);
    let talk = async {
        let mut socket = TcpStream::connect(&options.connect).await.context("cannot connect")?;
        let mut banner = vec![0; expect.len()];
        socket.read_exact(&mut banner).await.context("no banner")?;
        let mut answer = Vec::new();
        if banner == expect {
            let (mut reader, mut writer) = socket.split();
            // Both at once: a long text fills the buffers on the way.
            let write = async {
                writer.write_all(&send).await?;
                writer.shutdown().await
            };
            let (written, read) = tokio::join!(write, reader.read_to_end(&mut answer));
            written.context("cannot send")?;
            read.context("broken while reading")?;
        }
        anyhow::Ok((banner, answer))
    };
    let (banner, answer) = timeout(options.timeout, talk).await.context("took too long")??;
    let good = banner == expect && answer == send;
    output::line(&json!({
        "good": good,
        "banner": escape::show(&banner),
        "sent_bytes": send.len(),
        "received_bytes": answer.len(),
        "received": escape::show(&answer[..answer.len().min(4_096)]),
    }));
    Ok(good)
}
