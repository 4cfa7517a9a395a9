//! Field path → line: the shape of a parsed object without its values.

use crate::path::steps;

/// The line of every field of one object.
///
/// Kept beside the content and never part of it, so that a comment above a route changes no resource (design §4.8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineMap {
    pub(crate) line: u32,
    pub(crate) children: Children,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Children {
    #[default]
    None,
    Fields(Box<[(Box<str>, LineMap)]>),
    Items(Box<[LineMap]>),
}

impl LineMap {
    /// The line (from 1) of `path`, such as `spec.http[0].match[1]` or `metadata.labels["app.kubernetes.io/name"]`,
    /// or of its nearest ancestor that is written down.
    pub fn line_of(&self, path: &str) -> u32 {
        let mut at = self;
        for step in steps(path) {
            match at.child(&step) {
                Some(child) => at = child,
                None => break,
            }
        }
        at.line
    }

    fn child(&self, step: &crate::path::Step<'_>) -> Option<&Self> {
        match (&self.children, step) {
            (Children::Fields(fields), crate::path::Step::Field(name)) => {
                fields.iter().find(|(key, _)| key.as_ref() == name.as_ref()).map(|(_, child)| child)
            }
            (Children::Items(items), crate::path::Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }
}
