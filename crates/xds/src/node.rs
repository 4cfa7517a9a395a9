//! Who a client says it is: the node of its first request, made of plain values.

use envoy_types::pb::{
    envoy::config::core::v3::{Extension, Node},
    google::protobuf::{ListValue, Struct, Value, value::Kind},
};
use serde_json::Value as Json;

/// The facts of a node (Envoy `config.core.v3.Node`), without protobuf.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// Istio's `type~ip~name.namespace~domain`.
    pub id: String,
    pub cluster: String,
    pub user_agent: String,
    pub metadata: serde_json::Map<String, Json>,
    /// Names for `node.extensions`: what the client can do.
    pub capabilities: Vec<String>,
}

impl NodeFacts {
    /// The message.
    pub fn to_wire(self) -> Node {
        let extension = |name| Extension { name, ..Extension::default() };
        Node {
            id: self.id,
            cluster: self.cluster,
            metadata: Some(fields(self.metadata)),
            user_agent_name: self.user_agent,
            extensions: self.capabilities.into_iter().map(extension).collect(),
            ..Node::default()
        }
    }
}

fn fields(map: serde_json::Map<String, Json>) -> Struct {
    Struct { fields: map.into_iter().map(|(name, json)| (name, value(json))).collect() }
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Json::String(value) => Kind::StringValue(value),
        Json::Array(values) => Kind::ListValue(ListValue { values: values.into_iter().map(value).collect() }),
        Json::Object(map) => Kind::StructValue(fields(map)),
    };
    Value { kind: Some(kind) }
}
