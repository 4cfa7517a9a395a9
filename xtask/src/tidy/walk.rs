//! The files that tidy looks at: the tree without build output, hidden directories and the gates' own fixtures.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Directories that are not sources. `.ci` and `.cargo` are hidden but ours.
const SKIPPED: &[&str] = &["target", "node_modules", "fixtures", "out"];
const HIDDEN_KEPT: &[&str] = &[".ci", ".cargo"];

/// Every file below `root`, sorted.
pub(super) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let entries = fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let hidden = name.starts_with('.') && !HIDDEN_KEPT.contains(&name.as_str());
                if !hidden && !SKIPPED.contains(&name.as_str()) {
                    pending.push(entry.path());
                }
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
