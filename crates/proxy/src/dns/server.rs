//! The sockets of the DNS proxy: UDP and TCP on port 15053, where the capture rules send port 53.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_proto::op::{Message, ResponseCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
};

use super::{
    answer::{self, Outcome},
    upstream::{Upstreams, search_domains},
};
use crate::shared::Shared;

/// Istio's agent listens here.
const PORT: u16 = 15053;
/// Queries under way; more are dropped, and the resolver asks again.
const QUERIES_MAX: usize = 1024;
/// A TCP client that says nothing is closed.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// What a client without EDNS takes (RFC 1035 §4.2.1).
const UDP_BYTES: u16 = 512;

struct Server {
    shared: Arc<Shared>,
    upstreams: Arc<Upstreams>,
    search: Vec<String>,
    asked: AtomicUsize,
    permits: Arc<Semaphore>,
}

/// Serves DNS until the process ends. A socket that cannot be opened is an error.
pub(crate) async fn run(shared: Arc<Shared>, upstreams: Arc<Upstreams>) -> io::Result<()> {
    let server = Arc::new(Server {
        shared,
        upstreams,
        search: search_domains(),
        asked: AtomicUsize::new(0),
        permits: Arc::new(Semaphore::new(QUERIES_MAX)),
    });
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, PORT));
    for address in [v4, v6] {
        let opened = open(address);
        let Ok((udp, tcp)) = opened else {
            if address.is_ipv4() {
                return opened.map(drop);
            }
            continue;
        };
        tokio::task::spawn_local(serve_udp(Arc::clone(&server), Arc::new(udp)));
        tokio::task::spawn_local(serve_tcp(Arc::clone(&server), tcp));
    }
    std::future::pending().await
}

fn open(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::from_std(mizzen_net::sock::bind_datagram(address)?)?;
    Ok((udp, TcpListener::from_std(mizzen_net::sock::listen(address)?)?))
}

async fn serve_udp(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok((n, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(permit) = Arc::clone(&server.permits).try_acquire_owned() else { continue };
        let (server, socket, query) = (Arc::clone(&server), Arc::clone(&socket), buffer[..n].to_vec());
        tokio::task::spawn_local(async move {
            if let Some(reply) = server.reply(&query, true).await {
                socket.send_to(&reply, from).await.ok();
            }
            drop(permit);
        });
    }
}

async fn serve_tcp(server: Arc<Server>, socket: TcpListener) {
    loop {
        let Ok((stream, _)) = socket.accept().await else { continue };
        let Ok(permit) = Arc::clone(&server.permits).try_acquire_owned() else { continue };
        let server = Arc::clone(&server);
        tokio::task::spawn_local(async move {
            server.stream(stream).await.ok();
            drop(permit);
        });
    }
}

impl Server {
    async fn stream(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let len = tokio::time::timeout(TCP_IDLE, stream.read_u16()).await.map_err(io::Error::from)??;
            let mut query = vec![0; usize::from(len)];
            tokio::time::timeout(TCP_IDLE, stream.read_exact(&mut query)).await.map_err(io::Error::from)??;
            let Some(reply) = self.reply(&query, false).await else { return Ok(()) };
            let len = u16::try_from(reply.len()).map_err(io::Error::other)?;
            stream.write_all(&[&len.to_be_bytes()[..], &reply].concat()).await?;
        }
    }

    /// The reply to a packet; `None` for what is no query.
    async fn reply(&self, packet: &[u8], udp: bool) -> Option<Vec<u8>> {
        let query = Message::from_vec(packet).ok()?;
        let snapshot = self.shared.snapshot();
        let names = (snapshot.generation > 0).then(|| snapshot.names());
        let rotate = self.asked.fetch_add(1, Ordering::Relaxed);
        match answer::answer(&query, names.map(AsRef::as_ref), &self.search, rotate) {
            Outcome::Reply(reply) => fit(&query, &reply, udp),
            Outcome::Forward => match self.upstreams.forward(packet).await {
                Ok(reply) => Some(reply),
                Err(error) => {
                    tracing::debug!(%error, "name servers did not answer");
                    answer::failure(&query, ResponseCode::ServFail).to_vec().ok()
                }
            },
        }
    }
}

/// A reply that is too large for a datagram says so, and the client comes back over TCP.
fn fit(query: &Message, reply: &Message, udp: bool) -> Option<Vec<u8>> {
    let limit = query.edns.as_ref().map_or(UDP_BYTES, |edns| edns.max_payload().max(UDP_BYTES));
    let bytes = reply.to_vec().ok()?;
    if udp && bytes.len() > usize::from(limit) {
        return reply.truncate().to_vec().ok();
    }
    Some(bytes)
}
