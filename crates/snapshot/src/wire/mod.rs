//! Wire → runtime: one `from_wire` per message of Envoy's API.
//!
//! A field that is read is checked; a field that would change what happens and is not read refuses its resource by name
//! ([`unsupported`]); what only tunes or labels is passed over. Bytes in, compiled values or a [`Refused`] out; nothing
//! that a control plane can send panics.

#![expect(deprecated, reason = "a control plane may still send what Envoy's API calls deprecated")]

pub(crate) mod address;
pub(crate) mod chain;
pub(crate) mod cluster;
pub(crate) mod endpoints;
pub(crate) mod forward;
pub(crate) mod headers;
pub(crate) mod host;
pub(crate) mod http_manager;
pub(crate) mod listener;
pub(crate) mod log;
pub(crate) mod metadata;
pub(crate) mod names;
pub(crate) mod request_match;
pub(crate) mod retry;
pub(crate) mod rewrite;
pub(crate) mod text;
pub(crate) mod tls;

use std::{fmt, time::Duration};

use envoy_types::pb::google::protobuf;
use prost::{Message, Name};

/// A time that does not end, and that can still be added to a clock: ten years.
pub(crate) const FOREVER: Duration = Duration::from_hours(10 * 365 * 24);

/// Why a resource cannot be used: where in it, and what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    path: String,
    problem: String,
}

pub(crate) type Result<T> = std::result::Result<T, Refused>;

impl Refused {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { path: String::new(), problem: problem.into() }
    }

    fn within(mut self, field: impl fmt::Display) -> Self {
        self.path = if self.path.is_empty() { field.to_string() } else { format!("{field}.{}", self.path) };
        self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(out, "{}", self.problem),
            path => write!(out, "{path}: {}", self.problem),
        }
    }
}

/// Shorthand for a refusal.
pub(crate) fn refuse<T>(problem: impl Into<String>) -> Result<T> {
    Err(Refused::new(problem))
}

/// Says where a refusal was, from the inside out.
pub(crate) trait At {
    /// In this field.
    fn at(self, field: &str) -> Self;
    /// In this element of this repeated field.
    fn at_index(self, field: &str, index: usize) -> Self;
}

impl<T> At for Result<T> {
    fn at(self, field: &str) -> Self {
        self.map_err(|refused| refused.within(field))
    }

    fn at_index(self, field: &str, index: usize) -> Self {
        self.map_err(|refused| refused.within(format_args!("{field}[{index}]")))
    }
}

/// Converts each element, and names the one that is refused.
pub(crate) fn each<T, U>(field: &str, values: &[T], convert: impl Fn(&T) -> Result<U>) -> Result<Vec<U>> {
    values.iter().enumerate().map(|(index, value)| convert(value).at_index(field, index)).collect()
}

/// Refuses the first field that is present.
pub(crate) fn unsupported(fields: &[(&str, bool)]) -> Result<()> {
    match fields.iter().find(|(_, is_present)| *is_present) {
        Some((field, _)) => refuse("is not supported in this release").at(field),
        None => Ok(()),
    }
}

/// Decodes the message that a resource must be.
pub(crate) fn decode<T: Message + Default + Name>(body: &[u8]) -> Result<T> {
    T::decode(body).map_err(|error| Refused::new(format!("not a {}: {error}", T::full_name())))
}

/// Whether `any` says that it holds a `T`.
pub(crate) fn is<T: Name>(any: &protobuf::Any) -> bool {
    type_name(any) == T::full_name()
}

/// The full name of the message that `any` holds.
pub(crate) fn type_name(any: &protobuf::Any) -> &str {
    any.type_url.rsplit_once('/').map_or(any.type_url.as_str(), |(_, name)| name)
}

pub(crate) fn required<'a, T>(field: &str, value: Option<&'a T>) -> Result<&'a T> {
    value.ok_or_else(|| Refused::new("is required")).at(field)
}

/// A non-empty string.
pub(crate) fn named<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    if value.is_empty() { refuse("must not be empty").at(field) } else { Ok(value) }
}

/// `None` if unset. At most [`FOREVER`].
pub(crate) fn duration(field: &str, value: Option<&protobuf::Duration>) -> Result<Option<Duration>> {
    let Some(value) = value else { return Ok(None) };
    match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Some(Duration::new(seconds, nanos).min(FOREVER))),
        _ => refuse(format!("{}.{:09} s is no duration", value.seconds, value.nanos)).at(field),
    }
}

/// A timeout whose zero means that there is none.
pub(crate) fn timeout(field: &str, value: Option<&protobuf::Duration>, unset: Duration) -> Result<Option<Duration>> {
    let value = duration(field, value)?.unwrap_or(unset);
    Ok(if value.is_zero() { None } else { Some(value) })
}

pub(crate) fn is_true(value: Option<&protobuf::BoolValue>) -> bool {
    value.is_some_and(|value| value.value)
}

/// Whether a duration is set to more than nothing.
pub(crate) fn is_positive(value: Option<&protobuf::Duration>) -> bool {
    value.is_some_and(|value| value.seconds > 0 || value.nanos > 0)
}

pub(crate) fn number(value: Option<&protobuf::UInt32Value>) -> Option<u32> {
    value.map(|value| value.value)
}
