//! [`Node`] → any type that serde can read.
//!
//! Errors name the field's path, its line, what was expected and what stands there. A field that a struct does not have is reported
//! with the nearest name that it has, and reading goes on, so that all of them are found at once. A field that is null is absent,
//! as in protobuf's JSON and in Kubernetes.

use std::fmt;

use serde::{
    de::{
        self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{Entry, Node, Scalar, Value};
use crate::{
    finding::Severity,
    path::Path,
    problem::{Problem, Problems},
};

/// Keys of every object's root: read elsewhere, or written by a server and ignored.
const ROOT_KEYS: &[&str] = &["apiVersion", "kind", "metadata"];
/// Written by a server; ignored unless the type reads it.
const STATUS_KEY: &str = "status";
/// A longer word is no slip of a known name.
const SLIP_BYTES_MAX: usize = 64;
/// At most so many unknown fields of one place are named.
const UNKNOWN_NAMED_MAX: usize = 20;
/// At most so many names are listed where none is near.
const LISTED_NAMES_MAX: usize = 16;

/// Reads `node`, which stands at `path` of an object. Unknown fields, and the error that stopped the reading, go to `problems`.
pub(crate) fn read<T: de::DeserializeOwned>(node: &Node, path: Path<'_>, problems: &Problems) -> Option<T> {
    match T::deserialize(Reader { node, path, problems }) {
        Ok(value) => Some(value),
        Err(ReadError(problem)) => {
            problems.push(*problem);
            None
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    path: Path<'a>,
    problems: &'a Problems,
}

/// A problem; without a line until the innermost reader that sees it puts its own place in.
#[derive(Debug)]
struct ReadError(Box<Problem>);

impl Reader<'_> {
    fn locate(&self, error: ReadError) -> ReadError {
        let ReadError(mut problem) = error;
        if problem.line.is_none() {
            problem.line = Some(self.node.line);
            problem.path = self.path.to_string();
        }
        ReadError(problem)
    }

    fn expected(&self, what: impl fmt::Display, hint: Option<String>) -> ReadError {
        self.locate(ReadError::new(format!("expected {what}, found {}", self.node.describe()), hint))
    }

    fn integer(&self, range: std::ops::RangeInclusive<i128>) -> Result<i128, ReadError> {
        let number = match self.node.scalar() {
            Some(Scalar::Int(number)) => number,
            // Protobuf's JSON writes 64-bit integers as strings.
            Some(Scalar::Text(text)) if *range.end() > i128::from(u32::MAX) && text.parse::<i128>().is_ok() => {
                text.parse().unwrap_or_default()
            }
            Some(Scalar::Text(text)) => {
                let unquoted = text.parse::<i128>().ok().map(|number| number.to_string());
                return Err(self.expected(wanted_integer(&range), unquoted));
            }
            _ => return Err(self.expected(wanted_integer(&range), None)),
        };
        if range.contains(&number) { Ok(number) } else { Err(self.expected(wanted_integer(&range), None)) }
    }

    fn string(&self) -> Result<&str, ReadError> {
        match (&self.node.value, self.node.scalar()) {
            (Value::Text { text, .. }, Some(Scalar::Text(_))) => Ok(text),
            (Value::Text { text, .. }, Some(Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_))) => {
                Err(self.expected("a string", Some(format!("{text:?}"))))
            }
            _ => Err(self.expected("a string", None)),
        }
    }

    /// Reports the keys that a struct with `fields` does not have.
    fn report_unknown(&self, entries: &[Entry], fields: &[&str]) {
        let unknown = |entry: &&Entry| !fields.contains(&entry.key.as_ref()) && !self.is_ignored(&entry.key);
        for entry in entries.iter().filter(unknown).take(UNKNOWN_NAMED_MAX) {
            self.problems.push(Problem {
                severity: Severity::Error,
                path: self.path.field(&entry.key).to_string(),
                line: Some(entry.line),
                message: format!("unknown field `{}`; {}", entry.key, suggestion(&entry.key, fields)),
                hint: None,
            });
        }
    }

    fn is_ignored(&self, key: &str) -> bool {
        self.path.is_root() && (ROOT_KEYS.contains(&key) || key == STATUS_KEY)
    }
}

fn wanted_integer(range: &std::ops::RangeInclusive<i128>) -> String {
    format!("an integer from {} to {}", range.start(), range.end())
}

/// The nearest of `known`, or all of them if they are few.
fn suggestion(word: &str, known: &[&str]) -> String {
    if let Some(near) = nearest(word, known) {
        return format!("did you mean `{near}`?");
    }
    let listed: Vec<&str> = known.iter().copied().take(LISTED_NAMES_MAX).collect();
    let more = if known.len() > LISTED_NAMES_MAX { ", …" } else { "" };
    if listed.is_empty() { "no field is known here".into() } else { format!("known here: {}{more}", listed.join(", ")) }
}

/// The known name that `word` most likely means: same letters in another case, or few edits away.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > SLIP_BYTES_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// An integer type: its range, and the visitor's method for it.
macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let number = self.integer(i128::from(<$type>::MIN)..=i128::from(<$type>::MAX))?;
            visitor.$visit(number as $type).map_err(|error| self.locate(error))
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let located = |error| self.locate(error);
        match (&self.node.value, self.node.scalar()) {
            (Value::List(_), _) => self.deserialize_seq(visitor),
            (Value::Map(_), _) => self.deserialize_map(visitor),
            (_, Some(Scalar::Bool(value))) => visitor.visit_bool(value).map_err(located),
            (_, Some(Scalar::Int(value))) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => visitor.visit_i64(value).map_err(located),
                (_, Ok(value)) => visitor.visit_u64(value).map_err(located),
                _ => visitor.visit_f64(value as f64).map_err(located),
            },
            (_, Some(Scalar::Float(value))) => visitor.visit_f64(value).map_err(located),
            (_, Some(Scalar::Text(value))) => visitor.visit_str(value).map_err(located),
            (_, Some(Scalar::Null) | None) => visitor.visit_unit().map_err(located),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.scalar() {
            Some(Scalar::Bool(value)) => visitor.visit_bool(value).map_err(|error| self.locate(error)),
            Some(Scalar::Text(text)) => {
                let meant = match text.to_lowercase().as_str() {
                    "true" | "yes" | "on" => Some("true".into()),
                    "false" | "no" | "off" => Some("false".into()),
                    _ => None,
                };
                Err(self.expected("`true` or `false`", meant))
            }
            _ => Err(self.expected("`true` or `false`", None)),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.scalar() {
            Some(Scalar::Float(value)) => visitor.visit_f64(value).map_err(|error| self.locate(error)),
            Some(Scalar::Int(value)) => visitor.visit_f64(value as f64).map_err(|error| self.locate(error)),
            _ => Err(self.expected("a number", None)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_str(self.string()?).map_err(|error| self.locate(error))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Value::List(items) = &self.node.value else { return Err(self.expected("a list", None)) };
        visitor.visit_seq(Items { of: self, items: items.iter().enumerate() }).map_err(|error| self.locate(error))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Value::Map(entries) = &self.node.value else { return Err(self.expected("a mapping", None)) };
        visitor.visit_map(Entries::new(self, entries, false)).map_err(|error| self.locate(error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        #[cfg_attr(not(test), expect(unused_variables, reason = "tests note which structs were read"))]
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Value::Map(entries) = &self.node.value else {
            let some: Vec<&str> = fields.iter().copied().filter(|field| !ROOT_KEYS.contains(field)).take(8).collect();
            return Err(self.expected(format_args!("a mapping ({})", some.join(", ")), None));
        };
        #[cfg(test)]
        super::seen::record(name, fields, entries);
        self.report_unknown(entries, fields);
        visitor.visit_map(Entries::new(self, entries, true)).map_err(|error| self.locate(error))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let word: StrDeserializer<'_, ReadError> = self.string()?.into_deserializer();
        visitor.visit_enum(word).map_err(|error| self.locate(error))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier }
}

struct Items<'a> {
    of: Reader<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let item = Reader { node, path: self.of.path.index(index), problems: self.of.problems };
        seed.deserialize(item).map(Some).map_err(|error| item.locate(error))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'a> {
    of: Reader<'a>,
    rest: std::slice::Iter<'a, Entry>,
    current: Option<&'a Entry>,
    /// In a struct, null is absent, and the root's own keys are not fields; in a map, every key counts.
    is_struct: bool,
}

impl<'a> Entries<'a> {
    fn new(of: Reader<'a>, entries: &'a [Entry], is_struct: bool) -> Self {
        Self { of, rest: entries.iter(), current: None, is_struct }
    }

    fn is_skipped(&self, entry: &Entry) -> bool {
        self.is_struct && (entry.value.is_null() || (self.of.path.is_root() && ROOT_KEYS.contains(&entry.key.as_ref())))
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.current = loop {
            match self.rest.next() {
                Some(entry) if self.is_skipped(entry) => {}
                next => break next,
            }
        };
        let Some(entry) = self.current else { return Ok(None) };
        let key: StrDeserializer<'_, ReadError> = entry.key.as_ref().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let entry = self
            .current
            .take()
            .ok_or_else(|| <ReadError as de::Error>::custom("a value was asked for before its key"))?;
        let value = Reader { node: &entry.value, path: self.of.path.field(&entry.key), problems: self.of.problems };
        seed.deserialize(value).map_err(|error| value.locate(error))
    }
}

impl ReadError {
    fn new(message: String, hint: Option<String>) -> Self {
        Self(Box::new(Problem { severity: Severity::Error, path: String::new(), line: None, message, hint }))
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), None)
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {unexpected}"), None)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        let hint = nearest(word, known).map(ToOwned::to_owned);
        Self::new(format!("expected one of {}, found {word:?}", known.join(", ")), hint)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is required"), None)
    }
}
