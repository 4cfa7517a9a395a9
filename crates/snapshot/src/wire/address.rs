//! Addresses and networks.

use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::config::core::v3 as core;
use ipnet::IpNet;

use super::{At, Refused, Result, number, refuse, required};

/// An IP address and a TCP port.
pub(crate) fn socket(wire: Option<&core::Address>) -> Result<SocketAddr> {
    let (host, port) = host_and_port(wire)?;
    let ip = ip(host).at("socket_address.address")?;
    Ok(SocketAddr::new(ip, port))
}

/// A host (address or name) and a TCP port.
pub(crate) fn host_and_port(wire: Option<&core::Address>) -> Result<(&str, u16)> {
    use core::{address::Address, socket_address::PortSpecifier};
    let socket = match wire.and_then(|wire| wire.address.as_ref()) {
        Some(Address::SocketAddress(socket)) => socket,
        Some(Address::Pipe(_)) => return refuse("is not supported in this release").at("pipe"),
        Some(Address::EnvoyInternalAddress(_)) => {
            return refuse("is not supported in this release").at("envoy_internal_address");
        }
        None => return refuse("is required").at("socket_address"),
    };
    if socket.protocol != core::socket_address::Protocol::Tcp as i32 {
        return refuse("must be TCP").at("socket_address.protocol");
    }
    let port = match &socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => {
            u16::try_from(*port).map_err(|_| Refused::new(format!("{port} is no port")))
        }
        Some(PortSpecifier::NamedPort(_)) => refuse("must be a number"),
        None => refuse("is required"),
    };
    Ok((&socket.address, port.at("socket_address.port_value")?))
}

pub(crate) fn ip(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| Refused::new(format!("`{text}` is no IP address")))
}

pub(crate) fn network(wire: &core::CidrRange) -> Result<IpNet> {
    let ip = ip(&wire.address_prefix).at("address_prefix")?;
    // An unset length is zero in Envoy, which nobody means: `10.0.0.1` would be everything.
    let length = number(Some(required("prefix_len", wire.prefix_len.as_ref())?)).unwrap_or_default();
    let length = u8::try_from(length).unwrap_or(u8::MAX);
    IpNet::new(ip, length).map_err(|_| Refused::new(format!("{length} is no prefix length of {ip}"))).at("prefix_len")
}
