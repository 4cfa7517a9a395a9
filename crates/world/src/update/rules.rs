//! `VirtualService`s with their index of hosts, `DestinationRule`s with their merging, and `Gateway`s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mizzen_api::{Kind, ObjectId, Spec};

use super::Changes;
use crate::destination_rule::merge;
use crate::name::NsName;
use crate::source::{destination_rule, gateway, virtual_service};
use crate::world::{RuleKey, World};

impl World {
    pub(super) fn update_rules(&mut self, changes: &Changes, old: &World) {
        self.update_virtual_services(changes, old);
        self.update_destination_rules(changes, old);
        self.update_gateways(changes);
    }

    fn update_virtual_services(&mut self, changes: &Changes, old: &World) {
        let mut asks = false;
        for id in changes.of(Kind::VirtualService) {
            let key = named(id);
            let before = old.virtual_services.get(&key);
            let after = self.objects.get(id).and_then(|object| match &object.spec {
                Spec::VirtualService(source) => Some(virtual_service(object, source, &self.mesh)),
                _ => None,
            });
            if before.map(|rule| &**rule) == after.as_ref() {
                continue;
            }
            if let Some(before) = before {
                asks |= before.reads_source();
                self.hosts.remove(before);
                self.virtual_services.remove(&key);
            }
            if let Some(after) = after.map(Arc::new) {
                asks |= after.reads_source();
                self.hosts.insert(&after);
                self.virtual_services.insert(key, after);
            }
        }
        if asks {
            let keys: BTreeSet<_> = self.virtual_services.values().flat_map(|rule| rule.source_keys()).collect();
            if keys != *self.source_keys {
                self.source_keys = Arc::new(keys);
            }
        }
    }

    fn update_destination_rules(&mut self, changes: &Changes, old: &World) {
        let mut dirty: BTreeMap<RuleKey, Vec<NsName>> = BTreeMap::new();
        for id in changes.of(Kind::DestinationRule) {
            let key = named(id);
            let before = old.rules.get(&key);
            let after = self.objects.get(id).and_then(|object| match &object.spec {
                Spec::DestinationRule(source) => Some(destination_rule(object, source, &self.mesh)),
                _ => None,
            });
            if before.map(|rule| &**rule) == after.as_ref() {
                continue;
            }
            let hosts = before.map(|rule| &rule.host).into_iter().chain(after.as_ref().map(|rule| &rule.host));
            for host in hosts {
                dirty.entry((key.namespace.clone(), host.clone())).or_default().push(key.clone());
            }
            match after {
                Some(after) => drop(self.rules.insert(key, Arc::new(after))),
                None => drop(self.rules.remove(&key)),
            }
        }
        for (key, names) in dirty {
            self.merge_rules(key, &names);
        }
    }

    /// Merges the rules of one namespace and host anew: those merged before and those that changed.
    fn merge_rules(&mut self, key: RuleKey, changed: &[NsName]) {
        let before = self.merged_rules.get(&key);
        let known = before.into_iter().flat_map(|rules| rules.iter()).flat_map(|rule| &rule.members);
        let names: BTreeSet<&NsName> = known.chain(changed).collect();
        let rules = names.into_iter().filter_map(|name| self.rules.get(name)).filter(|rule| rule.host == key.1);
        let merged = merge(rules.map(|rule| &**rule).collect());
        let same = before.is_some_and(|before| before.iter().map(|rule| &**rule).eq(merged.iter()));
        if merged.is_empty() {
            self.merged_rules.remove(&key);
        } else if !same {
            self.merged_rules.insert(key, merged.into_iter().map(Arc::new).collect());
        }
    }

    fn update_gateways(&mut self, changes: &Changes) {
        for id in changes.of(Kind::Gateway) {
            let key = named(id);
            let after = self.objects.get(id).and_then(|object| match &object.spec {
                Spec::Gateway(source) => Some(gateway(object, source)),
                _ => None,
            });
            if self.gateways.get(&key).map(|gateway| &**gateway) == after.as_ref() {
                continue;
            }
            match after {
                Some(after) => drop(self.gateways.insert(key, Arc::new(after))),
                None => drop(self.gateways.remove(&key)),
            }
        }
    }
}

fn named(id: &ObjectId) -> NsName {
    NsName { namespace: id.namespace.clone(), name: id.name.clone() }
}
