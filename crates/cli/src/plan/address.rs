//! Addresses of workloads: 10.244.0.0/16, each with a companion in `fd77:6d7a::/64` (docs/dev/contracts.md, "The lab's shape").
//!
//! In: who asks, and what is taken. Out: the same address for the same replica in every run, unless another holds it.

use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest as _, Sha256};

/// Of the lab, not of a workload: network, bridge, `host.mizzen.internal`, broadcast.
const LAB: [[u8; 2]; 4] = [[0, 0], [0, 1], [255, 254], [255, 255]];

/// The address of replica `ordinal` of a Deployment; `is_taken` answers for the others. `None` if the range is full.
pub(crate) fn ipv4_of(workload: &str, ordinal: u32, is_taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
    let digest = Sha256::digest(format!("{workload}/{ordinal}"));
    let first = u16::from_be_bytes([digest[0], digest[1]]);
    (0..=u16::MAX).map(|step| first.wrapping_add(step).to_be_bytes()).filter(|host| !LAB.contains(host)).find_map(
        |[high, low]| {
            let address = Ipv4Addr::new(10, 244, high, low);
            (!is_taken(address)).then_some(address)
        },
    )
}

/// The IPv6 companion: 10.244.x.y has `fd77:6d7a::x:y`.
pub(crate) fn ipv6_of(v4: Ipv4Addr) -> Ipv6Addr {
    let [_, _, high, low] = v4.octets();
    Ipv6Addr::new(0xfd77, 0x6d7a, 0, 0, 0, 0, u16::from(high), u16::from(low))
}
