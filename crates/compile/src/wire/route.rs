//! Route configurations, virtual hosts and routes.

use envoy_types::pb::envoy::config::core::v3::{DataSource, HeaderValueOption};
use envoy_types::pb::envoy::config::route::v3::{self as envoy, Decorator, RouteMatch, Vhds};
use envoy_types::pb::google::protobuf::{BoolValue, UInt32Value};

use super::Metadata;

/// `envoy.config.route.v3.RouteConfiguration`. Its hosts are appended as encoded bytes, see [`super::build::append`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RouteConfiguration {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) validate_clusters: Option<BoolValue>,
    #[prost(message, optional, tag = "9")]
    pub(crate) vhds: Option<Vhds>,
    #[prost(message, optional, tag = "11")]
    pub(crate) max_direct_response_body_size_bytes: Option<UInt32Value>,
    #[prost(bool, tag = "14")]
    pub(crate) ignore_port_in_host_matching: bool,
}

/// The field number of `RouteConfiguration.virtual_hosts`.
pub(crate) const VIRTUAL_HOSTS: u32 = 2;

/// `VirtualHost`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct VirtualHost {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) domains: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) routes: Vec<Route>,
    #[prost(bool, tag = "14")]
    pub(crate) include_request_attempt_count: bool,
}

/// `Route`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Route {
    #[prost(message, optional, tag = "1")]
    pub(crate) matched: Option<RouteMatch>,
    #[prost(oneof = "RouteAction", tags = "2, 7")]
    pub(crate) action: Option<RouteAction>,
    #[prost(message, optional, tag = "4")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "5")]
    pub(crate) decorator: Option<Decorator>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) request_headers_to_add: Vec<HeaderValueOption>,
    #[prost(message, repeated, tag = "10")]
    pub(crate) response_headers_to_add: Vec<HeaderValueOption>,
    #[prost(string, repeated, tag = "11")]
    pub(crate) response_headers_to_remove: Vec<String>,
    #[prost(string, repeated, tag = "12")]
    pub(crate) request_headers_to_remove: Vec<String>,
    #[prost(string, tag = "14")]
    pub(crate) name: String,
}

/// `Route.action`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum RouteAction {
    #[prost(message, tag = "2")]
    Forward(Box<envoy::RouteAction>),
    #[prost(message, tag = "7")]
    Respond(DirectResponse),
}

/// `DirectResponseAction`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DirectResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) status: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) body: Option<DataSource>,
}
