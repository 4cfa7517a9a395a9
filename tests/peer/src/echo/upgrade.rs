//! Upgrades: WebSocket, and `Upgrade: echo`, whose bytes come back as they are.

use bytes::BytesMut;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::reply;
use crate::{
    connect::{Body, empty},
    websocket::{CLOSE, Frame, PING, PONG, accept},
};

/// 101 for a protocol we speak.
pub(super) fn answer(request: Request<Incoming>) -> Response<Body> {
    let mut response = Response::new(empty());
    let headers = response.headers_mut();
    let protocol = request.headers().get(UPGRADE).map_or(&b""[..], HeaderValue::as_bytes).to_ascii_lowercase();
    let websocket = match (&protocol[..], request.headers().get(SEC_WEBSOCKET_KEY)) {
        (b"echo", _) => false,
        (b"websocket", Some(key)) => {
            if let Ok(value) = HeaderValue::from_str(&accept(key.as_bytes())) {
                headers.insert(SEC_WEBSOCKET_ACCEPT, value);
            }
            true
        }
        _ => return reply::error("unknown upgrade"),
    };
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(if websocket { "websocket" } else { "echo" }));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        // The client reports what it misses.
        let _ = if websocket { echo_frames(upgraded).await } else { echo_bytes(upgraded).await };
    });
    response
}

async fn echo_bytes(upgraded: Upgraded) -> anyhow::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await?;
    Ok(())
}

async fn echo_frames(upgraded: Upgraded) -> anyhow::Result<()> {
    let mut io = TokioIo::new(upgraded);
    let (mut buffer, mut out) = (BytesMut::new(), Vec::new());
    loop {
        while let Some(frame) = Frame::decode(&mut buffer)? {
            let closing = frame.opcode == CLOSE;
            let opcode = if frame.opcode == PING { PONG } else { frame.opcode };
            if frame.opcode != PONG {
                Frame { opcode, ..frame }.encode(None, &mut out);
            }
            io.write_all(&out).await?;
            out.clear();
            if closing {
                return Ok(io.shutdown().await?);
            }
        }
        if io.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}
