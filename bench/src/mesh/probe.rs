//! What the suite runs inside workloads: `mizzen-bench probe …`. Out: JSON lines.

mod hold;
mod serve;
mod watch;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpStream, runtime::LocalOptions, time::timeout};

use super::{PATIENCE, Quantiles};

/// Between two looks at a banner.
const BANNER_PAUSE: Duration = Duration::from_millis(20);

#[derive(clap::Subcommand)]
pub(crate) enum Probe {
    /// Asks over and over on one connection; a line whenever another server answers.
    Watch(watch::Options),
    /// Connects and waits for the first byte, some times; a line of quantiles.
    Banner {
        /// `HOST:PORT`
        #[arg(long)]
        connect: String,
        #[arg(long)]
        count: usize,
    },
    /// Opens connections, has a request in flight on all of them at once, then holds them.
    Hold(hold::Options),
    /// A server for such clients.
    Serve {
        #[arg(long)]
        port: u16,
    },
}

/// Key and certificates for a client: PKCS#8 DER, and PEM as the authority answers.
#[derive(Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) key: Vec<u8>,
    pub(super) answer: Vec<String>,
}

pub(crate) fn run(probe: Probe) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        match probe {
            Probe::Watch(options) => watch::run(options).await,
            Probe::Banner { connect, count } => banner(&connect, count).await,
            Probe::Hold(options) => hold::run(options).await,
            Probe::Serve { port } => serve::run(port).await,
        }
    })
}

/// The machine's monotonic clock: the same for all its processes.
pub(super) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn line(value: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

async fn banner(connect: &str, count: usize) -> anyhow::Result<()> {
    let address = tokio::net::lookup_host(connect).await?.next().context("the name has no address")?;
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let first = async {
            let mut socket = TcpStream::connect(address).await?;
            socket.read_u8().await
        };
        timeout(PATIENCE, first).await.context("the server says nothing")??;
        took.push(began.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(BANNER_PAUSE).await;
    }
    let times = Quantiles::of(took).context("no connection was made")?;
    line(&json!({"p50_ms": times.p50, "p99_ms": times.p99}))
}
