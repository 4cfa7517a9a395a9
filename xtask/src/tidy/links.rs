//! Links of Markdown files: a relative target exists, and so does the heading that its fragment names.

use std::{fs, path::Path};

use crate::complaint::Complaint;

pub(super) fn check(root: &Path, file: &str, text: &str) -> Vec<Complaint> {
    let own_directory = root.join(file).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut complaints = Vec::new();
    for (line, target) in targets(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
        let path = if path.is_empty() { root.join(file) } else { own_directory.join(path) };
        if !path.exists() {
            complaints.push(Complaint::new(file, line, format!("link to `{target}`: no such file")));
        } else if !fragment.is_empty() && !fs::read_to_string(&path).is_ok_and(|text| has_heading(&text, fragment)) {
            complaints.push(Complaint::new(file, line, format!("link to `{target}`: no such heading")));
        }
    }
    complaints
}

/// The targets of inline links, with their lines; code blocks and code spans hold none.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for prose in line.split('`').step_by(2) {
            let links = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            found.extend(links.map(|(target, _)| (at + 1, target)));
        }
    }
    found
}

/// GitHub's rule: lower case, spaces to hyphens, other punctuation dropped.
fn has_heading(text: &str, fragment: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(slug).any(|slug| slug == fragment)
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
}
