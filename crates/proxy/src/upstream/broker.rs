//! Sockets of the host network, for a proxy in a sandbox: asked for over an inherited packet socket.
//!
//! One JSON object a packet; answers may come out of order and carry the socket itself. The other end is the lab's broker,
//! which applies its own policy (no loopback, no link-local).

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixDatagram as Packets},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use mizzen_net::fdpass;
use serde::{Deserialize, Serialize};
use tokio::{
    io::Interest,
    net::{TcpStream, UdpSocket, UnixDatagram},
    sync::oneshot,
};

/// Requests without an answer yet; more fail at once.
const WAITING_MAX: usize = 4096;

/// Bytes of one answer.
const PACKET_BYTES_MAX: usize = 4096;

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Ask {
    Connect(SocketAddr),
    Udp(&'static str),
}

#[derive(Serialize)]
struct Question {
    id: u64,
    #[serde(flatten)]
    ask: Ask,
}

#[derive(Debug, Deserialize)]
struct Answer {
    id: u64,
    ok: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    servers: Vec<SocketAddr>,
}

type Reply = io::Result<(OwnedFd, Vec<SocketAddr>)>;

/// The proxy's end. Any thread may ask; the side thread runs [`Broker::listen`].
#[derive(Debug)]
pub(crate) struct Broker {
    socket: OwnedFd,
    next: AtomicU64,
    // Taken per connection to the outside, never per request.
    waiting: Mutex<HashMap<u64, oneshot::Sender<Reply>>>,
}

impl Broker {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        mizzen_net::sock::nonblocking(&socket)?;
        Ok(Self { socket, next: AtomicU64::new(1), waiting: Mutex::default() })
    }

    /// A connected TCP socket of the host network.
    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let (socket, _) = self.ask(Ask::Connect(to)).await?;
        let socket = std::net::TcpStream::from(socket);
        socket.set_nonblocking(true)?;
        TcpStream::from_std(socket)
    }

    /// An unconnected UDP socket of the host network, and the host's name servers.
    pub(crate) async fn dns(&self) -> io::Result<(UdpSocket, Vec<SocketAddr>)> {
        let (socket, servers) = self.ask(Ask::Udp("dns")).await?;
        let socket = std::net::UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        Ok((UdpSocket::from_std(socket)?, servers))
    }

    async fn ask(&self, ask: Ask) -> Reply {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= WAITING_MAX {
                return Err(io::Error::other("too many connections to the outside are being made"));
            }
            waiting.insert(id, sender);
        }
        let _forget = Forget { broker: self, id };
        let bytes = serde_json::to_vec(&Question { id, ask })?;
        fdpass::send(&self.socket, &bytes, &[])?;
        receiver.await.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionAborted.into()))
    }

    /// Hands answers to whoever asked, until the broker goes away.
    pub(crate) async fn listen(&self) -> io::Result<()> {
        // tokio's datagram type only waits for the descriptor here; what is read off it are packets with descriptors.
        let socket = UnixDatagram::from_std(Packets::from(self.socket.try_clone()?))?;
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            socket.readable().await?;
            match socket.try_io(Interest::READABLE, || fdpass::recv(&socket, &mut buffer)) {
                Ok(packet) if packet.len == 0 => return Ok(()),
                Ok(packet) => self.answer(&buffer[..packet.len], packet.fds),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn answer(&self, bytes: &[u8], fds: Vec<OwnedFd>) {
        let Ok(answer) = serde_json::from_slice::<Answer>(bytes) else {
            tracing::error!("the broker sent something that is no answer");
            return;
        };
        let sender = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&answer.id);
        let Some(sender) = sender else { return };
        let reply = match fds.into_iter().next() {
            Some(socket) if answer.ok => Ok((socket, answer.servers)),
            _ => Err(named_error(&answer.error)),
        };
        sender.send(reply).ok();
    }
}

/// Forgets a question that nobody waits for any more.
struct Forget<'a> {
    broker: &'a Broker,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.broker.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

fn named_error(name: &str) -> io::Error {
    let kind = match name {
        "ECONNREFUSED" => io::ErrorKind::ConnectionRefused,
        "ETIMEDOUT" => io::ErrorKind::TimedOut,
        "EHOSTUNREACH" => io::ErrorKind::HostUnreachable,
        "ENETUNREACH" => io::ErrorKind::NetworkUnreachable,
        "EACCES" | "EPERM" => io::ErrorKind::PermissionDenied,
        _ => return io::Error::other(name.to_owned()),
    };
    kind.into()
}
