//! Host names of DNS clusters: resolved by the side thread, published to the workers as a table.
//!
//! A name that cannot be resolved keeps its last addresses.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mizzen_snapshot::{ClusterKind, Snapshot, cluster::Address};

use crate::{dns::upstream::Upstreams, shared::Shared};

/// Between two rounds; the answers' TTLs are bounded by it from above. (Istio: `dnsRefreshRate` 60 s after a failure.)
const REFRESH: Duration = Duration::from_secs(5);

/// Names resolved at most; the rest stay without endpoints.
const NAMES_MAX: usize = 4096;

/// Between two looks whether the configuration names other hosts.
const LOOK: Duration = Duration::from_millis(100);

/// Runs on the side thread until the process ends. New names are looked up at once, known ones each [`REFRESH`].
pub(crate) async fn run(shared: Arc<Shared>, upstreams: Arc<Upstreams>) {
    loop {
        let snapshot = shared.snapshot();
        let names = names(&snapshot);
        if !names.is_empty() {
            round(&shared, &upstreams, &names).await;
        }
        let refresh = Instant::now() + REFRESH;
        let mut seen = snapshot;
        while Instant::now() < refresh {
            tokio::time::sleep(LOOK).await;
            let now = shared.snapshot();
            if !Arc::ptr_eq(&now, &seen) && self::names(&now) != names {
                break;
            }
            seen = now;
        }
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

async fn round(shared: &Shared, upstreams: &Upstreams, names: &HashSet<Box<str>>) {
    let before = shared.resolved();
    let mut table: HashMap<Box<str>, Arc<[IpAddr]>> = HashMap::new();
    for name in names {
        match upstreams.addresses(name).await {
            Ok(mut addresses) if !addresses.is_empty() => {
                addresses.sort_unstable();
                table.insert(name.clone(), addresses.into());
            }
            outcome => {
                tracing::debug!(name = &**name, ?outcome, "no address");
                if let Some(last) = before.get(name) {
                    table.insert(name.clone(), Arc::clone(last));
                }
            }
        }
    }
    if table != *before {
        shared.publish_resolved(Arc::new(table));
    }
}
