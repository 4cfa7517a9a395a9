//! Pods, and what decides about them: policies for their labels, nodes for their place.

use std::collections::BTreeSet;
use std::sync::Arc;

use mizzen_api::{Kind, ObjectId, Spec};

use super::{Changes, PodChange, label_keys};
use crate::name::NsName;
use crate::source::{node_locality, peer_authentication, pod};
use crate::workload::Pod;
use crate::world::World;

impl World {
    pub(super) fn update_pods(&mut self, changes: &mut Changes, old: &World) {
        let mut dirty: BTreeSet<NsName> = changes.of(Kind::Pod).map(named).collect();
        self.update_policies(changes, &mut dirty);
        self.update_nodes(changes, &mut dirty);
        for key in dirty {
            let before = old.pods.get(&key);
            let after = self.build_pod(&key, before);
            match (before, &after) {
                (None, None) => {}
                (Some(before), Some(after)) if before == after => {}
                _ => changes.pods.push(PodChange { key, old: before.cloned(), new: after }),
            }
        }
        for change in &changes.pods {
            self.index_pod(change);
        }
    }

    fn update_policies(&mut self, changes: &Changes, dirty: &mut BTreeSet<NsName>) {
        for id in changes.of(Kind::PeerAuthentication) {
            let key = named(id);
            let policy = self.objects.get(id).and_then(|object| match &object.spec {
                Spec::PeerAuthentication(source) => Some(peer_authentication(object, source)),
                _ => None,
            });
            if self.policies.get(&key).map(|policy| &**policy) == policy.as_ref() {
                continue;
            }
            match policy {
                Some(policy) => drop(self.policies.insert(key, Arc::new(policy))),
                None => drop(self.policies.remove(&key)),
            }
            let everywhere = id.namespace == self.mesh.root_namespace;
            dirty.extend(self.pods.keys().filter(|pod| everywhere || pod.namespace == id.namespace).cloned());
        }
    }

    fn update_nodes(&mut self, changes: &Changes, dirty: &mut BTreeSet<NsName>) {
        let mut moved = false;
        for id in changes.of(Kind::Node) {
            let locality = self.objects.get(id).map(|object| node_locality(object));
            if self.nodes.get(&id.name) == locality.as_ref() {
                continue;
            }
            moved = true;
            match locality {
                Some(locality) => drop(self.nodes.insert(id.name.clone(), locality)),
                None => drop(self.nodes.remove(&id.name)),
            }
        }
        if moved {
            dirty.extend(self.pods.keys().cloned());
        }
    }

    fn build_pod(&self, key: &NsName, old: Option<&Arc<Pod>>) -> Option<Arc<Pod>> {
        let id = ObjectId { kind: Kind::Pod, namespace: key.namespace.clone(), name: key.name.clone() };
        let object = self.objects.get(&id)?;
        let Spec::Pod(source) = &object.spec else { return None };
        let mtls = |labels: &_| self.mtls_for(&key.namespace, labels);
        let mut pod = pod(object, source, &self.mesh, mtls, |node| self.nodes.get(node).cloned())?;
        if let Some(old) = old.filter(|old| old.workload == pod.workload) {
            pod.workload = old.workload.clone();
        }
        Some(Arc::new(pod))
    }

    fn index_pod(&mut self, change: &PodChange) {
        if let Some(old) = &change.old {
            for ip in &old.addresses {
                self.pods_by_ip.remove(&(*ip, change.key.clone()));
            }
            for label in label_keys(old) {
                self.pods_by_label.remove(&(label, change.key.name.clone()));
            }
            self.pods.remove(&change.key);
        }
        if let Some(new) = &change.new {
            for ip in &new.addresses {
                self.pods_by_ip.insert((*ip, change.key.clone()));
            }
            for label in label_keys(new) {
                self.pods_by_label.insert((label, change.key.name.clone()));
            }
            self.pods.insert(change.key.clone(), new.clone());
        }
    }
}

fn named(id: &ObjectId) -> NsName {
    NsName { namespace: id.namespace.clone(), name: id.name.clone() }
}
