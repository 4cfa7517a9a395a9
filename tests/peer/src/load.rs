//! Paced load that looks at every answer: status, body, connection.
//!
//! Each connection has its own pace, an equal share of the whole, so that equal connections carry equal load. HTTP/1
//! has one request in flight on a connection, HTTP/2 as many as the pace asks for. A connection that the server closed
//! between two requests is replaced without a complaint; one that breaks under a request is a reset.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{Method, Response, body::Incoming};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval_at, timeout},
};

use crate::{
    connect::{Failed, Sender, To, full, millis, seconds},
    output, pattern,
    stats::{Began, Fault, Stats},
};

/// Requests in flight on one HTTP/2 connection.
const STREAMS_MAX: usize = 200;
/// Times a request that was never sent is tried on a fresh connection.
const CONNECTIONS_TRIED_MAX: usize = 3;
/// What is in flight at the end may take so long.
const GRACE: Duration = Duration::from_secs(10);

/// Options of `load`.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    to: To,
    /// Requests a second over all connections; 0 is as fast as answers come.
    #[arg(long, default_value_t = 100.0)]
    rps: f64,
    #[arg(long, default_value_t = 10)]
    connections: usize,
    /// How long, in seconds; SIGTERM ends it earlier.
    #[arg(long, value_parser = seconds)]
    duration: Option<Duration>,
    /// How many requests.
    #[arg(long)]
    count: Option<u64>,
    /// Sends a body of so many bytes by POST.
    #[arg(long)]
    body_bytes: Option<u64>,
    /// How long one request may take.
    #[arg(long = "timeout-ms", default_value = "10000", value_parser = millis)]
    timeout: Duration,
    /// SHA-256 that every body must have, hex.
    #[arg(long)]
    expect_sha256: Option<String>,
    /// Every status is good: for tests that count them.
    #[arg(long)]
    any_status: bool,
}

/// Options of `h2-long`.
#[derive(clap::Args)]
pub(crate) struct H2LongOptions {
    #[command(flatten)]
    to: To,
    #[arg(long, default_value_t = 8)]
    connections: usize,
    #[arg(long, default_value_t = 800.0)]
    rps: f64,
    /// How long, in seconds; SIGTERM ends it earlier.
    #[arg(long, value_parser = seconds)]
    duration: Option<Duration>,
}

impl From<H2LongOptions> for Options {
    fn from(long: H2LongOptions) -> Self {
        Self {
            to: To { http: 2, ..long.to },
            rps: long.rps,
            connections: long.connections,
            duration: long.duration,
            count: None,
            body_bytes: None,
            timeout: Duration::from_secs(10),
            expect_sha256: None,
            any_status: false,
        }
    }
}

/// What all connections share.
struct Run {
    options: Options,
    body: Option<(Bytes, String)>,
    stats: Mutex<Stats>,
    /// How many may still be sent.
    left: Mutex<u64>,
}

/// Runs until the count, the time or SIGTERM ends it.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    // A wrong URL is an error of the command, not of every request.
    drop(options.to.request(Method::GET, full(Bytes::new()))?);
    let run = Arc::new(Run {
        body: options.body_bytes.map(|bytes| (pattern::piece(0, bytes as usize), pattern::sha256(bytes))),
        stats: Mutex::default(),
        left: Mutex::new(options.count.unwrap_or(u64::MAX)),
        options,
    });
    let began = Instant::now();
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    for number in 0..run.options.connections {
        connections.spawn(connection(run.clone(), number, stopping.clone()));
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    let time = async {
        match run.options.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = ended => {}
        () = time => {}
        () = output::terminated() => {}
    }
    let took = began.elapsed();
    let _ = stop.send(true);
    let _ = timeout(GRACE + run.options.timeout, async { while connections.join_next().await.is_some() {} }).await;
    let stats = std::mem::take(&mut *run.stats());
    let good = stats.all_good();
    output::line(&stats.summary(took));
    Ok(good)
}

async fn connection(run: Arc<Run>, number: usize, mut stopping: watch::Receiver<bool>) {
    let paced = run.options.rps > 0.0;
    let streams = if run.options.to.http == 2 && paced { STREAMS_MAX } else { 1 };
    let period = if paced { run.options.connections as f64 / run.options.rps } else { 1e-9 };
    let period = Duration::from_secs_f64(period).max(Duration::from_nanos(1));
    // Spread over the period, so that connections do not march in step.
    let first = tokio::time::Instant::now() + period.mul_f64(number as f64 / run.options.connections as f64);
    let mut ticks = interval_at(first, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let free = Arc::new(Semaphore::new(streams));
    let mut slot = Slot::default();
    let mut flying = JoinSet::new();
    loop {
        if paced {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stopping.changed() => break,
            }
        }
        let Ok(permit) = free.clone().acquire_owned().await else { break };
        if *stopping.borrow() || !run.take() {
            break;
        }
        while flying.try_join_next().is_some() {}
        let began = Began::now();
        if streams == 1 {
            slot = timed(run.clone(), slot, began).await;
            drop(permit);
        } else {
            if let Err(why) = slot.fill(&run).await {
                run.stats().sent += 1;
                run.stats().bad(began, Fault::Connect, why);
                continue;
            }
            let another = slot.another();
            let run = run.clone();
            flying.spawn(async move {
                timed(run, another, began).await;
                drop(permit);
            });
        }
    }
    while flying.join_next().await.is_some() {}
}

/// A place for a connection.
#[derive(Default)]
struct Slot(Option<Sender>);

impl Slot {
    /// Opens a connection if there is none that is open; the error says why it could not.
    async fn fill(&mut self, run: &Run) -> Result<&mut Sender, String> {
        let open = self.0.take().filter(|sender| !sender.is_closed());
        let sender = match open {
            Some(sender) => sender,
            None => run.open().await?,
        };
        Ok(self.0.insert(sender))
    }

    fn another(&self) -> Self {
        Self(self.0.as_ref().and_then(Sender::another))
    }
}

async fn timed(run: Arc<Run>, slot: Slot, began: Began) -> Slot {
    run.stats().sent += 1;
    timeout(run.options.timeout, request(&run, slot, began)).await.unwrap_or_else(|_| {
        run.stats().bad(began, Fault::Timeout, format!("no answer within {:?}", run.options.timeout));
        Slot::default()
    })
}

/// One request; gives back the connection if it can take another.
async fn request(run: &Run, mut slot: Slot, began: Began) -> Slot {
    let method = if run.body.is_some() { Method::POST } else { Method::GET };
    let body = run.body.as_ref().map(|(bytes, _)| bytes.clone()).unwrap_or_default();
    let Ok(mut request) = run.options.to.request(method, full(body)) else { return slot };
    for _ in 0..CONNECTIONS_TRIED_MAX {
        let sender = match slot.fill(run).await {
            Ok(sender) => sender,
            Err(why) => {
                run.stats().bad(began, Fault::Connect, why);
                return slot;
            }
        };
        match sender.send(request).await {
            Ok(response) => {
                return if check(run, response, began).await { slot } else { Slot::default() };
            }
            Err(Failed::Unsent(unsent)) => {
                request = *unsent;
                slot.0 = None;
            }
            Err(Failed::Broken(error)) => {
                run.stats().bad(began, Fault::Reset, chain(&error));
                return Slot::default();
            }
        }
    }
    run.stats().bad(began, Fault::Connect, "every new connection was closed at once".to_owned());
    slot
}

/// Reads and judges an answer; false if the connection broke.
async fn check(run: &Run, response: Response<Incoming>, began: Began) -> bool {
    let (head, body) = response.into_parts();
    let status = head.status;
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            run.stats().bad(began, Fault::Reset, format!("status {status}, then {}", chain(&error)));
            return false;
        }
    };
    let peer = header("x-peer");
    if !status.is_success() && !run.options.any_status {
        let mut stats = run.stats();
        stats.answered(status.as_u16(), peer);
        stats.bad(
            began,
            Fault::Status,
            format!("status {status} {}", String::from_utf8_lossy(&body[..body.len().min(200)])),
        );
    } else if let Some(mismatch) = mismatch(run, header("x-body-sha256"), &body) {
        let mut stats = run.stats();
        stats.answered(status.as_u16(), peer);
        stats.bad(began, Fault::Body, mismatch);
    } else {
        run.stats().good(began, status.as_u16(), peer);
    }
    true
}

/// What is wrong with a body: it must hash to what the server said or the command wants, and tell the hash of what was
/// sent.
fn mismatch(run: &Run, said: Option<&str>, body: &[u8]) -> Option<String> {
    let expected = run.options.expect_sha256.as_deref().or(said);
    if let Some(expected) = expected {
        let found = pattern::sha256_of(body);
        if found != expected {
            return Some(format!("body of {} bytes has SHA-256 {found}, not {expected}", body.len()));
        }
    }
    let (_, sent) = run.body.as_ref()?;
    let answer = serde_json::from_slice::<serde_json::Value>(body).ok()?;
    let arrived = answer["body_sha256"].as_str()?;
    (arrived != sent).then(|| format!("sent a body with SHA-256 {sent}, {arrived} arrived"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Run {
    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<Sender, String> {
        let opened = timeout(self.options.timeout, self.options.to.open()).await;
        let sender = opened.map_err(|_| "connecting took too long")?.map_err(|error| format!("{error:#}"))?;
        self.stats().connections += 1;
        Ok(sender)
    }

    /// Takes one of the requests that are to be sent.
    fn take(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let some = *left > 0;
        *left -= u64::from(some);
        some
    }
}
