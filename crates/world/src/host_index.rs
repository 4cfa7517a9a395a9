//! Which `VirtualService` decides for a host, per namespace that asks: kept incrementally, so that one changed rule costs
//! the hosts it names.
//!
//! Order (Istio): rules exported to nobody but their own namespace, then those that name the client's namespace, then public
//! ones; inside a group by age. For the mesh there is no merging: the first wins, the others are findings.

use std::sync::Arc;

use imbl::OrdMap;

use crate::name::{covering_patterns, is_wildcard};
use crate::virtual_service::VirtualService;
use crate::visibility::Visibility;

/// `None` is everybody, else the one namespace that sees the claim.
type Audience = Option<Arc<str>>;

#[derive(Clone, Debug)]
struct Claim {
    /// 0: exported to its own namespace only; 1: names the client's namespace; 2: public.
    group: u8,
    rule: Arc<VirtualService>,
}

/// Claims on hosts, by host and audience; the winner stands first.
#[derive(Clone, Debug, Default)]
pub struct HostIndex {
    claims: OrdMap<(Arc<str>, Audience), Arc<[Claim]>>,
    wildcards: usize,
}

impl HostIndex {
    /// The rule that decides for `host` when a client in `namespace` calls it: the most specific pattern wins, before
    /// groups and age.
    pub fn find(&self, namespace: &Arc<str>, host: &Arc<str>) -> Option<&Arc<VirtualService>> {
        if self.wildcards == 0 {
            return self.first(namespace, host);
        }
        covering_patterns(host).find_map(|pattern| self.first(namespace, &pattern.into()))
    }

    /// The rule that claims exactly this host or pattern.
    pub fn first(&self, namespace: &Arc<str>, host: &Arc<str>) -> Option<&Arc<VirtualService>> {
        let own = self.claims.get(&(host.clone(), Some(namespace.clone())));
        let claims = own.or_else(|| self.claims.get(&(host.clone(), None)))?;
        claims.first().map(|claim| &claim.rule)
    }

    /// Every host that some rule seen by `namespace` claims, once, with the winner.
    pub fn hosts<'a>(
        &'a self,
        namespace: &'a Arc<str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<VirtualService>)> {
        let mut last: Option<&Arc<str>> = None;
        self.claims
            .iter()
            .filter(move |((_, audience), _)| audience.as_ref().is_none_or(|only| only == namespace))
            .filter_map(move |((host, _), _)| (last.replace(host) != Some(host)).then_some(host))
            .filter_map(move |host| Some((host, self.first(namespace, host)?)))
    }

    /// Hosts with more than one claim: the host, the winner and the losers.
    pub fn conflicts(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<VirtualService>, Vec<&Arc<VirtualService>>)> {
        self.claims.iter().filter_map(|((host, _), claims)| match &**claims {
            [winner, losers @ ..] if !losers.is_empty() => {
                Some((host, &winner.rule, losers.iter().map(|loser| &loser.rule).collect()))
            }
            _ => None,
        })
    }

    pub(crate) fn insert(&mut self, rule: &Arc<VirtualService>) {
        self.edit(rule, |claims, claim| {
            claims.push(claim);
            claims.sort_by(|a, b| a.group.cmp(&b.group).then_with(|| a.rule.age.cmp(&b.rule.age)));
        });
    }

    pub(crate) fn remove(&mut self, rule: &Arc<VirtualService>) {
        self.edit(rule, |claims, claim| claims.retain(|other| other.rule.object != claim.rule.object));
    }

    fn edit(&mut self, rule: &Arc<VirtualService>, change: impl Fn(&mut Vec<Claim>, Claim)) {
        if !rule.is_for_mesh() {
            return;
        }
        for host in rule.hosts.iter().filter(|host| &***host != "*") {
            for (audience, group) in audiences(rule) {
                let key = (host.clone(), audience);
                let before = self.claims.get(&key);
                let known = before.is_some();
                let mut claims = before.map(|claims| claims.to_vec()).unwrap_or_default();
                change(&mut claims, Claim { group, rule: rule.clone() });
                let counts = is_wildcard(host);
                if claims.is_empty() {
                    self.claims.remove(&key);
                    self.wildcards -= usize::from(counts && known);
                } else {
                    self.claims.insert(key, claims.into());
                    self.wildcards += usize::from(counts && !known);
                }
            }
        }
    }
}

fn audiences(rule: &VirtualService) -> Vec<(Audience, u8)> {
    match &rule.visibility {
        Visibility::Public => vec![(None, 2)],
        Visibility::Namespaces(names) => {
            let private = names.len() == 1 && names.contains(&rule.age.object.namespace);
            names.iter().map(|name| (Some(name.clone()), u8::from(!private))).collect()
        }
    }
}
