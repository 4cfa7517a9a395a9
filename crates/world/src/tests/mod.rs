//! Tests of the world, from YAML as users write it.

mod endpoints;
mod findings;
mod incremental;
mod names;
mod pieces;
mod policies;
mod rules;
mod services;

use std::sync::Arc;

use mizzen_api::{Finding, Object};

use crate::service::Service;
use crate::update::Objects;
use crate::world::World;

/// The objects of a text, which must be free of errors.
pub(crate) fn objects(text: &str) -> Objects {
    parse("mesh.yaml", text).into_iter().map(|object| (object.id.clone(), object)).collect()
}

pub(crate) fn parse(file: &str, text: &str) -> Vec<Arc<Object>> {
    let result = mizzen_api::load(file, text);
    assert!(result.unparsable.is_none(), "{:?}", result.unparsable);
    assert!(result.rejected.is_empty(), "{:#?}", result.rejected);
    result.objects.into_iter().map(Arc::new).collect()
}

pub(crate) fn world(text: &str) -> World {
    World::new(1, &objects(text)).0
}

pub(crate) fn world_and_findings(text: &str) -> (World, Vec<Finding>) {
    World::new(1, &objects(text))
}

/// The service of a host as a client in `default` sees it.
pub(crate) fn service<'a>(world: &'a World, host: &str) -> Option<&'a Arc<Service>> {
    service_seen(world, "default", host)
}

pub(crate) fn service_seen<'a>(world: &'a World, namespace: &str, host: &str) -> Option<&'a Arc<Service>> {
    let host: Arc<str> = host.into();
    let key = world.service_for(namespace, &host)?.key.clone();
    world.services().get(&key)
}
