//! Nothing in the repository names what exists on one machine only.

use crate::complaint::Complaint;

/// Taken apart, so that this file passes its own gate.
const FOREIGN: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("../sha", "red/"),
];

pub(super) fn check(file: &str, text: &str) -> Vec<Complaint> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(at, line)| {
            let path = FOREIGN.iter().find(|path| starts_a_path(line, path))?;
            Some(Complaint::new(file, at + 1, format!("`{path}…` exists on one machine only")))
        })
        .collect()
}

/// Whether `path` stands in `line` as the start of a path, not in its middle (`/a/home/b` is anyone's).
fn starts_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || matches!(letter, '/' | '.' | '-' | '_' | '}' | '$'))
    })
}
