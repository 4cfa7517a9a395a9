//! The structured part of a NACK: which resources of a response were refused, and why.
//!
//! In: [`Rejection`]s. Out: a `google.rpc.Status` whose details hold one `google.rpc.BadRequest` with a field
//! violation per resource (field = resource name), and back. Envoy sends no details: then nothing is named.

use envoy_types::pb::google::{protobuf::Any, rpc::Status};
use prost::Message;

/// `google.rpc.Code.INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;
const BAD_REQUEST_TYPE: &str = "type.googleapis.com/google.rpc.BadRequest";
/// Longest message kept from a client, in bytes; the rest is cut.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A resource that a client refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub name: String,
    pub message: String,
}

// <https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto>
#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

/// The error detail of a NACK that names these resources.
pub fn to_wire(rejections: &[Rejection]) -> Status {
    let violation = |r: &Rejection| FieldViolation { field: r.name.clone(), description: r.message.clone() };
    let details = BadRequest { field_violations: rejections.iter().map(violation).collect() };
    let message = match rejections {
        [] => String::new(),
        [one] => format!("{}: {}", one.name, one.message),
        [first, ..] => format!("{} resources refused, first {}: {}", rejections.len(), first.name, first.message),
    };
    Status {
        code: INVALID_ARGUMENT,
        message,
        details: vec![Any { type_url: BAD_REQUEST_TYPE.to_owned(), value: details.encode_to_vec() }],
    }
}

/// The resources that a NACK names; empty if it names none, which refuses the whole response.
pub fn from_wire(status: &Status) -> Vec<Rejection> {
    status
        .details
        .iter()
        .filter(|detail| detail.type_url == BAD_REQUEST_TYPE)
        .filter_map(|detail| BadRequest::decode(detail.value.as_slice()).ok())
        .flat_map(|request| request.field_violations)
        .map(|violation| Rejection { name: violation.field, message: cut(&violation.description) })
        .collect()
}

/// The first [`MESSAGE_BYTES_MAX`] bytes of `text`, at a character's boundary.
pub(crate) fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX);
    text[..end].to_owned()
}
