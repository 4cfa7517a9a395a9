//! `RouteConfiguration` and `VirtualHost`.

use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::{self as wire, virtual_host::TlsRequirementType};
use mizzen_rules::{HostTable, RouteTable};

use super::{
    At, Refused, Result, cluster, each, forward, forward::Outer, headers, named, refuse, request_match, required,
    retry, unsupported,
};
use crate::route::{RouteConfig, VirtualHost};

/// A route configuration, and the hosts that it brings along.
pub(crate) fn configuration(name: &Arc<str>, wire: &wire::RouteConfiguration) -> Result<RouteConfig> {
    unsupported(&[
        ("internal_only_headers", !wire.internal_only_headers.is_empty()),
        ("most_specific_header_mutations_wins", wire.most_specific_header_mutations_wins),
        ("request_mirror_policies", !wire.request_mirror_policies.is_empty()),
        ("vhost_header", !wire.vhost_header.is_empty()),
        ("ignore_path_parameters_in_path_matching", wire.ignore_path_parameters_in_path_matching),
        ("typed_per_filter_config", !wire.typed_per_filter_config.is_empty()),
        ("route_specifiers", !wire.route_specifiers.is_empty()),
    ])?;
    let outer = Outer {
        request_headers: headers::from_wire("request", &wire.request_headers_to_add, &wire.request_headers_to_remove)?,
        response_headers: headers::from_wire(
            "response",
            &wire.response_headers_to_add,
            &wire.response_headers_to_remove,
        )?,
        retry: None,
    };
    if let Some(vhds) = &wire.vhds {
        cluster::from_ads(vhds.config_source.as_ref()).at("vhds.config_source")?;
        let has_operations = [&outer.request_headers, &outer.response_headers].iter().any(|ops| !ops.is_empty());
        if has_operations {
            return refuse(
                "has header operations, which are not supported beside vhds: write them on its virtual hosts",
            );
        }
    }
    let mut hosts = HostTable::new();
    for (index, host) in wire.virtual_hosts.iter().enumerate() {
        virtual_host(host, &outer)
            .and_then(|host| insert(&mut hosts, &Arc::new(host)))
            .at_index("virtual_hosts", index)?;
    }
    Ok(RouteConfig { name: Arc::clone(name), hosts, on_demand_hosts: wire.vhds.is_some() })
}

fn insert(hosts: &mut HostTable<Arc<VirtualHost>>, host: &Arc<VirtualHost>) -> Result<()> {
    let mut domains = host.domains.iter();
    domains
        .try_for_each(|domain| hosts.insert(domain, Arc::clone(host)))
        .map_err(|error| Refused::new(error.to_string()))
        .at("domains")
}

/// A virtual host that is a resource of its own.
pub(crate) fn on_demand(wire: &wire::VirtualHost) -> Result<Arc<VirtualHost>> {
    let host = Arc::new(virtual_host(wire, &Outer::default())?);
    insert(&mut HostTable::new(), &host)?;
    Ok(host)
}

/// `outer` is what the route configuration around it says.
fn virtual_host(wire: &wire::VirtualHost, outer: &Outer) -> Result<VirtualHost> {
    unsupported(&[
        ("matcher", wire.matcher.is_some()),
        ("require_tls", wire.require_tls != TlsRequirementType::None as i32),
        ("cors", wire.cors.is_some()),
        ("typed_per_filter_config", !wire.typed_per_filter_config.is_empty()),
        ("include_attempt_count_in_response", wire.include_attempt_count_in_response),
        ("retry_policy_typed_config", wire.retry_policy_typed_config.is_some()),
        ("hedge_policy", wire.hedge_policy.is_some()),
        ("include_is_timeout_retry_header", wire.include_is_timeout_retry_header),
        ("request_mirror_policies", !wire.request_mirror_policies.is_empty()),
        ("route_specifiers", !wire.route_specifiers.is_empty()),
    ])?;
    let name = named("name", &wire.name)?;
    if wire.domains.is_empty() {
        return refuse("expected at least one").at("domains");
    }
    let outer = within(wire, outer)?;
    let matches = each("routes", &wire.routes, |route| {
        required("match", route.r#match.as_ref()).and_then(|wire| request_match::from_wire(wire).at("match"))
    })?;
    let route = |(index, (route, conditions)): (usize, (&wire::Route, &mizzen_rules::RouteMatch))| {
        forward::from_wire(route, &conditions.path, &outer).at_index("routes", index).map(Arc::new)
    };
    let routes = wire.routes.iter().zip(&matches).enumerate().map(route).collect::<Result<_>>()?;
    Ok(VirtualHost {
        name: name.into(),
        domains: wire.domains.iter().map(|domain| domain.as_str().into()).collect(),
        table: RouteTable::compile(matches).map_err(|error| Refused::new(error.to_string())).at("routes")?,
        routes,
        attempt_count: wire.include_request_attempt_count,
    })
}

/// What the routes of a virtual host take from it and from what is around it.
fn within(wire: &wire::VirtualHost, outer: &Outer) -> Result<Outer> {
    let request = headers::from_wire("request", &wire.request_headers_to_add, &wire.request_headers_to_remove)?;
    let response = headers::from_wire("response", &wire.response_headers_to_add, &wire.response_headers_to_remove)?;
    Ok(Outer {
        request_headers: headers::chain(request, &outer.request_headers),
        response_headers: headers::chain(response, &outer.response_headers),
        retry: match &wire.retry_policy {
            Some(policy) => retry::from_wire(policy).at("retry_policy")?,
            None => None,
        },
    })
}
