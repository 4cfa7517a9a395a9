//! Host names of DNS clusters: resolved by the side thread, published to the workers as a table.
//!
//! A name that cannot be resolved keeps its last addresses.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use mizzen_snapshot::{ClusterKind, Snapshot, cluster::Address};

use crate::{dns::upstream::Upstreams, shared::Shared};

/// Between two rounds; the answers' TTLs are bounded by it from above. (Istio: `dnsRefreshRate` 60 s after a failure.)
const REFRESH: Duration = Duration::from_secs(5);

/// Names resolved at most; the rest stay without endpoints.
const NAMES_MAX: usize = 4096;

/// Runs on the side thread until the process ends.
pub(crate) async fn run(shared: Arc<Shared>, upstreams: Arc<Upstreams>) {
    let mut epoch = u64::MAX;
    loop {
        let names = names(&shared.snapshot());
        if !names.is_empty() {
            round(&shared, &upstreams, names).await;
        }
        // A new generation may bring new names: they are looked up at once.
        let mut waited = Duration::ZERO;
        while waited < REFRESH && (shared.epoch() == epoch || epoch == u64::MAX) {
            epoch = shared.epoch();
            let step = Duration::from_millis(100);
            tokio::time::sleep(step).await;
            waited += step;
        }
        epoch = shared.epoch();
    }
}

fn names(snapshot: &Snapshot) -> HashSet<Box<str>> {
    snapshot
        .clusters()
        .filter(|cluster| cluster.spec.kind == ClusterKind::Dns)
        .flat_map(|cluster| &cluster.endpoints.list)
        .filter_map(|endpoint| match &endpoint.address {
            Address::Name(name, _) => Some(name.clone()),
            Address::Socket(_) => None,
        })
        .take(NAMES_MAX)
        .collect()
}

async fn round(shared: &Shared, upstreams: &Upstreams, names: HashSet<Box<str>>) {
    let before = shared.resolved();
    let mut table: HashMap<Box<str>, Arc<[IpAddr]>> = HashMap::new();
    for name in names {
        match upstreams.addresses(&name).await {
            Ok(mut addresses) if !addresses.is_empty() => {
                addresses.sort_unstable();
                table.insert(name, addresses.into());
            }
            outcome => {
                tracing::debug!(name = &*name, ?outcome, "no address");
                if let Some(last) = before.get(&name) {
                    table.insert(name, Arc::clone(last));
                }
            }
        }
    }
    if table != *before {
        shared.publish_resolved(Arc::new(table));
    }
}
