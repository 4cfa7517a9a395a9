//! TCP sockets as a transparent proxy needs them: shared listening ports, original destinations, marks, source addresses.
//!
//! Everything here is a thin, safe layer over `socket2`; the kernel's rules are in `socket(7)`, `tcp(7)`, `ip(7)` and
//! netfilter's `SO_ORIGINAL_DST`.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections that may wait in the kernel for an accept; more are dropped there and tried again by the client.
const BACKLOG: i32 = 4096;

/// Socket marks of the mesh (`SO_MARK`).
pub mod mark {
    /// The proxy's connections to the outside of its workload: never captured.
    pub const OUTBOUND: u32 = 1337;
    /// The proxy's connections to its own application: not captured either, and told apart from the former so that
    /// a workload's call to its own address passes the inbound side.
    pub const INBOUND: u32 = 1338;
}

/// Opens a listening socket that other workers may share (`SO_REUSEPORT`). An IPv6 socket takes IPv6 only.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket that is not connected yet, non-blocking, with mark and source address.
///
/// A mark needs `CAP_NET_ADMIN` in the network namespace's user namespace; without it the error is `EPERM`.
pub fn client(towards: SocketAddr, mark: Option<u32>, bind: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(towards), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    if let Some(bind) = bind {
        socket.set_freebind_v4(true).ok();
        // The port is chosen at connect, so that one source address serves more than 64 k connections.
        socket.bind(&bind.into())?;
    }
    Ok(socket.into())
}

/// Where a redirected connection was going (`SO_ORIGINAL_DST`); `None` when it was not redirected.
pub fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let v6 = stream.local_addr().ok()?.is_ipv6();
    let address = if v6 { socket.original_dst_v6() } else { socket.original_dst_v4() };
    address.ok()?.as_socket()
}

/// The original destination through any socket handle.
pub fn original_destination_of(stream: &impl std::os::fd::AsFd, v6: bool) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let address = if v6 { socket.original_dst_v6() } else { socket.original_dst_v4() };
    address.ok()?.as_socket()
}

/// Keep-alive probes: first after `idle`, then each `interval`, closed after `probes` without an answer.
pub fn keepalive(stream: &impl std::os::fd::AsFd, idle: Duration, interval: Duration, probes: u32) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Makes the close of this socket a reset, so that the peer learns that the stream was cut and did not end.
pub fn reset_on_close(stream: &impl std::os::fd::AsFd) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Makes any socket non-blocking.
pub fn nonblocking(socket: &impl std::os::fd::AsFd) -> io::Result<()> {
    SockRef::from(socket).set_nonblocking(true)
}

/// A UDP socket to ask name servers with, non-blocking, with a mark.
pub fn datagram(mark: Option<u32>) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    Ok(socket.into())
}

/// A UDP socket bound to `address`, non-blocking. An IPv6 socket takes IPv6 only.
pub fn bind_datagram(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Whether this process may set marks here.
pub fn can_mark() -> bool {
    datagram(Some(mark::OUTBOUND)).is_ok()
}
