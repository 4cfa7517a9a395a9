//! Where the broker connects to. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;

use crate::addr::{HOST_ALIAS, is_lab_v4, is_lab_v6};

/// The address to dial for a proxy's request, or the error to answer.
///
/// `EACCES` for what only the host itself may reach: loopback, link-local (cloud metadata is there), unspecified,
/// multicast and broadcast, and [`HOST_ALIAS`] unless `host_access`. `EHOSTUNREACH` for the lab's own addresses: they
/// mean nothing outside, or something else. A name server of the host may be dialled wherever it is, for DNS over TCP.
pub(super) fn destination(asked: SocketAddr, host_access: bool, servers: &[SocketAddr]) -> Result<SocketAddr, Errno> {
    // An IPv4 address in IPv6 clothes is judged, and dialled, as what it is.
    let asked = SocketAddr::new(asked.ip().to_canonical(), asked.port());
    if servers.contains(&asked) {
        return Ok(asked);
    }
    match asked.ip() {
        IpAddr::V4(HOST_ALIAS) if host_access => Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), asked.port())),
        IpAddr::V4(HOST_ALIAS) => Err(Errno::ACCESS),
        IpAddr::V4(address) if is_local_v4(address) => Err(Errno::ACCESS),
        IpAddr::V6(address) if is_local_v6(address) => Err(Errno::ACCESS),
        IpAddr::V4(address) if is_lab_v4(address) => Err(Errno::HOSTUNREACH),
        IpAddr::V6(address) if is_lab_v6(address) => Err(Errno::HOSTUNREACH),
        _ => Ok(asked),
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    address.is_loopback()
        || address.is_link_local()
        || address.octets()[0] == 0
        || address.is_multicast()
        || address.is_broadcast()
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified() || address.is_multicast()
}

/// The host's name servers from the text of `resolv.conf(5)`, all of one family so that one socket serves them: IPv4 if
/// there is any. Without one, the resolver's default: the local host. Servers with a zone (`fe80::1%eth0`) are left out.
pub(super) fn name_servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let addresses: Vec<IpAddr> = resolv_conf
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .collect();
    let v4 = addresses.iter().any(IpAddr::is_ipv4) || addresses.is_empty();
    let mut servers: Vec<_> = addresses
        .into_iter()
        .filter(|address| address.is_ipv4() == v4)
        .map(|address| SocketAddr::new(address, 53))
        .collect();
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
    }
    servers
}

/// The name of an error, as the protocol spells it.
pub(super) fn error_name(error: Errno) -> &'static str {
    match error {
        Errno::ACCESS | Errno::PERM => "EACCES",
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL",
        Errno::AFNOSUPPORT => "EAFNOSUPPORT",
        Errno::AGAIN => "EAGAIN",
        Errno::CONNREFUSED => "ECONNREFUSED",
        Errno::CONNRESET => "ECONNRESET",
        Errno::HOSTUNREACH => "EHOSTUNREACH",
        Errno::INVAL => "EINVAL",
        Errno::MFILE | Errno::NFILE => "EMFILE",
        Errno::NETUNREACH => "ENETUNREACH",
        Errno::TIMEDOUT => "ETIMEDOUT",
        _ => "EIO",
    }
}

#[cfg(test)]
mod tests;
