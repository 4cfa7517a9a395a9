//! `mizzend` as a supervised process, and what is said to it.
//!
//! In: versions of the lab's objects. Out: [`News`] about it, and [`Event::Published`] and [`Event::Applied`] for each
//! version. When it dies it is started again; what it must know is then sent again.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use mizzen_lab::{BRIDGE_V4, Role, SpawnSpec};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::hands::{Hands, LOOK_PAUSE};
use crate::{
    args::Up,
    fleet::Event,
    logs::Source,
    mizzend::{Changes, MeshStatus, Progress},
};

/// First pause before it is started again; doubles up to [`BACK_OFF_MAX`].
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// Between two tries of a request that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Longest wait for ACKs in one request.
const ACK_PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for a change in one request.
const CHANGE_PATIENCE: Duration = Duration::from_secs(20);
/// Time in which findings are asked for again although no change was announced.
const STATUS_PERIOD: Duration = Duration::from_secs(2);

/// What the supervisor hears about the control plane.
#[derive(Debug)]
pub(crate) enum News {
    /// It answers.
    Up,
    /// It has ended; why, in words.
    Down(String),
    Status(MeshStatus),
    Changes(Changes),
}

/// Objects of the lab, and the fleet's version that they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Publication {
    pub(crate) version: u64,
    pub(crate) objects: Arc<Vec<Value>>,
}

/// Keeps the process running until the sandbox ends.
pub(crate) async fn keep_up(hands: Arc<Hands>, options: Arc<Up>, news: mpsc::Sender<News>) {
    let mut pause = BACK_OFF_MIN;
    loop {
        let how = match run_once(&hands, &options, &news, &mut pause).await {
            Ok(how) => how,
            Err(error) => format!("{error:#}"),
        };
        if news.send(News::Down(how)).await.is_err() {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(BACK_OFF_MAX);
    }
}

async fn run_once(hands: &Arc<Hands>, options: &Up, news: &mpsc::Sender<News>, pause: &mut Duration) -> Result<String> {
    let _ = std::fs::remove_file(hands.place.mizzend_socket());
    let mut running = hands.sandbox.spawn(spec(hands, options)?).await.context("starting mizzend")?;
    let up = async {
        while hands.mizzend.status().await.is_err() {
            sleep(LOOK_PAUSE).await;
        }
        // It came up: the next failure is a first one.
        *pause = BACK_OFF_MIN;
        let _ = news.send(News::Up).await;
        std::future::pending::<()>().await;
    };
    let exit = tokio::select! {
        exit = running.exit() => exit,
        () = up => None,
    };
    Ok(exit.map_or_else(|| "the sandbox ended".to_owned(), |exit| exit.to_string()))
}

fn spec(hands: &Hands, options: &Up) -> Result<SpawnSpec> {
    let (stdout, stderr) = hands.logs.pipe(Source::ControlPlane)?;
    let place = &hands.place;
    let mut spec = SpawnSpec::new(None, Role::Control, hands.binaries.mizzend.to_string_lossy()).args([
        "--config".into(),
        options.directory.to_string_lossy(),
        "--state".into(),
        place.state.join("control").to_string_lossy(),
        "--control-socket".into(),
        place.mizzend_socket().to_string_lossy(),
        "--listen".into(),
        BRIDGE_V4.to_string().into(),
    ]);
    // Files are named as the user named the directory.
    spec.cwd = Some(std::env::current_dir()?);
    if options.allow_unenforced {
        spec = spec.args(["--allow-unenforced"]);
    }
    if let Some(ttl) = options.cert_ttl {
        spec = spec.args(["--cert-ttl".to_owned(), format!("{}s", ttl.as_secs().max(1))]);
    }
    if let Ok(filter) = std::env::var("RUST_LOG") {
        spec = spec.env("RUST_LOG", filter);
    }
    spec.stdout = Some(stdout);
    spec.stderr = Some(stderr);
    Ok(spec)
}

/// Sends each publication, and says when it is known and when it is in force.
pub(crate) async fn publish(hands: Arc<Hands>, mut publications: watch::Receiver<Publication>) {
    while publications.changed().await.is_ok() {
        let Publication { version, objects } = publications.borrow_and_update().clone();
        let Ok(generation) = hands.mizzend.put_runtime(&objects).await.inspect_err(|error| {
            tracing::debug!(error = format!("{error:#}"), "runtime objects not taken");
        }) else {
            publications.mark_changed();
            sleep(RETRY_PAUSE).await;
            continue;
        };
        hands.tell(Event::Published(version)).await;
        loop {
            let progress = tokio::select! {
                progress = hands.mizzend.wait(generation, ACK_PATIENCE) => progress,
                changed = publications.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    publications.mark_changed();
                    break;
                }
            };
            match progress {
                Ok(Progress::Applied) => {
                    hands.tell(Event::Applied(version)).await;
                    break;
                }
                Ok(Progress::Pending) => {}
                // It died: it is told everything again when it is back.
                Err(_) => {
                    publications.mark_changed();
                    sleep(RETRY_PAUSE).await;
                    break;
                }
            }
        }
    }
}

/// Follows changes and findings.
pub(crate) async fn follow(hands: Arc<Hands>, news: mpsc::Sender<News>) {
    let mut seq = 0;
    let changes = async {
        loop {
            let Ok(changes) = hands.mizzend.changes(seq, CHANGE_PATIENCE).await else {
                // A restarted one counts from the beginning.
                seq = 0;
                sleep(RETRY_PAUSE).await;
                continue;
            };
            seq = changes.seq;
            if !changes.changes.is_empty() && news.send(News::Changes(changes)).await.is_err() {
                return;
            }
            ask_status(&hands, &news).await;
        }
    };
    let status = async {
        loop {
            ask_status(&hands, &news).await;
            sleep(STATUS_PERIOD).await;
        }
    };
    tokio::join!(changes, status);
}

async fn ask_status(hands: &Hands, news: &mpsc::Sender<News>) {
    if let Ok(status) = hands.mizzend.status().await {
        let _ = news.send(News::Status(status)).await;
    }
}
