//! Small makers of the messages that stand everywhere: `Any`, durations, addresses, config sources, provenance.

use std::net::IpAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, address,
};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};
use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration as WireDuration, UInt32Value};
use prost::{Message, Name};

use super::{Metadata, Struct};

/// A message packed with its type.
pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// A message packed under Envoy's name for it.
pub(crate) fn any_named(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

pub(crate) fn duration(duration: Duration) -> WireDuration {
    WireDuration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

pub(crate) fn u32_value(value: u32) -> UInt32Value {
    UInt32Value { value }
}

pub(crate) fn bool_value(value: bool) -> BoolValue {
    BoolValue { value }
}

/// A TCP address; `host` is an IP address or, in DNS clusters, a name.
pub(crate) fn address(host: impl Into<String>, port: u16) -> Address {
    Address { address: Some(address::Address::SocketAddress(socket_address(host, port))) }
}

pub(crate) fn socket_address(host: impl Into<String>, port: u16) -> SocketAddress {
    SocketAddress {
        address: host.into(),
        port_specifier: Some(PortSpecifier::PortValue(u32::from(port))),
        ..SocketAddress::default()
    }
}

/// "Over this stream."
pub(crate) fn ads() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        resource_api_version: ApiVersion::V3 as i32,
        ..ConfigSource::default()
    }
}

pub(crate) fn regex(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), engine_type: None }
}

pub(crate) fn exact(value: &str) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Exact(value.to_owned())), ignore_case: false }
}

pub(crate) fn prefix(value: &str) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Prefix(value.to_owned())), ignore_case: false }
}

/// Which object decided, and by which of its rules. No file, no line: those change without meaning anything.
pub(crate) fn provenance(object: &str, rule: &str) -> Metadata {
    Metadata::default().with("mizzen.io", Struct::of([("object", object.into()), ("rule", rule.into())]))
}

/// An address as it stands in a listener's name and in a domain.
pub(crate) fn ip_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Appends an encoded message to another as field `tag`: what re-encoding both would give, at the price of a copy.
pub(crate) fn append(into: &mut Vec<u8>, tag: u32, message: &[u8]) {
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, into);
    prost::encoding::encode_varint(message.len() as u64, into);
    into.extend_from_slice(message);
}
