//! What is wrong between objects: references that lead nowhere and hosts that are claimed twice. Each finding names the
//! object, the field, file and line.

use std::sync::Arc;

use mizzen_api::{Finding, Kind, Object, ObjectId, Severity};

use crate::name::{NsName, host_covers, is_wildcard};
use crate::virtual_service::{Action, Destination, GatewayRef, VirtualService};
use crate::world::World;

/// All findings of a world, in the order of objects.
pub(crate) fn findings(world: &World) -> Vec<Finding> {
    let mut check = Check { world, findings: Vec::new() };
    for rule in world.virtual_services().values() {
        check.gateways(rule);
        check.routes(rule);
    }
    check.conflicts();
    check.rules();
    check.services();
    check.findings
}

struct Check<'a> {
    world: &'a World,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn report(&mut self, kind: Kind, name: &NsName, path: &str, message: String) {
        let id = ObjectId { kind, namespace: name.namespace.clone(), name: name.name.clone() };
        let object = self.world.objects().get(&id);
        self.findings.push(Finding {
            severity: Severity::Warning,
            path: path.to_owned(),
            file: object.map(|object| object.origin.file.clone()).unwrap_or_default(),
            line: object.map_or(0, |object| object.line_of(path)),
            object: Some(id),
            message,
            hint: None,
        });
    }

    fn route(&mut self, rule: &VirtualService, path: &str, message: String) {
        self.report(Kind::VirtualService, &rule.age.object, path, message);
    }

    fn gateways(&mut self, rule: &VirtualService) {
        for (index, bound) in rule.gateways.iter().enumerate() {
            if let GatewayRef::Named(name) = bound
                && !self.world.gateways().contains_key(name)
            {
                self.route(rule, &format!("spec.gateways[{index}]"), format!("there is no Gateway `{name}`"));
            }
        }
    }

    fn routes(&mut self, rule: &VirtualService) {
        for (index, http) in rule.http.iter().enumerate() {
            let Action::Forward(destinations) = &http.action else { continue };
            for (to, destination) in destinations.iter().enumerate() {
                let path = format!("{}.route[{to}].destination", VirtualService::rule_path(index, None));
                self.destination(rule, destination, &path);
            }
        }
    }

    fn destination(&mut self, rule: &VirtualService, to: &Destination, path: &str) {
        let namespace = &rule.age.object.namespace;
        let Some(service) = self.world.service_for(namespace, &to.host) else {
            let message = format!("no service `{}` is known: its requests are answered with 503", to.host);
            return self.route(rule, &format!("{path}.host"), message);
        };
        if let Some(port) = to.port.filter(|&port| service.port(port).is_none()) {
            let message = format!("`{}` has no port {port}: its requests are answered with 503", to.host);
            self.route(rule, &format!("{path}.port"), message);
        }
        let Some(subset) = &to.subset else { return };
        let known = self.world.rule_for(namespace, service).is_some_and(|rule| rule.subset(subset).is_some());
        if !known {
            let message = format!(
                "no DestinationRule for `{}` has a subset `{subset}`: its requests are answered with 503",
                to.host
            );
            self.route(rule, &format!("{path}.subset"), message);
        }
    }

    fn conflicts(&mut self) {
        let mut found = Vec::new();
        for (host, winner, losers) in self.world.hosts().conflicts() {
            for loser in losers {
                let index = loser.hosts.iter().position(|claimed| claimed == host).unwrap_or(0);
                let message = format!(
                    "host `{host}` is already routed by {} ({}), which counts because it is older or sorts first",
                    winner.object,
                    self.place(Kind::VirtualService, &winner.age.object)
                );
                found.push((loser.clone(), format!("spec.hosts[{index}]"), message));
            }
        }
        for (loser, path, message) in found {
            self.route(&loser, &path, message);
        }
    }

    fn rules(&mut self) {
        for rule in self.world.merged_rules().values().flat_map(|rules| rules.iter()) {
            let known = if is_wildcard(&rule.host) {
                self.world.services().keys().any(|key| host_covers(&rule.host, &key.host))
            } else {
                self.world.declarations(&rule.host).next().is_some()
            };
            if !known {
                let message = format!("no service `{}` is known: the rule has no effect", rule.host);
                self.report(Kind::DestinationRule, &rule.age.object, "spec.host", message);
            }
        }
    }

    /// Hosts that two entries declare in one namespace: only one of them counts.
    fn services(&mut self) {
        let mut found = Vec::new();
        for service in self.world.services().values().filter(|service| !service.is_kubernetes()) {
            let winner = self.world.service_for(service.namespace(), service.host());
            if let Some(winner) =
                winner.filter(|winner| winner.key != service.key && winner.namespace() == service.namespace())
            {
                let message = format!("host `{}` is already declared by {}", service.host(), winner.object());
                found.push((service.age.object.clone(), message));
            }
        }
        for (name, message) in found {
            self.report(Kind::ServiceEntry, &name, "spec.hosts", message);
        }
    }

    fn place(&self, kind: Kind, name: &NsName) -> String {
        let id = ObjectId { kind, namespace: name.namespace.clone(), name: name.name.clone() };
        self.world.objects().get(&id).map(place).unwrap_or_default()
    }
}

fn place(object: &Arc<Object>) -> String {
    format!("{}:{}", object.origin.file, object.origin.line)
}
