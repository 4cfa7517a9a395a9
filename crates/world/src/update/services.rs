//! Services, and the addresses given to those that bring none.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mizzen_api::{Kind, ObjectId};

use super::Changes;
use crate::service::{Service, ServiceKey};
use crate::source::{declared_services, wants_address};
use crate::vip::{CLUSTER_IPS, ENTRY_IPS, allocate};
use crate::world::World;

/// The kinds that declare services.
const KINDS: [Kind; 2] = [Kind::Service, Kind::ServiceEntry];

/// A service as its object declares it, before it is given an address.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    service: Service,
    /// The name that its address depends on, if it needs one: `NS/NAME`, with the host of an entry behind it.
    wants: Option<Arc<str>>,
}

impl Declared {
    fn finish(&self, given: &BTreeMap<Arc<str>, Ipv4Addr>) -> Service {
        let ip = self.wants.as_ref().and_then(|name| given.get(name));
        let mut service = self.service.clone();
        service.vips.extend(ip.copied().map(IpAddr::V4));
        service
    }
}

impl World {
    pub(super) fn update_services(&mut self, changes: &mut Changes, old: &World) {
        if !KINDS.into_iter().any(|kind| changes.has(kind)) {
            return;
        }
        let mut dirty: BTreeMap<ServiceKey, ObjectId> = BTreeMap::new();
        for id in KINDS.into_iter().flat_map(|kind| changes.of(kind)) {
            dirty.extend(self.declared_keys(id).map(|key| (key, id.clone())));
            let object = self.objects.get(id);
            let services = object.map(|object| declared_services(object, &self.mesh)).unwrap_or_default();
            let declared: Arc<[Declared]> = services
                .into_iter()
                .map(|service| {
                    let wants = object.filter(|object| wants_address(&service, object));
                    Declared { wants: wants.map(|_| allocation_name(&service)), service }
                })
                .collect();
            if declared.is_empty() {
                self.declared.remove(id);
            } else {
                self.declared.insert(id.clone(), declared);
            }
            dirty.extend(self.declared_keys(id).map(|key| (key, id.clone())));
        }
        self.give_addresses(&mut dirty);
        for (key, id) in dirty {
            self.update_service(key, &id, old, changes);
        }
    }

    pub(super) fn declared_keys(&self, id: &ObjectId) -> impl Iterator<Item = ServiceKey> {
        self.declared.get(id).into_iter().flat_map(|all| all.iter()).map(|one| one.service.key.clone())
    }

    /// Gives addresses anew, which leaves everybody's as they were but for collisions; adds those that changed to `dirty`.
    fn give_addresses(&mut self, dirty: &mut BTreeMap<ServiceKey, ObjectId>) {
        let mut given = BTreeMap::new();
        for (kind, block) in KINDS.into_iter().zip([CLUSTER_IPS, ENTRY_IPS]) {
            let of_kind = || self.declared.iter().filter(|(id, _)| id.kind == kind).flat_map(|(_, all)| all.iter());
            let wanting = of_kind().filter_map(|one| one.wants.clone()).collect();
            let taken = of_kind().flat_map(|one| &one.service.vips).filter_map(|ip| match ip {
                IpAddr::V4(ip) => Some(*ip),
                IpAddr::V6(_) => None,
            });
            given.extend(allocate(block, &wanting, &taken.collect()));
        }
        if given == *self.given {
            return;
        }
        for (id, all) in &self.declared {
            let moved =
                all.iter().filter(|one| one.wants.as_ref().is_some_and(|name| given.get(name) != self.given.get(name)));
            dirty.extend(moved.map(|one| (one.service.key.clone(), id.clone())));
        }
        self.given = Arc::new(given);
    }

    fn update_service(&mut self, key: ServiceKey, id: &ObjectId, old: &World, changes: &mut Changes) {
        let declared = self.declared.get(id).and_then(|all| all.iter().find(|one| one.service.key == key));
        let service = declared.map(|declared| declared.finish(&self.given));
        let before = old.services.get(&key);
        if before.map(|service| &**service) == service.as_ref() {
            return;
        }
        match service {
            Some(service) => drop(self.services.insert(key.clone(), Arc::new(service))),
            None => drop(self.services.remove(&key)),
        }
        changes.services.insert(key);
    }
}

fn allocation_name(service: &Service) -> Arc<str> {
    let object = &service.age.object;
    if service.is_kubernetes() { object.to_string().into() } else { format!("{object}/{}", service.host()).into() }
}
