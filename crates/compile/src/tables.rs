//! All memory of the compiler: one table per kind of view.

use crate::cluster::{ClusterView, InboundClusterView, MeshClustersView};
use crate::endpoints::EndpointsView;
use crate::listener::{GatewayListenerView, InboundView, ServiceListenerView, VirtualOutboundView, WildcardView};
use crate::memo::{Built, Memo, Stats};
use crate::names::NamesView;
use crate::route::{GatewayHostView, PatternHostView, RoutesView, ServiceHostView};

/// The tables, and what was done with them.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) stats: Stats,
    clusters: Memo<ClusterView>,
    mesh_clusters: Memo<MeshClustersView>,
    inbound_clusters: Memo<InboundClusterView>,
    endpoints: Memo<EndpointsView>,
    virtual_outbound: Memo<VirtualOutboundView>,
    wildcards: Memo<WildcardView>,
    service_listeners: Memo<ServiceListenerView>,
    inbound: Memo<InboundView>,
    gateway_listeners: Memo<GatewayListenerView>,
    service_hosts: Memo<ServiceHostView>,
    pattern_hosts: Memo<PatternHostView>,
    gateway_hosts: Memo<GatewayHostView>,
    routes: Memo<RoutesView>,
    names: Memo<NamesView>,
}

/// A view that the tables have a place for.
pub(crate) trait Remembered: Sized {
    fn compiled(self, tables: &mut Tables) -> Built;
}

macro_rules! remembered {
    ($($view:ty => $table:ident,)*) => {$(
        impl Remembered for $view {
            fn compiled(self, tables: &mut Tables) -> Built {
                tables.$table.get(self, &mut tables.stats)
            }
        }
    )*};
}

remembered! {
    ClusterView => clusters,
    MeshClustersView => mesh_clusters,
    InboundClusterView => inbound_clusters,
    EndpointsView => endpoints,
    VirtualOutboundView => virtual_outbound,
    WildcardView => wildcards,
    ServiceListenerView => service_listeners,
    InboundView => inbound,
    GatewayListenerView => gateway_listeners,
    ServiceHostView => service_hosts,
    PatternHostView => pattern_hosts,
    GatewayHostView => gateway_hosts,
    RoutesView => routes,
    NamesView => names,
}
