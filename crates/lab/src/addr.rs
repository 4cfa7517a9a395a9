//! The lab's address plan: one IPv4 and one IPv6 network on one bridge.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The bridge, where the control plane listens, in 10.244.0.0/16.
pub const BRIDGE_V4: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The same over IPv6, in `fd77:6d7a::/64`.
pub const BRIDGE_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x6d7a, 0, 0, 0, 0, 0, 1);
/// `host.mizzen.internal`: stands for the host's loopback towards the broker, where that is allowed.
pub const HOST_ALIAS: Ipv4Addr = Ipv4Addr::new(10, 244, 255, 254);

pub(crate) const PREFIX_V4: u8 = 16;
pub(crate) const PREFIX_V6: u8 = 64;

/// The IPv6 address that goes with a lab IPv4 address: `10.244.x.y` and `fd77:6d7a::x:y`, the octets by value.
pub fn ipv6_of(v4: Ipv4Addr) -> Ipv6Addr {
    let [_, _, x, y] = v4.octets();
    Ipv6Addr::new(0xfd77, 0x6d7a, 0, 0, 0, 0, x.into(), y.into())
}

/// The `n`th address for a workload, from 10.244.1.1 on; `None` once the plan is used up (63,500 addresses).
///
/// Last octets 0 and 251 to 255 are left out, and 10.244.255.0/24, where [`HOST_ALIAS`] lies.
pub fn workload_address(n: u16) -> Option<Ipv4Addr> {
    let (x, y) = (n / 250 + 1, n % 250 + 1);
    (x < 255).then(|| Ipv4Addr::new(10, 244, x as u8, y as u8))
}

/// Whether the lab routes this address itself: nodes, the bridge, and what stands for services (10.96.0.0/16).
pub(crate) fn is_lab_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [10, 244 | 96, ..])
}

/// As [`is_lab_v4`], for `fd77:6d7a::/32`.
pub(crate) fn is_lab_v6(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xfd77, 0x6d7a, ..])
}

/// A link-layer address that follows from the IPv4 address, so that an address used again never meets a stale ARP entry.
pub(crate) fn mac_of(v4: Ipv4Addr) -> String {
    let [a, b, c, d] = v4.octets();
    format!("02:4d:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

#[cfg(test)]
mod tests;
