//! Raw bytes, for tests of framing: what exactly arrives at an upstream, and what exactly a client gets for what
//! exactly it sent.

use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Duration, sleep, timeout},
};

use crate::{connect::millis, escape, listen::Listen, output};

/// Options of `raw-server`.
#[derive(clap::Args)]
pub(crate) struct ServerOptions {
    #[command(flatten)]
    listen: Listen,
    /// Answers, with escapes, in order on each connection; the last one repeats.
    #[arg(long = "response", default_values = ["HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nok"])]
    responses: Vec<String>,
    /// What, with escapes, is answered each time it was received.
    #[arg(long, default_value = "\\r\\n\\r\\n")]
    marker: String,
    /// Answers on one connection; behind them only records.
    #[arg(long, default_value_t = usize::MAX)]
    max_responses: usize,
    /// Closes the connection behind the last answer.
    #[arg(long)]
    close: bool,
    /// Resets it (RST) instead.
    #[arg(long, conflicts_with = "close")]
    reset: bool,
}

/// Options of `raw-client`.
#[derive(clap::Args)]
pub(crate) struct ClientOptions {
    /// `HOST:PORT`
    #[arg(long)]
    connect: String,
    /// What to send, with escapes; repeatable, each in a segment of its own.
    #[arg(long)]
    send: Vec<String>,
    /// The same in hex, sent behind it.
    #[arg(long)]
    send_hex: Vec<String>,
    /// Wait so long before the first byte.
    #[arg(long = "delay-ms", default_value = "0", value_parser = millis)]
    delay: Duration,
    /// Wait so long between the pieces.
    #[arg(long = "pause-ms", default_value = "0", value_parser = millis)]
    pause: Duration,
    /// Sends each piece byte by byte.
    #[arg(long)]
    byte_by_byte: bool,
    /// Closes the sending side behind the last piece.
    #[arg(long)]
    half_close: bool,
    /// Stop reading once this, with escapes, was received; the end of the connection otherwise.
    #[arg(long)]
    until: Option<String>,
    /// How long to read at most.
    #[arg(long = "timeout-ms", default_value = "5000", value_parser = millis)]
    timeout: Duration,
}

struct Script {
    responses: Vec<Vec<u8>>,
    marker: Vec<u8>,
    max_responses: usize,
    close: bool,
    reset: bool,
}

pub(crate) async fn server(options: ServerOptions) -> anyhow::Result<bool> {
    let script = Arc::new(Script {
        responses: options.responses.iter().map(|text| escape::parse(text)).collect::<Result<_, _>>()?,
        marker: escape::parse(&options.marker)?,
        max_responses: options.max_responses,
        close: options.close,
        reset: options.reset,
    });
    options.listen.serve(|socket, number| scripted(socket, number, script.clone())).await
}

/// One line for what each read brought, one for the end with everything the connection brought.
async fn scripted(mut socket: TcpStream, number: u64, script: Arc<Script>) {
    let (mut received, mut answered, mut searched) = (Vec::new(), 0, 0);
    let end = loop {
        let before = received.len();
        match socket.read_buf(&mut received).await {
            Ok(0) => break "eof",
            Ok(_) => {}
            Err(_) => break "reset",
        }
        output::line(&json!({"connection": number, "received_hex": escape::hex(&received[before..])}));
        while let Some(at) = find(&received[searched..], &script.marker) {
            searched += at + script.marker.len().max(1);
            if answered == script.max_responses {
                continue;
            }
            let response = script.responses.get(answered).or(script.responses.last());
            answered += 1;
            if socket.write_all(response.map_or(&[], Vec::as_slice)).await.is_err() {
                break;
            }
        }
        let done = answered >= script.responses.len().min(script.max_responses);
        if done && script.reset {
            let _ = socket.set_zero_linger();
            break "closed";
        }
        if done && script.close {
            let _ = socket.shutdown().await;
            break "closed";
        }
    };
    output::line(&json!({
        "connection": number,
        "end": end,
        "answered": answered,
        "all_hex": escape::hex(&received),
        "all": escape::show(&received),
    }));
}

pub(crate) async fn client(options: ClientOptions) -> anyhow::Result<bool> {
    let mut pieces = Vec::new();
    for text in &options.send {
        pieces.push(escape::parse(text)?);
    }
    for text in &options.send_hex {
        pieces.push(escape::parse_hex(text)?);
    }
    if options.byte_by_byte {
        pieces = pieces.concat().iter().map(|byte| vec![*byte]).collect();
    }
    let until = options.until.as_deref().map(escape::parse).transpose()?;
    let mut socket = TcpStream::connect(&options.connect).await.context("cannot connect")?;
    socket.set_nodelay(true)?;
    let (mut reader, mut writer) = socket.split();
    let mut received = Vec::new();
    let mut sent = 0;
    let send = async {
        sleep(options.delay).await;
        for piece in &pieces {
            if sent > 0 {
                sleep(options.pause).await;
            }
            writer.write_all(piece).await?;
            sent += piece.len();
        }
        if options.half_close {
            writer.shutdown().await?;
        }
        // The connection stays open until the other side, or the marker, or the clock ends it.
        std::future::pending::<std::io::Result<&'static str>>().await
    };
    let end = tokio::select! {
        // A server may answer and reset before it took everything: what it said is still to be read.
        end = read(&mut reader, &mut received, until.as_deref()) => end,
        failed = swallow(send) => failed,
        () = sleep(options.delay + options.timeout) => "timeout",
    };
    if end == "unsent" {
        let _ = timeout(options.timeout, read(&mut reader, &mut received, until.as_deref())).await;
    }
    output::line(&json!({
        "sent_bytes": sent,
        "received_hex": escape::hex(&received),
        "received": escape::show(&received),
        "end": end,
    }));
    Ok(true)
}

async fn swallow(send: impl Future<Output = std::io::Result<&'static str>>) -> &'static str {
    send.await.unwrap_or("unsent")
}

pub(crate) async fn read(
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    received: &mut Vec<u8>,
    until: Option<&[u8]>,
) -> &'static str {
    loop {
        if until.is_some_and(|until| find(received, until).is_some()) {
            return "marker";
        }
        match reader.read_buf(received).await {
            Ok(0) => return "eof",
            Ok(_) => {}
            Err(_) => return "reset",
        }
    }
}

/// Where `needle` begins; an empty one is nowhere.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() { None } else { haystack.windows(needle.len()).position(|window| window == needle) }
}
