//! `DestinationRule`: how a host is called once it was chosen: subsets, balancing, timeouts.
//!
//! Rules of one namespace and host are merged, the oldest first: its policy stands, subsets are added, a subset that
//! exists stays (Istio's DestinationRule merging). Lookup and precedence are Istio's, too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::labels::Labels;
use crate::name::{Age, NsName};
use crate::visibility::Visibility;

/// How an endpoint is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoadBalancer {
    #[default]
    LeastRequest,
    RoundRobin,
    Random,
    /// The address that the client dialled.
    Passthrough,
}

/// What can be said per host, subset or port. An unset block is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortPolicy {
    pub load_balancer: Option<LoadBalancer>,
    pub connect_timeout: Option<Duration>,
}

/// A `trafficPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policy {
    pub base: PortPolicy,
    pub ports: BTreeMap<u16, PortPolicy>,
}

/// A named part of a host's endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subset {
    pub name: Arc<str>,
    pub labels: Labels,
    pub policy: Policy,
    /// The object that declared it, and its place there: `spec.subsets[0]`.
    pub object: Arc<str>,
    pub path: Arc<str>,
}

/// One rule, or several of one namespace and host merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRule {
    pub host: Arc<str>,
    pub age: Age,
    /// The object whose policy stands.
    pub object: Arc<str>,
    pub visibility: Visibility,
    pub policy: Policy,
    pub subsets: Vec<Subset>,
    /// An object that asks for something that is not enforced yet and would restrict or encrypt.
    pub refused_by: Option<Arc<str>>,
    /// Every object in it, in order of age.
    pub members: Vec<NsName>,
}

impl DestinationRule {
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| &*subset.name == name)
    }

    /// The policy for a port of the host or of one of its subsets: subset's port, subset, rule's port, rule. A port's
    /// entry replaces the blocks of its level, even those that it leaves out.
    pub fn policy(&self, subset: Option<&Subset>, port: u16) -> PortPolicy {
        let own = level(&self.policy, port);
        let Some(subset) = subset else { return own.clone() };
        if let Some(entry) = subset.policy.ports.get(&port) {
            return entry.clone();
        }
        let base = &subset.policy.base;
        PortPolicy {
            load_balancer: base.load_balancer.or(own.load_balancer),
            connect_timeout: base.connect_timeout.or(own.connect_timeout),
        }
    }

    /// Adds a younger rule of the same namespace and host. False, and nothing is changed, if whoever sees the younger one
    /// may not see this one.
    pub(crate) fn absorb(&mut self, younger: &DestinationRule) -> bool {
        if !self.visibility.contains(&younger.visibility) {
            return false;
        }
        for subset in &younger.subsets {
            if self.subset(&subset.name).is_none() {
                self.subsets.push(subset.clone());
            }
        }
        if self.policy == Policy::default() && younger.policy != Policy::default() {
            self.policy = younger.policy.clone();
            self.object = younger.object.clone();
        }
        self.refused_by = self.refused_by.take().or_else(|| younger.refused_by.clone());
        self.members.extend(younger.members.iter().cloned());
        true
    }
}

fn level(policy: &Policy, port: u16) -> &PortPolicy {
    policy.ports.get(&port).unwrap_or(&policy.base)
}

/// Merges the rules of one namespace and host, given in any order.
pub fn merge(mut rules: Vec<&DestinationRule>) -> Vec<DestinationRule> {
    rules.sort_by(|a, b| a.age.cmp(&b.age));
    let mut merged: Vec<DestinationRule> = Vec::new();
    for rule in rules {
        if !merged.iter_mut().any(|older| older.absorb(rule)) {
            merged.push(rule.clone());
        }
    }
    merged
}
