//! The server behind the proxies: 256 bytes for every request, HTTP/1.1 and HTTP/2 (by preface), one thread.

use std::{convert::Infallible, net::Ipv4Addr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::LocalOptions,
};

use crate::{load::Local, machine};

/// Bytes of every body.
pub(crate) const BODY_BYTES: usize = 256;

pub(crate) fn run(port: u16, core: usize) -> anyhow::Result<()> {
    machine::pin(core)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(serve(stream));
        }
    })
}

async fn serve(stream: TcpStream) {
    let mut first = [0];
    if stream.peek(&mut first).await.is_err() {
        return;
    }
    let service = service_fn(|_: http::Request<Incoming>| async {
        static BODY: [u8; BODY_BYTES] = [b'x'; BODY_BYTES];
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(&BODY))))
    });
    // Only a preface begins with P: nobody here sends POST, PUT or PATCH.
    if first == *b"P" {
        hyper::server::conn::http2::Builder::new(Local)
            .max_concurrent_streams(1000)
            .serve_connection(TokioIo::new(stream), service)
            .await
            .ok();
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
    }
}
