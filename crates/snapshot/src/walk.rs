//! The walk over the decisions, in order: listener → chain → virtual host → route → cluster.
//!
//! The proxy runs it with a silent trace, the CLI's explanation with one that listens: the same decisions either way.

use std::sync::Arc;

use mizzen_rules::{ConnectionFacts, RequestFacts, Step, Trace};

use crate::{
    Cluster, FilterChain, HttpManager, Listener, Route, RouteAction, RouteConfig, Snapshot, VirtualHost,
    http_manager::RouteSource,
};

/// Where a connection goes.
#[derive(Clone, Debug)]
pub struct ConnectionPlan {
    pub listener: Arc<Listener>,
    /// `None`: no chain matches, the connection is closed.
    pub chain: Option<Arc<FilterChain>>,
}

/// What happens to a request. Holds at most three shared handles; nothing of it is copied.
#[derive(Clone, Debug)]
pub enum RequestPlan {
    /// 404 `NR`: no virtual host or no route.
    NoRoute,
    /// Answered here (see `Route::action`).
    Direct { host: Arc<VirtualHost>, route: Arc<Route> },
    /// Forward; `target` indexes `Forward::targets`.
    Forward { host: Arc<VirtualHost>, route: Arc<Route>, target: usize, cluster: Arc<Cluster> },
    /// 503 `NC`: the route names a cluster that does not exist.
    NoCluster { host: Arc<VirtualHost>, route: Arc<Route>, target: usize },
}

/// Chooses the filter chain of a connection whose listener is known.
pub fn connection(
    _snapshot: &Snapshot,
    listener: &Arc<Listener>,
    facts: &ConnectionFacts<'_>,
    trace: &mut impl Trace,
) -> ConnectionPlan {
    trace.step(Step::Listener { name: &listener.name });
    let chain = listener.chains.decide(facts, trace).map(|position| &listener.filter_chains[position]);
    let chain = chain.or(listener.default_chain.as_ref());
    if trace.is_heard() {
        for other in listener.all_chains() {
            let chosen = chain.is_some_and(|chain| Arc::ptr_eq(chain, other));
            trace.step(Step::Chain { name: &other.name, chosen });
        }
    }
    ConnectionPlan { listener: Arc::clone(listener), chain: chain.cloned() }
}

/// Chooses what happens to a request; `random` is uniform.
pub fn request(
    snapshot: &Snapshot,
    manager: &HttpManager,
    facts: &RequestFacts<'_>,
    random: u64,
    trace: &mut impl Trace,
) -> RequestPlan {
    let Some((host, route)) = routes(snapshot, manager).and_then(|config| route(config, facts, trace)) else {
        return RequestPlan::NoRoute;
    };
    let (host, route) = (Arc::clone(host), Arc::clone(route));
    let RouteAction::Forward(forward) = &route.action else { return RequestPlan::Direct { host, route } };
    // A route without any weight is refused when it is loaded.
    let target = forward.weights.pick(random).unwrap_or_default();
    let name = &forward.targets[target].cluster;
    trace.step(Step::Cluster { name });
    match snapshot.cluster(name).known() {
        Some(cluster) => RequestPlan::Forward { host, target, cluster: Arc::clone(cluster), route },
        None => RequestPlan::NoCluster { host, route, target },
    }
}

fn routes<'a>(snapshot: &'a Snapshot, manager: &'a HttpManager) -> Option<&'a Arc<RouteConfig>> {
    match &manager.routes {
        RouteSource::Inline(config) => Some(config),
        RouteSource::Named(name) => snapshot.route_config(name).known(),
    }
}

fn route<'a>(
    config: &'a RouteConfig,
    facts: &RequestFacts<'_>,
    trace: &mut impl Trace,
) -> Option<(&'a Arc<VirtualHost>, &'a Arc<Route>)> {
    let host = config.hosts.decide(facts.authority, trace)?;
    let position = host.table.decide(facts, trace)?;
    Some((host, &host.routes[position]))
}
