//! A document as a tree in which every key and value knows its place.
//!
//! [`parse`] makes it from YAML events (JSON is YAML); [`read`] turns it into typed values with errors that say where and what was
//! expected. Scalars keep their text: whether `1.10` is a number or a version is decided by whoever asks.

mod parse;
mod read;
mod scalar;

#[cfg(test)]
pub(crate) mod seen;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(crate) use parse::{Document, SyntaxError, parse};
pub(crate) use read::{nearest, read};
pub(crate) use scalar::Scalar;

use crate::lines::{Children, LineMap};

/// A value and where it begins; line and column count from 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text { text: Box<str>, style: Style },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// How a scalar was written: only a plain one can be other than a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    /// In quotes, or as a block; the line is the one on which the text itself begins.
    Quoted,
}

/// A key with its value; the line is the key's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Box<str>,
    pub(crate) line: u32,
    pub(crate) value: Node,
}

impl Node {
    /// The value under `key`, if this is a mapping that has it with a value other than null.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .find(|entry| entry.key.as_ref() == key)
                .map(|entry| &entry.value)
                .filter(|value| !value.is_null()),
            _ => None,
        }
    }

    /// The text, if this is a scalar other than null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.scalar() == Some(Scalar::Null)
    }

    /// What a scalar means, `None` for a list or mapping.
    pub(crate) fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.value {
            Value::Text { text, style: Style::Plain } => Some(Scalar::resolve(text)),
            Value::Text { text, .. } => Some(Scalar::Text(text)),
            _ => None,
        }
    }

    /// What stands here, in words: `the number 1.10`, `a list`.
    pub(crate) fn describe(&self) -> Cow<'static, str> {
        match &self.value {
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
            Value::Text { text, .. } => {
                let short: String = text.chars().take(40).collect();
                match self.scalar() {
                    Some(Scalar::Null) => "nothing".into(),
                    Some(Scalar::Bool(_)) => format!("`{short}`").into(),
                    Some(Scalar::Int(_) | Scalar::Float(_)) => format!("the number {short}").into(),
                    _ => format!("the text {short:?}").into(),
                }
            }
        }
    }

    /// Moves the tree `by` lines down, to where the text around it begins.
    pub(crate) fn shift_lines(&mut self, by: u32) {
        self.line += by;
        match &mut self.value {
            Value::Text { .. } => {}
            Value::List(items) => items.iter_mut().for_each(|item| item.shift_lines(by)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.line += by;
                entry.value.shift_lines(by);
            }),
        }
    }

    /// The positions of everything at and below this node.
    pub(crate) fn line_map(&self) -> LineMap {
        let children = match &self.value {
            Value::Text { .. } => Children::None,
            Value::List(items) => Children::Items(items.iter().map(Self::line_map).collect()),
            Value::Map(entries) => Children::Fields(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), LineMap { line: entry.line, ..entry.value.line_map() }))
                    .collect(),
            ),
        };
        LineMap { line: self.line, children }
    }
}
