//! Virtual addresses for services that bring none: the same service gets the same address in every run.
//!
//! An address is the hash of the service's name; who collides moves to the next free one, in the order of names. So an
//! address depends on its own name alone, except in a collision.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::hash::fnv1a;

/// A /16 from which addresses are given.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    first: u32,
}

/// `ClusterIP`s of Kubernetes services.
pub const CLUSTER_IPS: Block = Block { first: u32::from_be_bytes([10, 96, 0, 0]) };
/// Addresses of `ServiceEntry` hosts without their own: Istio's block.
pub const ENTRY_IPS: Block = Block { first: u32::from_be_bytes([240, 240, 0, 0]) };

/// Addresses of a block that are never given: network, the API server's, broadcast.
const RESERVED: [u32; 3] = [0, 1, 0xffff];
const SIZE: u32 = 0x1_0000;

/// Gives each of `names` (any unique strings) an address that is not in `taken`. A full block leaves the rest without.
pub fn allocate(block: Block, names: &BTreeSet<Arc<str>>, taken: &BTreeSet<Ipv4Addr>) -> BTreeMap<Arc<str>, Ipv4Addr> {
    let mut used: BTreeSet<u32> = RESERVED.into_iter().collect();
    used.extend(taken.iter().map(|&ip| u32::from(ip).wrapping_sub(block.first)).filter(|&offset| offset < SIZE));
    let mut given = BTreeMap::new();
    for name in names {
        if used.len() >= SIZE as usize {
            break;
        }
        let mut offset = (fnv1a(name.as_bytes()) % u64::from(SIZE)) as u32;
        while !used.insert(offset) {
            offset = (offset + 1) % SIZE;
        }
        given.insert(name.clone(), Ipv4Addr::from(block.first + offset));
    }
    given
}
