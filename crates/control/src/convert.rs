//! From what `compile` made to what `xds` sends: the same names and bytes, moved on by the difference.

use mizzen_compile::{Change, ResourceSet};
use mizzen_xds::{Generation, Kind, Resource, Version};

/// The generation of `new`, sharing with `from`, which is that of `old`, whatever is the same.
pub(crate) fn next_generation(from: &Generation, old: &ResourceSet, new: &ResourceSet, number: u64) -> Generation {
    let mut changed: [Vec<Resource>; mizzen_xds::kind::KINDS.len()] = Default::default();
    let mut removed: [Vec<std::sync::Arc<str>>; mizzen_xds::kind::KINDS.len()] = Default::default();
    for change in ResourceSet::diff(old, new) {
        match change {
            Change::Put(resource) => changed[kind(resource.kind) as usize].push(Resource {
                name: resource.name.clone(),
                version: Version(resource.version),
                body: resource.body.clone(),
            }),
            Change::Remove(of, name) => removed[kind(of) as usize].push(name),
        }
    }
    let mut generation = from.next(number);
    for of in mizzen_compile::KINDS.map(kind) {
        let index = of as usize;
        let gone = removed[index].iter().map(|name| &**name);
        let set = generation.set(of).edited(std::mem::take(&mut changed[index]), gone);
        generation.put(set);
    }
    generation
}

fn kind(kind: mizzen_compile::Kind) -> Kind {
    match kind {
        mizzen_compile::Kind::Cluster => Kind::Cluster,
        mizzen_compile::Kind::Endpoints => Kind::Endpoints,
        mizzen_compile::Kind::Listener => Kind::Listener,
        mizzen_compile::Kind::Routes => Kind::Route,
        mizzen_compile::Kind::VirtualHost => Kind::VirtualHost,
        mizzen_compile::Kind::Names => Kind::NameTable,
    }
}
