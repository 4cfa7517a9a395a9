//! Gate: the shape of the repository (CONTRIBUTING.md, "Gates").
//!
//! In: every text file of the tree. Out: complaints.
//!
//! ```text
//! walk ──► *.rs ──► rust (headers, sizes, tests, SAFETY) ──► ratchet (known excess, only ever smaller)
//!      ├─► *.md ──► links
//!      ├─► all  ──► paths (nothing that exists on one machine only)
//!      └─► cargo metadata + docs/dependencies.md ──► reasons
//! ```

mod links;
mod paths;
mod ratchet;
mod reasons;
mod rust;
mod walk;

use std::path::Path;

use anyhow::Result;

use crate::{complaint::Complaint, metadata::Metadata};

pub(crate) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<Complaint>> {
    let mut complaints = check_tree(root)?;
    complaints.extend(reasons::check(root, metadata));
    complaints.sort();
    Ok(complaints)
}

/// Everything that needs no `cargo metadata`.
fn check_tree(root: &Path) -> Result<Vec<Complaint>> {
    let mut complaints = Vec::new();
    let mut excess = Vec::new();
    for path in walk::files(root)? {
        let file = path.strip_prefix(root)?.display().to_string();
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue; // not text: pictures
        };
        complaints.extend(paths::check(&file, &text));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => {
                complaints.extend(rust::check(&file, &text));
                excess.extend(rust::sizes(&file, &text));
            }
            Some("md") => complaints.extend(links::check(root, &file, &text)),
            _ => {}
        }
    }
    complaints.extend(ratchet::check(root, &excess));
    complaints.sort();
    Ok(complaints)
}

#[cfg(test)]
mod tests;
