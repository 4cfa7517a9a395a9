//! The other half of the wire: `snapshot` takes everything that is emitted, and nothing in it waits for what never comes.

use mizzen_snapshot::{Resource, Store, Update};

use super::bookinfo::BOOKINFO;
use super::{ENVOY, compile, router, sidecar};
use crate::{KINDS, ResourceSet, Scope};

/// Applies a whole set, as a client that connects anew; what it refuses or waits for.
pub(crate) fn complaints(set: &ResourceSet) -> Vec<String> {
    let mut store = Store::default();
    let mut complaints = Vec::new();
    for kind in KINDS {
        let added = set.of(kind).values().map(|resource| Resource {
            name: resource.name.to_string(),
            version: resource.version.to_string(),
            body: resource.body.clone(),
        });
        let update = Update { type_url: kind.type_url().to_owned(), added: added.collect(), removed: Vec::new() };
        let rejected = store.apply(update).rejected.into_iter();
        complaints.extend(rejected.map(|rejection| format!("{kind:?} {}: {}", rejection.name, rejection.message)));
    }
    store.publish();
    complaints.extend(store.waiting());
    complaints
}

#[test]
fn the_proxy_takes_all_of_it() {
    let config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n\
                  data: {mesh: '{accessLogFile: /dev/stdout, accessLogEncoding: JSON, outboundTrafficPolicy: {mode: REGISTRY_ONLY}}'}\n";
    for text in [BOOKINFO.to_owned(), format!("{BOOKINFO}{config}")] {
        let page = sidecar("default", "10.244.0.1");
        let front = router("default", &[("istio", "ingress")]);
        for scope in [&page, &front] {
            for scope in [scope.clone(), Scope { capabilities: ENVOY, ..scope.clone() }] {
                let found = complaints(&compile(&text, &scope));
                // A stock Envoy reads the original destination by a listener filter, which ours does not have.
                let ours = |line: &String| !line.contains("original_dst");
                assert_eq!(found.into_iter().filter(ours).collect::<Vec<_>>(), Vec::<String>::new(), "{scope:?}");
            }
        }
    }
}
