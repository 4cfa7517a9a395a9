//! Making a connection to an endpoint: socket, mark, source address, broker, TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::BytesMut;
use mizzen_net::sock::{self, mark};
use mizzen_snapshot::ClusterSpec;
use tokio::net::{TcpSocket, TcpStream};

use super::{
    live::LiveHost,
    pool::{Facts, Key},
};
use crate::{
    error::{Kind, ProxyError},
    io::{Activity, Replayed, Stream},
    shared::Shared,
    telemetry::OutboundHandles,
    tls,
    worker::Worker,
};

/// Connects to `host` as `key` says, within the cluster's connect timeout (TLS included).
pub(crate) async fn open(
    worker: &Worker,
    spec: &ClusterSpec,
    host: &LiveHost,
    key: &Key,
) -> Result<(Stream, Facts), ProxyError> {
    let attempt = async {
        let tcp = tcp(&worker.shared, spec, host.address).await.map_err(|error| connect_error(&error))?;
        tcp.set_nodelay(true).ok();
        let local = tcp.local_addr().map_err(|error| connect_error(&error))?;
        let stream = Replayed::new(BytesMut::new(), tcp, Activity::new());
        let Some(settings) = &key.tls else {
            return Ok((
                Stream::Plain(stream),
                Facts { local, remote: host.address, peer: None, handles: OutboundHandles::default() },
            ));
        };
        let (stream, peer) = tls::connect(worker, settings, key, stream)
            .await
            .map_err(|error| ProxyError::unsent(Kind::TlsFailed).with_transport(error))?;
        Ok((
            stream,
            Facts { local, remote: host.address, peer: Some(Arc::new(peer)), handles: OutboundHandles::default() },
        ))
    };
    tokio::time::timeout(spec.connect_timeout, attempt)
        .await
        .unwrap_or_else(|_| Err(ProxyError::unsent(Kind::ConnectTimeout).with_transport("connect timeout")))
}

fn connect_error(error: &io::Error) -> ProxyError {
    ProxyError::unsent(Kind::ConnectFailed).with_transport(error)
}

async fn tcp(shared: &Shared, spec: &ClusterSpec, to: SocketAddr) -> io::Result<TcpStream> {
    if let Some(broker) = &shared.broker
        && !shared.bootstrap.is_inside(to.ip())
    {
        return broker.connect(to).await;
    }
    let bind = source(spec, to);
    let mark = shared.bootstrap.marks.then_some(if bind.is_some() { mark::INBOUND } else { mark::OUTBOUND });
    let socket = sock::client(to, mark, bind).or_else(|error| match error.kind() {
        // The marker address is a courtesy to whoever reads the peer address; without it the mark does the work.
        io::ErrorKind::AddrNotAvailable => sock::client(to, mark, None),
        _ => Err(error),
    })?;
    TcpSocket::from_std_stream(socket).connect(to).await
}

/// Source address towards the own application: 127.0.0.6 or `::6`, which Istio uses to mark it.
fn source(spec: &ClusterSpec, to: SocketAddr) -> Option<SocketAddr> {
    let ip: IpAddr = if to.is_ipv6() { spec.bind_v6? } else { spec.bind? };
    Some((ip, 0).into())
}
