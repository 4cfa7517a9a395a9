//! Who has an address: two services may carry the same address and port (entries that share one, headless services that
//! select the same Pods). Each may stand in one listener and one virtual host only; the first host by name has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) type Endpoint = (IpAddr, u16);

/// Claims on addresses and ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    by_host: BTreeMap<Arc<str>, BTreeSet<Endpoint>>,
    by_address: BTreeMap<Endpoint, BTreeSet<Arc<str>>>,
}

impl Claims {
    /// Puts the claims of a host in place of its former ones; the other hosts whose share this changes are added to
    /// `affected`.
    pub(crate) fn replace(&mut self, host: &Arc<str>, claims: BTreeSet<Endpoint>, affected: &mut BTreeSet<Arc<str>>) {
        let old = self.by_host.remove(host).unwrap_or_default();
        for address in old.symmetric_difference(&claims) {
            let hosts = self.by_address.entry(*address).or_default();
            let before = hosts.first().cloned();
            if claims.contains(address) {
                hosts.insert(host.clone());
            } else {
                hosts.remove(host);
            }
            let after = hosts.first().cloned();
            if hosts.is_empty() {
                self.by_address.remove(address);
            }
            if before != after {
                affected.extend([before, after].into_iter().flatten().filter(|other| other != host));
            }
        }
        if !claims.is_empty() {
            self.by_host.insert(host.clone(), claims);
        }
    }

    /// What a host claims and has, and what it claims and another has.
    pub(crate) fn shares(&self, host: &Arc<str>) -> (Vec<Endpoint>, Vec<Endpoint>) {
        let claims = self.by_host.get(host).into_iter().flatten().copied();
        claims.partition(|address| self.by_address.get(address).and_then(BTreeSet::first) == Some(host))
    }
}
