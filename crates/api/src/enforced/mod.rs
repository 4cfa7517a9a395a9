//! What this release enforces of what it can read.
//!
//! The kinds of the mesh are listed whole in `table`: each field of their schemas is enforced there or not yet. A field that
//! stands in neither list is treated as one that restricts, so that forgetting a row fails closed; a test walks the schemas. For
//! Kubernetes' kinds only what has no effect is listed.
//!
//! A field that would restrict or encrypt and is not enforced refuses its object's traffic (design §4.22).

mod table;

#[cfg(test)]
mod tests;

use table::{NotYet, Row, State};

use crate::{
    finding::Severity,
    manifest,
    node::{Entry, Node, Value},
    object::{Kind, Object},
    path::Path,
    problem::Problem,
};

/// A field of an object that is present and not enforced in this release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unenforced {
    /// Field path, such as `spec.servers[1].tls`.
    pub path: String,
    /// The field would restrict or encrypt: its object's traffic is refused (design §4.22).
    pub restricts: bool,
    /// The planned work that will enforce it, or why nothing will here.
    pub issue: &'static str,
    /// Its line, from 1.
    pub line: u32,
    /// Nothing is lost by it on a single machine: worth a line, not a warning.
    pub harmless: bool,
}

impl Unenforced {
    /// Whether the field is `path` or lies below it.
    pub fn is_under(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    pub(crate) fn to_problem(&self) -> Problem {
        let (severity, message) = if self.restricts {
            (Severity::Warning, format!("not enforced yet ({}): what it would protect is refused", self.issue))
        } else if self.harmless {
            (Severity::Info, format!("has no effect here ({})", self.issue))
        } else {
            (Severity::Warning, format!("not enforced yet ({}): it has no effect", self.issue))
        };
        Problem { severity, path: self.path.clone(), line: Some(self.line), message, hint: None }
    }
}

/// The fields of an object that this release does not enforce; found when it was read.
pub fn unenforced(object: &Object) -> &[Unenforced] {
    &object.unenforced
}

/// Whether a directory with an object of this kind may only be used with `--allow-unenforced`: it exists to deny, and nothing
/// here denies yet.
pub const fn needs_allow_unenforced(kind: Kind) -> bool {
    matches!(kind, Kind::AuthorizationPolicy | Kind::RequestAuthentication)
}

/// The fields of a manifest that are present and not enforced, in the order of the file.
pub(crate) fn of(kind: Kind, root: &Node) -> Vec<Unenforced> {
    let mut found = Vec::new();
    let rows = table::rows(kind);
    if let Value::Map(entries) = &root.value {
        for entry in entries.iter().filter(|entry| table::is_content(kind, &entry.key)) {
            let mut walk = Walk { rows, whole: table::is_whole(kind), steps: Vec::new(), found: &mut found };
            walk.entry(entry, Path::ROOT, false);
        }
    }
    if kind == Kind::ConfigMap {
        found.extend(of_mesh_config(root));
    }
    if needs_allow_unenforced(kind) {
        // Who allowed it wants its traffic to pass, and is reminded.
        let (path, line) = ("spec".to_owned(), root.line);
        found.push(Unenforced { path, restricts: false, issue: table::SECURITY, line, harmless: false });
    }
    found
}

/// The same for the mesh configuration inside of a `ConfigMap`.
fn of_mesh_config(root: &Node) -> Vec<Unenforced> {
    let mut found = Vec::new();
    if let Some(Node { value: Value::Map(entries), .. }) = manifest::mesh_config(root) {
        for entry in &entries {
            let mut walk = Walk { rows: table::MESH_CONFIG, whole: true, steps: Vec::new(), found: &mut found };
            walk.entry(entry, Path::ROOT, false);
        }
    }
    for field in &mut found {
        field.path = manifest::mesh_path(&field.path);
    }
    found
}

/// A step of the path that leads to where a walk is; an index matches any index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<'a> {
    Field(&'a str),
    Index,
}

/// A walk over what is written down, comparing each place with the rows.
struct Walk<'n, 'f> {
    rows: &'static [Row],
    /// Every field of the kind has a row.
    whole: bool,
    steps: Vec<Step<'n>>,
    found: &'f mut Vec<Unenforced>,
}

impl<'n> Walk<'n, '_> {
    fn entry(&mut self, entry: &'n Entry, parent: Path<'_>, reported: bool) {
        if !entry.value.is_null() {
            self.steps.push(Step::Field(&entry.key));
            self.node(&entry.value, entry.line, parent.field(&entry.key), reported);
            self.steps.pop();
        }
    }

    /// `reported`: an ancestor is not enforced, and only what restricts is still news.
    fn node(&mut self, node: &'n Node, line: u32, path: Path<'_>, reported: bool) {
        let mut reported = reported;
        match self.state(node) {
            Some(State::NotYet(row)) if !reported || row.restricts => {
                self.report(row, line, path);
                if row.restricts {
                    return;
                }
                reported = true;
            }
            None if self.whole && !reported && matches!(node.value, Value::Text { .. }) => {
                self.report(&NotYet { restricts: true, issue: "unknown to this release", harmless: false }, line, path);
            }
            _ => {}
        }
        match &node.value {
            Value::Text { .. } => {}
            Value::Map(entries) => entries.iter().for_each(|entry| self.entry(entry, path, reported)),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.steps.push(Step::Index);
                    self.node(item, item.line, path.index(index), reported);
                    self.steps.pop();
                }
            }
        }
    }

    /// What the table says about this place; what is not enforced is looked for first.
    fn state(&self, node: &Node) -> Option<&'static State> {
        let fits = |row: &&Row| matches(row.path, &self.steps) && row.holds_for(node) && !is_empty(node);
        let not_yet =
            self.rows.iter().filter(fits).map(|row| &row.state).find(|state| matches!(state, State::NotYet(_)));
        not_yet.or_else(|| self.rows.iter().find(fits).map(|row| &row.state))
    }

    fn report(&mut self, row: &NotYet, line: u32, path: Path<'_>) {
        let &NotYet { restricts, issue, harmless } = row;
        self.found.push(Unenforced { path: path.to_string(), restricts, issue, line, harmless });
    }
}

/// An empty list says nothing; an empty mapping may (`tls: {}`).
fn is_empty(node: &Node) -> bool {
    matches!(&node.value, Value::List(items) if items.is_empty())
}

/// Whether a row's path leads to `steps`: names with `[]` for an index; a name may end in `*`; `**` at the end takes what is below.
fn matches(pattern: &str, steps: &[Step<'_>]) -> bool {
    let mut steps = steps.iter();
    for part in pattern.split('.') {
        if part == "**" {
            return true;
        }
        let (name, indexed) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        match steps.next() {
            Some(Step::Field(field)) if name_matches(name, field) => {}
            _ => return false,
        }
        if indexed && steps.next() != Some(&Step::Index) {
            return false;
        }
    }
    steps.next().is_none()
}

fn name_matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}
