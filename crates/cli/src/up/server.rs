//! The control socket of a running mesh: takes requests on threads of its own and hands them to the supervisor.

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Result;
use tokio::sync::mpsc;

use crate::protocol::{self, Answer, Request, Signal};

/// Clients at a time; one more is told so.
const CLIENTS_MAX: usize = 32;
/// Signals to a command that wait to be delivered; more are dropped.
const SIGNALS_MAX: usize = 16;

/// One client's request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request: Request,
    /// Standard descriptors, for `exec`.
    pub(crate) fds: Vec<OwnedFd>,
    pub(crate) client: Client,
    /// What the client sends afterwards; ends when the client is gone.
    pub(crate) signals: mpsc::Receiver<i32>,
}

/// The way back to a client.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<OwnedFd>);

impl Client {
    /// A client that does not read what it asked for has itself to blame.
    pub(crate) fn answer(&self, answer: &Answer) {
        if let Err(error) = protocol::send(&*self.0, answer, &[]) {
            tracing::debug!(error = format!("{error:#}"), "answer not sent");
        }
    }
}

/// Listens until the process ends.
pub(crate) fn serve(path: &Path, calls: mpsc::Sender<Call>) -> Result<()> {
    let listener = protocol::listener(path)?;
    thread::Builder::new().name("control".into()).spawn(move || accept(&listener, &calls))?;
    Ok(())
}

fn accept(listener: &OwnedFd, calls: &mpsc::Sender<Call>) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let client = match protocol::accept(listener) {
            Ok(client) => client,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                tracing::warn!(%error, "the control socket no longer accepts");
                return;
            }
        };
        let client = Client(Arc::new(client));
        if clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS_MAX {
            client.answer(&Answer::Refused("too many commands at a time".to_owned()));
            clients.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (calls, done) = (calls.clone(), Arc::clone(&clients));
        let thread = thread::Builder::new().name("client".into()).spawn(move || {
            if let Err(error) = converse(&client, &calls) {
                client.answer(&Answer::Refused(format!("{error:#}")));
            }
            done.fetch_sub(1, Ordering::Relaxed);
        });
        if thread.is_err() {
            clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Hands on the request, then the signals, until the client is gone.
fn converse(client: &Client, calls: &mpsc::Sender<Call>) -> Result<()> {
    let Some((request, fds)) = protocol::receive::<Request>(&*client.0)? else { return Ok(()) };
    let (sender, signals) = mpsc::channel(SIGNALS_MAX);
    if calls.blocking_send(Call { request, fds, client: client.clone(), signals }).is_err() {
        return Ok(()); // it stops anyway
    }
    while let Ok(Some((Signal(signal), _))) = protocol::receive(&*client.0) {
        let _ = sender.try_send(signal);
    }
    Ok(())
}
