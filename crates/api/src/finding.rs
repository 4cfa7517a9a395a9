//! What there is to say about a file: findings, refusals, and what was left aside.

use std::{fmt, sync::Arc};

use crate::object::{Object, ObjectId};

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// What it is about was refused.
    Error,
    /// What it is about is in force, and something is likely not as meant.
    Warning,
    Info,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing a user should know, with all that is needed to mend it.
///
/// Displays on one line: `error: VirtualService/default/reviews: spec.http[0].timeout: expected … (reviews.yaml:12); for example: 3s`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub object: Option<ObjectId>,
    /// Field path within the object (`spec.http[0].timeout`); empty where the finding is about the whole.
    pub path: String,
    /// The file as the source named it.
    pub file: Arc<str>,
    /// From 1; 0 where no line is known.
    pub line: u32,
    pub message: String,
    /// A nearby valid value, or the nearest known name.
    pub hint: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match self.line {
            0 => write!(f, " ({})", self.file)?,
            line => write!(f, " ({}:{line})", self.file)?,
        }
        match &self.hint {
            Some(hint) => write!(f, "; for example: {hint}"),
            None => Ok(()),
        }
    }
}

/// An object that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Its name, if as much could be read.
    pub object: Option<ObjectId>,
    /// Why; at least one error.
    pub findings: Vec<Finding>,
}

/// A document that is none of ours: another kind or version, or no Kubernetes object at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUsed {
    /// `apiVersion kind`, or what the document seems to be.
    pub what: String,
    pub line: u32,
}

/// All that one file holds.
#[derive(Debug, Default)]
pub struct FileResult {
    pub objects: Vec<Object>,
    pub rejected: Vec<Rejection>,
    pub not_used: Vec<NotUsed>,
    /// The text could not be parsed: nothing can be said about its objects.
    pub unparsable: Option<Finding>,
    /// The text could not be parsed, and for this reason it probably is not ours (a Helm template): if it never held an object, no error.
    pub foreign: Option<NotUsed>,
    /// The file holds nothing, or a fragment without a single key, as while an editor rewrites it.
    pub blank: bool,
}
