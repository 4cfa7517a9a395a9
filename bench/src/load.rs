//! A closed loop of clients: each connection sends its next request when the answer to the last has come.

use std::{
    cell::RefCell,
    future::Future,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime::LocalOptions};

use crate::backend::BODY_BYTES;

/// Spawns on the current thread.
#[derive(Clone, Copy)]
pub(crate) struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// HTTP version of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// What a run brought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) elapsed: Duration,
    latencies_us: Vec<u32>,
}

impl Outcome {
    pub(crate) fn percentile_ms(&mut self, quantile: f64) -> f64 {
        self.latencies_us.sort_unstable();
        let at = ((self.latencies_us.len() as f64 - 1.0) * quantile).round() as usize;
        f64::from(self.latencies_us.get(at).copied().unwrap_or_default()) / 1000.0
    }
}

/// Runs `connections` clients against `to` for `lasting`.
pub(crate) fn run(to: SocketAddr, version: Version, connections: usize, lasting: Duration) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let outcome = Rc::new(RefCell::new(Outcome::default()));
        let started = Instant::now();
        let clients: Vec<_> = (0..connections)
            .map(|_| tokio::task::spawn_local(client(to, version, started + lasting, Rc::clone(&outcome))))
            .collect();
        for client in clients {
            client.await?;
        }
        let mut outcome = outcome.take();
        outcome.elapsed = started.elapsed();
        Ok(outcome)
    })
}

async fn client(to: SocketAddr, version: Version, until: Instant, outcome: Rc<RefCell<Outcome>>) {
    while Instant::now() < until {
        if connection(to, version, until, &outcome).await.is_err() {
            outcome.borrow_mut().errors += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn connection(
    to: SocketAddr,
    version: Version,
    until: Instant,
    outcome: &RefCell<Outcome>,
) -> anyhow::Result<()> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let io = TokioIo::new(stream);
    match version {
        Version::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::task::spawn_local(connection);
            while Instant::now() < until {
                let request = Request::get("/bench").header("host", "bench.local").body(Empty::<Bytes>::new())?;
                let sent = Instant::now();
                note(outcome, sender.send_request(request).await?, sent).await?;
            }
        }
        Version::Http2 => {
            let (mut sender, connection) = http2::handshake(Local, io).await?;
            tokio::task::spawn_local(connection);
            while Instant::now() < until {
                let request = Request::get("http://bench.local/bench").body(Empty::<Bytes>::new())?;
                let sent = Instant::now();
                note(outcome, sender.send_request(request).await?, sent).await?;
            }
        }
    }
    Ok(())
}

async fn note(
    outcome: &RefCell<Outcome>,
    response: http::Response<hyper::body::Incoming>,
    sent: Instant,
) -> anyhow::Result<()> {
    let good = response.status() == http::StatusCode::OK;
    let body = response.into_body().collect().await?.to_bytes();
    let mut outcome = outcome.borrow_mut();
    outcome.requests += 1;
    outcome.latencies_us.push(sent.elapsed().as_micros() as u32);
    if !good || body.len() != BODY_BYTES {
        outcome.errors += 1;
    }
    Ok(())
}
