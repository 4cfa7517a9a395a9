//! The slice of Envoy's v3 API that is sent, where the ready-made types do not do.
//!
//! `envoy-types` keeps protobuf maps in hash maps, whose order differs from run to run: the same cluster would be encoded
//! to different bytes each time, and nothing downstream could tell "unchanged". The messages here have the field
//! numbers of Envoy's and ordered maps, and hold only the fields that we set; messages without maps are used from
//! `envoy-types` as they are. A test decodes every one with Envoy's full type.

pub(crate) mod build;
mod cluster;
mod listener;
mod metadata;
mod names;
mod route;

pub(crate) use cluster::{Cluster, ClusterLoadAssignment, ClusterType, LbEndpoint, LocalityLbEndpoints, SocketMatch};
pub(crate) use listener::{FileAccessLog, FilterChain, Listener, LogFormat};
pub(crate) use metadata::{Metadata, Struct, Value};
pub use names::{NameInfo, NameTable};
pub(crate) use route::{DirectResponse, Route, RouteAction, RouteConfiguration, VIRTUAL_HOSTS, VirtualHost};
