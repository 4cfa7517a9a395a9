//! The host's name servers: asked over UDP sockets of the host network, or of our own where there is no sandbox.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use crate::shared::Shared;

/// For one query, all servers together (Istio's agent).
const TIMEOUT: Duration = Duration::from_secs(5);

/// For one server, while another is left.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// The name servers of the host.
pub(crate) struct Upstreams {
    shared: Arc<Shared>,
}

impl Upstreams {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sends a query as it is; the reply as it came.
    pub(crate) async fn forward(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        tokio::time::timeout(TIMEOUT, self.ask_all(query)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn ask_all(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let (socket, mut servers) = match &self.shared.broker {
            Some(broker) => broker.dns().await?,
            None => (own_socket(&self.shared)?, resolv_conf()),
        };
        if servers.is_empty() {
            return Err(io::Error::other("no name server is configured"));
        }
        fastrand::shuffle(&mut servers);
        let mut last = io::Error::other("no name server answered");
        for server in servers {
            match tokio::time::timeout(TRY_TIMEOUT, self.ask(&socket, server, query)).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    async fn ask(&self, socket: &UdpSocket, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        socket.send_to(query, server).await?;
        let mut buffer = vec![0; 65_535];
        loop {
            let (n, from) = socket.recv_from(&mut buffer).await?;
            // Somebody else's packet, or the late answer to another query.
            if from != server || buffer[..n].get(..2) != query.get(..2) {
                continue;
            }
            let truncated = buffer.get(2).is_some_and(|flags| flags & 2 != 0);
            if truncated && let Ok(whole) = self.over_tcp(server, query).await {
                return Ok(whole);
            }
            buffer.truncate(n);
            return Ok(buffer);
        }
    }

    async fn over_tcp(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = match &self.shared.broker {
            Some(broker) => broker.connect(server).await?,
            None => TcpStream::connect(server).await?,
        };
        let len = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&len.to_be_bytes()[..], query].concat()).await?;
        let len = stream.read_u16().await?;
        let mut reply = vec![0; usize::from(len)];
        stream.read_exact(&mut reply).await?;
        Ok(reply)
    }

    /// Addresses of a host name, both families.
    pub(crate) async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Some(ips) = self.shared.snapshot().names().addresses.get(name.to_ascii_lowercase().as_str()) {
            return Ok(ips.to_vec());
        }
        let mut found = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let mut query = Message::query();
            query.metadata.recursion_desired = true;
            let name = Name::from_utf8(format!("{}.", name.trim_end_matches('.'))).map_err(io::Error::other)?;
            query.add_query(Query::query(name, kind));
            let reply = self.forward(&query.to_vec().map_err(io::Error::other)?).await?;
            let reply = Message::from_vec(&reply).map_err(io::Error::other)?;
            found.extend(reply.answers.iter().filter_map(|record| match &record.data {
                RData::A(a) => Some(IpAddr::V4(a.0)),
                RData::AAAA(a) => Some(IpAddr::V6(a.0)),
                _ => None,
            }));
        }
        Ok(found)
    }
}

fn own_socket(shared: &Shared) -> io::Result<UdpSocket> {
    let socket = mizzen_net::sock::datagram(shared.bootstrap.marks.then_some(mizzen_net::sock::mark::OUTBOUND))?;
    UdpSocket::from_std(socket)
}

/// `nameserver` lines of resolv.conf(5).
fn resolv_conf() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok())
        .map(|ip| (ip, 53).into())
        .collect()
}

/// `search` domains of resolv.conf(5).
pub(crate) fn search_domains() -> Vec<String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.strip_prefix("search"))
        .flat_map(str::split_whitespace)
        .map(|domain| domain.trim_end_matches('.').to_ascii_lowercase())
        .collect()
}
