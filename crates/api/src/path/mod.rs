//! Field paths: `spec.http[0].match[1]`, `metadata.labels["app.kubernetes.io/name"]`.
//!
//! [`Path`] grows on the stack while a tree is walked and is printed only when there is something to say; [`steps`] reads a printed
//! one again.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt};

/// A place in a tree, as a list from the leaf to the root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, part: Part::Root };

    pub(crate) const fn is_root(&self) -> bool {
        matches!(self.part, Part::Root)
    }

    pub(crate) fn field(&'a self, name: &'a str) -> Self {
        Path { parent: Some(self), part: Part::Field(name) }
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Path { parent: Some(self), part: Part::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.part {
            Part::Root => Ok(()),
            Part::Index(index) => write!(f, "[{index}]"),
            Part::Field(name) if is_plain(name) => {
                let at_root = self.parent.is_none_or(Path::is_root);
                write!(f, "{}{name}", if at_root { "" } else { "." })
            }
            // A JSON string, so that it can be read again whatever it holds.
            Part::Field(name) => write!(f, "[{}]", serde_json::Value::from(name)),
        }
    }
}

/// Whether a name can stand after a dot.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// One step of a printed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Field(Cow<'a, str>),
    Index(usize),
}

/// The steps of a printed path; ends early where the text is no path.
pub(crate) fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let (step, after) = first_step(rest)?;
        rest = after;
        Some(step)
    })
}

fn first_step(path: &str) -> Option<(Step<'_>, &str)> {
    if path.starts_with("[\"") {
        let mut names = serde_json::Deserializer::from_str(&path[1..]).into_iter::<String>();
        let name = names.next()?.ok()?;
        let rest = path[1 + names.byte_offset()..].strip_prefix(']')?;
        return Some((Step::Field(name.into()), rest));
    }
    if let Some(index) = path.strip_prefix('[') {
        let (number, rest) = index.split_once(']')?;
        return Some((Step::Index(number.parse().ok()?), rest));
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    (end > 0).then(|| (Step::Field(Cow::Borrowed(&path[..end])), &path[end..]))
}
