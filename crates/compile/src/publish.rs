//! From what was contributed to what is sent: clients without `mizzen.io/vhds` get virtual hosts inside of their route
//! configurations.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::layer::Layer;
use crate::resource::{Kind, Resource, ResourceSet};
use crate::route::{config_of, inline_configuration};
use crate::tables::Tables;

/// Brings `sent` up to the layer's set.
pub(crate) fn publish<K: Ord + Clone>(layer: &mut Layer<K>, sent: &mut ResourceSet, vhds: bool, tables: &mut Tables) {
    let touched = layer.take_touched();
    if vhds {
        *sent = layer.set.clone();
        return;
    }
    let configurations = sent.of(Kind::Routes).clone();
    *sent = layer.set.clone();
    sent.clear(Kind::VirtualHost);
    sent.adopt(Kind::Routes, configurations);
    let names: BTreeSet<&str> = touched.iter().map(|host| config_of(host)).collect();
    for name in names {
        let hosts = hosts_of(layer.set.of(Kind::VirtualHost), name);
        if hosts.is_empty() {
            sent.remove(Kind::Routes, name);
            continue;
        }
        tables.stats.calls += 1;
        tables.stats.resources += 1;
        if sent.put(&inline_configuration(name, hosts.into_iter())) {
            tables.stats.changed += 1;
        }
    }
}

/// The virtual hosts of a route configuration, in the order of names.
fn hosts_of<'a>(hosts: &'a imbl::OrdMap<Arc<str>, Arc<Resource>>, config: &str) -> Vec<&'a Arc<Resource>> {
    let first = format!("{config}/");
    let range = hosts.range::<_, str>((Bound::Included(&*first), Bound::Unbounded));
    range.take_while(|(name, _)| name.starts_with(&first)).map(|(_, host)| host).collect()
}
