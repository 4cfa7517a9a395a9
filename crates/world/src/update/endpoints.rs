//! Endpoints of the services that a change touches, and the index from address to service.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use mizzen_api::{Kind, ObjectId, Spec};

use super::Changes;
use crate::endpoint::{Endpoint, Endpoints, Health};
use crate::name::NsName;
use crate::service::{Service, ServiceKey};
use crate::source::{
    Found, entry_endpoints, external_endpoint, legacy_endpoints, pod_endpoint, service_of_slice, slice_endpoints,
};
use crate::workload::Pod;
use crate::world::{LabelKey, World};

impl Found for World {
    fn pod(&self, name: Option<&NsName>, ip: Option<IpAddr>) -> Option<&Arc<Pod>> {
        name.and_then(|name| self.pods.get(name)).or_else(|| self.pod_at(ip?))
    }
}

impl World {
    pub(super) fn update_endpoints(&mut self, changes: &Changes, old: &World) {
        let mut dirty: BTreeSet<ServiceKey> = changes.services.clone();
        for id in changes.of(Kind::ServiceEntry) {
            dirty.extend(self.declared_keys(id));
        }
        for id in changes.of(Kind::Service) {
            dirty.extend(self.declared_keys(id));
        }
        for id in changes.of(Kind::Endpoints) {
            dirty.insert(self.kubernetes_key(&NsName { namespace: id.namespace.clone(), name: id.name.clone() }));
        }
        self.update_slices(changes, old, &mut dirty);
        self.add_services_of_pods(changes, old, &mut dirty);
        for key in dirty {
            let built = self.services.get(&key).map(|service| self.build_endpoints(service));
            self.replace_endpoints(&key, built);
        }
    }

    fn update_slices(&mut self, changes: &Changes, old: &World, dirty: &mut BTreeSet<ServiceKey>) {
        for id in changes.of(Kind::EndpointSlice) {
            if let Some(name) = old.objects.get(id).and_then(|object| service_of_slice(object)) {
                dirty.insert(self.kubernetes_key(&name));
                self.slices.remove(&(name, id.clone()));
            }
            if let Some(name) = self.objects.get(id).and_then(|object| service_of_slice(object)) {
                dirty.insert(self.kubernetes_key(&name));
                self.slices.insert((name, id.clone()));
            }
        }
    }

    /// The services of which a changed Pod is, was or becomes an endpoint. A service may be named in vain (its endpoints
    /// then come out the same), never be missed.
    fn add_services_of_pods(&self, changes: &Changes, old: &World, dirty: &mut BTreeSet<ServiceKey>) {
        if changes.pods.is_empty() {
            return;
        }
        for change in &changes.pods {
            let addresses = [&change.old, &change.new].into_iter().flatten().flat_map(|pod| &pod.addresses);
            let served = addresses.filter_map(|ip| old.served.get(ip)).flatten();
            dirty.extend(served.cloned());
        }
        let labels: BTreeSet<LabelKey> = changes.pods.iter().flat_map(super::PodChange::labels).collect();
        let selecting = self.services.iter().filter(|(_, service)| {
            service.selector.as_ref().is_some_and(|selector| {
                let namespace = service.namespace();
                selector.iter().all(|(key, value)| labels.contains(&(namespace.clone(), key.clone(), value.clone())))
            })
        });
        dirty.extend(selecting.map(|(key, _)| key.clone()));
        let names: BTreeSet<&NsName> = changes.pods.iter().map(|change| &change.key).collect();
        for (service, slice) in &self.slices {
            if self.slice_names(slice, &names) {
                dirty.insert(self.kubernetes_key(service));
            }
        }
    }

    /// True if a slice refers to one of the Pods by name.
    fn slice_names(&self, slice: &ObjectId, names: &BTreeSet<&NsName>) -> bool {
        let Some(Spec::EndpointSlice(source)) = self.objects.get(slice).map(|object| &object.spec) else {
            return false;
        };
        source.endpoints.iter().filter_map(|endpoint| endpoint.target_ref.as_ref()).any(|target| {
            let namespace = target.namespace.as_deref().unwrap_or(&slice.namespace);
            target.name.as_deref().is_some_and(|name| names.contains(&NsName::new(namespace, name)))
        })
    }

    fn build_endpoints(&self, service: &Service) -> Vec<Endpoint> {
        let name = &service.age.object;
        if service.refused {
            return Vec::new();
        }
        if !service.is_kubernetes() {
            return self.entry(service, name);
        }
        let declaring = ObjectId { kind: Kind::Service, namespace: name.namespace.clone(), name: name.name.clone() };
        if let Some(Spec::Service(source)) = self.objects.get(&declaring).map(|object| &object.spec)
            && source.type_.as_deref() == Some("ExternalName")
        {
            return source.external_name.iter().map(|name| external_endpoint(service, name)).collect();
        }
        match self.listed(service, name) {
            Some(listed) => self.with_unlisted(service, listed),
            None => self.pods_of(service),
        }
    }

    fn entry(&self, service: &Service, name: &NsName) -> Vec<Endpoint> {
        if service.selector.is_some() {
            return self.pods_of(service);
        }
        let id = ObjectId { kind: Kind::ServiceEntry, namespace: name.namespace.clone(), name: name.name.clone() };
        match self.objects.get(&id).map(|object| &object.spec) {
            Some(Spec::ServiceEntry(source)) => entry_endpoints(service, source, &self.mesh, self),
            _ => Vec::new(),
        }
    }

    /// What slices, or an `Endpoints` object, say about a service; `None` if there are none of them.
    fn listed(&self, service: &Service, name: &NsName) -> Option<Vec<Endpoint>> {
        let first = ObjectId { kind: Kind::Namespace, namespace: Arc::default(), name: Arc::default() };
        let slices = self.slices.range((name.clone(), first)..).take_while(|(of, _)| of == name);
        let sources: Vec<_> = slices.filter_map(|(_, id)| self.objects.get(id)).collect();
        if !sources.is_empty() {
            let endpoints = sources.into_iter().filter_map(|object| match &object.spec {
                Spec::EndpointSlice(source) => Some(slice_endpoints(service, source, self)),
                _ => None,
            });
            return Some(endpoints.flatten().collect());
        }
        let id = ObjectId { kind: Kind::Endpoints, namespace: name.namespace.clone(), name: name.name.clone() };
        match &self.objects.get(&id)?.spec {
            Spec::Endpoints(source) => Some(legacy_endpoints(service, source, self)),
            _ => None,
        }
    }

    fn pods_of(&self, service: &Service) -> Vec<Endpoint> {
        let selector = service.selector.as_ref();
        let pods = selector.map(|selector| self.selected_pods(service.namespace(), selector)).unwrap_or_default();
        pods.into_iter().flat_map(|pod| pod_endpoint(service, pod)).collect()
    }

    /// Adds the Pods that the service selects and no list names: they serve before anybody is told of them.
    fn with_unlisted(&self, service: &Service, mut listed: Vec<Endpoint>) -> Vec<Endpoint> {
        let known: BTreeSet<IpAddr> = listed.iter().filter_map(|endpoint| endpoint.address.ip()).collect();
        let more = self.pods_of(service).into_iter();
        let more = more.filter(|endpoint| endpoint.address.ip().is_some_and(|ip| !known.contains(&ip)));
        listed.extend(more.map(|endpoint| Endpoint { health: Health::Unlisted, ..endpoint }));
        listed
    }

    fn replace_endpoints(&mut self, key: &ServiceKey, built: Option<Vec<Endpoint>>) {
        let old = self.endpoints.get(key).cloned();
        let new = built.map(|built| Endpoints::new(built, old.as_deref()));
        if old.as_deref() == new.as_ref() {
            return;
        }
        let before: BTreeSet<IpAddr> = old.iter().flat_map(|old| old.addresses()).collect();
        let after: BTreeSet<IpAddr> = new.iter().flat_map(Endpoints::addresses).collect();
        for ip in before.difference(&after) {
            let mut keys = self.served.get(ip).cloned().unwrap_or_default();
            keys.remove(key);
            if keys.is_empty() {
                self.served.remove(ip);
            } else {
                self.served.insert(*ip, keys);
            }
        }
        for ip in after.difference(&before) {
            self.served.entry(*ip).or_default().insert(key.clone());
        }
        match new {
            Some(new) => drop(self.endpoints.insert(key.clone(), Arc::new(new))),
            None => drop(self.endpoints.remove(key)),
        }
    }
}
