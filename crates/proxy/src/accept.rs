//! Accepting, and handing over: a worker that holds more connections than the least loaded one passes the raw socket on.
//!
//! The kernel spreads connections over the workers' sockets by hash, which is uneven for a few long-lived ones. One
//! hand-over per connection is the only time that it wakes another thread.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use mizzen_net::sock;
use tokio::net::TcpListener;

use crate::{
    connection,
    shared::Shared,
    worker::{Command, Worker},
};

/// Connections of the process; more are closed at accept.
pub(crate) const CONNECTIONS_MAX: usize = 50_000;

/// A connection fresh from the kernel.
pub(crate) struct Accepted {
    pub(crate) socket: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    /// The bound listener.
    pub(crate) listener: Arc<str>,
}

/// Opens a listening socket: one handed to the process at its start, or a new one.
pub(crate) fn open(shared: &Shared, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match shared.bootstrap.handed_socket(address) {
        Some(handed) => handed?,
        None => sock::listen(address)?,
    };
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Accepts until it is aborted.
pub(crate) async fn run(worker: Rc<Worker>, socket: TcpListener, listener: Arc<str>) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                if let Ok(socket) = stream.into_std() {
                    place(&worker, Accepted { socket, peer, listener: Arc::clone(&listener) });
                }
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory: the backlog holds the clients until some are free again.
                tracing::warn!(listener = &*listener, %error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Errors that concern the one connection that was about to be accepted (accept(2)).
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Keeps the connection or hands it over.
fn place(worker: &Rc<Worker>, accepted: Accepted) {
    let shared = &worker.shared;
    if shared.loads.iter().map(super::shared::Load::get).sum::<usize>() >= CONNECTIONS_MAX {
        worker.observer.connection_refused();
        return;
    }
    let to = shared.lighter_than(worker.id).unwrap_or(worker.id);
    shared.loads[to].add();
    if to == worker.id {
        return connection::start(Rc::clone(worker), accepted);
    }
    let Some(queue) = shared.workers().get(to) else { return };
    if let Err(refused) = queue.try_send(Command::Connection(accepted)) {
        shared.loads[to].sub();
        shared.loads[worker.id].add();
        let (tokio::sync::mpsc::error::TrySendError::Full(command)
        | tokio::sync::mpsc::error::TrySendError::Closed(command)) = refused;
        if let Command::Connection(accepted) = command {
            connection::start(Rc::clone(worker), accepted);
        }
    }
}
