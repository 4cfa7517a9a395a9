//! A [`Finding`] that does not yet know its object and file, and the places where checks hang their problems.

use std::{cell::RefCell, sync::Arc};

use crate::{
    finding::{Finding, Severity},
    lines::LineMap,
    object::ObjectId,
    path::Path,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) path: String,
    /// `None`: the line of `path`.
    pub(crate) line: Option<u32>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    /// An error about a line.
    pub(crate) fn error(line: u32, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, path: String::new(), line: Some(line), message: message.into(), hint: None }
    }

    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    pub(crate) fn into_finding(self, object: Option<&ObjectId>, file: &Arc<str>, lines: &LineMap) -> Finding {
        let line = self.line.unwrap_or_else(|| lines.line_of(&self.path));
        Finding {
            severity: self.severity,
            object: object.cloned(),
            path: self.path,
            file: Arc::clone(file),
            line,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// Collects what a walk over a value has to say.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(crate) fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.0.borrow().iter().any(Problem::is_error)
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(problems: Vec<Problem>) -> Self {
        Self(RefCell::new(problems))
    }
}

/// A place in a value under check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    path: Path<'a>,
    problems: &'a Problems,
}

impl<'a> At<'a> {
    pub(crate) fn root(problems: &'a Problems) -> Self {
        Self { path: Path::ROOT, problems }
    }

    pub(crate) fn field<'b>(&'b self, name: &'b str) -> At<'b> {
        At { path: self.path.field(name), problems: self.problems }
    }

    pub(crate) fn index(&self, index: usize) -> At<'_> {
        At { path: self.path.index(index), problems: self.problems }
    }

    /// Refuses the object. `hint` is a nearby valid value.
    pub(crate) fn error(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Error, message.into(), hint.into());
    }

    pub(crate) fn warn(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Warning, message.into(), hint.into());
    }

    fn push(&self, severity: Severity, message: String, hint: String) {
        let hint = Some(hint).filter(|hint| !hint.is_empty());
        self.problems.push(Problem { severity, path: self.path.to_string(), line: None, message, hint });
    }
}
