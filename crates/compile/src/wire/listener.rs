//! Listeners, filter chains and the file access log.

use envoy_types::pb::envoy::config::core::v3::{Address, TransportSocket};
use envoy_types::pb::envoy::config::listener::v3::{AdditionalAddress, Filter, FilterChainMatch, ListenerFilter};
use envoy_types::pb::google::protobuf::BoolValue;

use super::{Metadata, Struct};

/// `envoy.config.listener.v3.Listener`.
#[expect(clippy::struct_field_names, reason = "Envoy's own names")]
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Listener {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) address: Option<Address>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) filter_chains: Vec<FilterChain>,
    #[prost(message, optional, tag = "4")]
    pub(crate) use_original_dst: Option<BoolValue>,
    #[prost(message, optional, tag = "6")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) listener_filters: Vec<ListenerFilter>,
    #[prost(int32, tag = "16")]
    pub(crate) traffic_direction: i32,
    #[prost(message, optional, tag = "25")]
    pub(crate) default_filter_chain: Option<FilterChain>,
    #[prost(message, optional, tag = "26")]
    pub(crate) bind_to_port: Option<BoolValue>,
    #[prost(message, repeated, tag = "33")]
    pub(crate) additional_addresses: Vec<AdditionalAddress>,
}

/// `FilterChain`.
#[expect(clippy::struct_field_names, reason = "Envoy's own names")]
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FilterChain {
    #[prost(message, optional, tag = "1")]
    pub(crate) filter_chain_match: Option<FilterChainMatch>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) filters: Vec<Filter>,
    #[prost(message, optional, tag = "5")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "6")]
    pub(crate) transport_socket: Option<TransportSocket>,
    #[prost(string, tag = "7")]
    pub(crate) name: String,
}

/// `envoy.extensions.access_loggers.file.v3.FileAccessLog`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FileAccessLog {
    #[prost(string, tag = "1")]
    pub(crate) path: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) log_format: Option<LogFormat>,
}

/// `envoy.config.core.v3.SubstitutionFormatString`: one of the two.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LogFormat {
    #[prost(message, optional, tag = "2")]
    pub(crate) json: Option<Struct>,
    #[prost(message, optional, tag = "5")]
    pub(crate) text: Option<envoy_types::pb::envoy::config::core::v3::DataSource>,
}
