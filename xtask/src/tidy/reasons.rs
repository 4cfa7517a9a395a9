//! Every direct dependency has its line of reason in docs/dependencies.md, and every line its dependency.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{complaint::Complaint, metadata::Metadata};

const FILE: &str = "docs/dependencies.md";

pub(super) fn check(root: &Path, metadata: &Metadata) -> Vec<Complaint> {
    let text = fs::read_to_string(root.join(FILE)).unwrap_or_default();
    let reasons: BTreeSet<&str> = text.lines().filter_map(dependency_with_reason).collect();
    let foreign = metadata
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.path.is_none());
    let used: BTreeSet<&str> = foreign.map(|dependency| dependency.name.as_str()).collect();
    let missing = used.difference(&reasons).map(|name| format!("no line of reason for `{name}`"));
    let stale = reasons.difference(&used).map(|name| format!("`{name}` is no longer used"));
    missing.chain(stale).map(|message| Complaint::new(FILE, 0, message)).collect()
}

/// The name in a row "| `name` | reason |" whose reason is not empty.
fn dependency_with_reason(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` |")?;
    let reason = rest.trim_matches(['|', ' ']);
    (!reason.is_empty()).then_some(name)
}
