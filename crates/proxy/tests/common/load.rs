//! Load while something else happens: HTTP/1 and HTTP/2 clients that check each answer.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::peer::{self, Client};

/// Failures kept for the message.
const KEPT_MAX: usize = 10;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    requests: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Shared {
    fn failed(&self, failure: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < KEPT_MAX {
            failures.push(failure);
        }
    }
}

/// Load under way.
pub(crate) struct Load {
    shared: Arc<Shared>,
    started: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// `connections` of HTTP/1 and as many of HTTP/2, each asking for `path` again and again on one connection.
    pub(crate) fn start(port: u16, path: &'static str, connections: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            peer::block(async {
                let tasks: Vec<_> = (0..2 * connections)
                    .map(|n| tokio::spawn(client(port, n % 2 == 0, path, Arc::clone(&theirs))))
                    .collect();
                for task in tasks {
                    task.await.expect("the client ran");
                }
            });
        });
        Self { shared, started: Instant::now(), thread: Some(thread) }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Ends the load after a time and a number of requests: none failed.
    pub(crate) fn stop(mut self, at_least: Duration, requests: u64) {
        super::eventually("the load's requests", || self.started.elapsed() >= at_least && self.requests() >= requests);
        self.shared.stop.store(true, Ordering::Relaxed);
        let took = self.started.elapsed();
        self.thread.take().expect("once").join().expect("the load ran");
        let failures = self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = self.requests();
        println!("{requests} requests in {took:?}, {} failures", failures.len());
        assert!(failures.is_empty(), "{failures:?}");
    }
}

async fn client(port: u16, http2: bool, path: &'static str, shared: Arc<Shared>) {
    let mut client = Client::open(port, http2).await;
    while !shared.stop.load(Ordering::Relaxed) {
        let failure = match client.get(path).await {
            Ok(answer) if answer.status == 200 && &*answer.body == b"hello" => None,
            Ok(answer) => Some(format!("h2 {http2}: {answer:?}")),
            Err(error) => Some(format!("h2 {http2}: {error:?}")),
        };
        shared.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = failure {
            shared.failed(failure);
            client = Client::open(port, http2).await;
        }
    }
}
