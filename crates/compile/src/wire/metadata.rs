//! `Metadata` and `google.protobuf.Struct` with ordered maps.

use std::collections::BTreeMap;

/// `envoy.config.core.v3.Metadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) filter_metadata: BTreeMap<String, Struct>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub(crate) kind: Option<Kind>,
}

/// The kinds of a [`Value`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(ListValue),
}

/// `google.protobuf.ListValue`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ListValue {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<Value>,
}

impl Metadata {
    /// Puts `fields` under a filter's name; without fields nothing is put.
    pub(crate) fn with(mut self, filter: &str, fields: Struct) -> Metadata {
        if !fields.fields.is_empty() {
            self.filter_metadata.insert(filter.into(), fields);
        }
        self
    }

    /// `None` if nothing was put.
    pub(crate) fn some(self) -> Option<Metadata> {
        (!self.filter_metadata.is_empty()).then_some(self)
    }
}

impl Struct {
    pub(crate) fn of<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Struct {
        Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }
}

impl Value {
    pub(crate) fn list(values: Vec<Value>) -> Value {
        Value { kind: Some(Kind::List(ListValue { values })) }
    }

    pub(crate) fn number(value: f64) -> Value {
        Value { kind: Some(Kind::Number(value)) }
    }

    pub(crate) fn bool(value: bool) -> Value {
        Value { kind: Some(Kind::Bool(value)) }
    }

    pub(crate) fn null() -> Value {
        Value { kind: Some(Kind::Null(0)) }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value { kind: Some(Kind::String(text.to_owned())) }
    }
}

impl From<Struct> for Value {
    fn from(fields: Struct) -> Value {
        Value { kind: Some(Kind::Struct(fields)) }
    }
}
