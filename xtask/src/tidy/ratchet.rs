//! Known excess: `xtask/ratchet.txt`, which only shrinks.
//!
//! A line is `LINES ITEM REASON`. An item not listed, or grown beyond its figure, is a complaint; so is a figure that is
//! larger than the item has become, and a line for what is no longer too long: the file always says the truth.

use std::{collections::BTreeMap, fs, path::Path};

use super::rust::Excess;
use crate::complaint::Complaint;

const FILE: &str = "xtask/ratchet.txt";

struct Allowed<'a> {
    line: usize,
    lines: usize,
    reason: &'a str,
}

pub(super) fn check(root: &Path, excess: &[Excess]) -> Vec<Complaint> {
    let text = fs::read_to_string(root.join(FILE)).unwrap_or_default();
    let mut complaints = Vec::new();
    let mut allowed = parse(&text, &mut complaints);
    for item in largest(excess) {
        match allowed.remove(item.item.as_str()) {
            Some(entry) if item.lines < entry.lines => {
                complaints.push(Complaint::new(
                    FILE,
                    entry.line,
                    format!("`{}` shrank: lower its figure to {}", item.item, item.lines),
                ));
            }
            Some(entry) if item.lines == entry.lines => {
                if entry.reason.is_empty() {
                    complaints.push(Complaint::new(FILE, entry.line, format!("`{}` has no reason", item.item)));
                }
            }
            known => {
                let limit = known.map_or(item.lines_max, |entry| entry.lines);
                let message = format!("`{}` has {} lines, at most {limit}", item.item, item.lines);
                complaints.push(Complaint::new(&item.file, item.line, message));
            }
        }
    }
    complaints.extend(
        allowed.iter().map(|(item, entry)| {
            Complaint::new(FILE, entry.line, format!("`{item}` is within its limit: drop the line"))
        }),
    );
    complaints
}

fn parse<'a>(text: &'a str, complaints: &mut Vec<Complaint>) -> BTreeMap<&'a str, Allowed<'a>> {
    let mut allowed = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let mut fields = line.splitn(3, ' ');
        let lines = fields.next().and_then(|figure| figure.parse().ok());
        match (lines, fields.next()) {
            (Some(lines), Some(item)) => {
                allowed.insert(item, Allowed { line: at + 1, lines, reason: fields.next().unwrap_or_default() });
            }
            _ => complaints.push(Complaint::new(FILE, at + 1, "expected `LINES ITEM REASON`")),
        }
    }
    allowed
}

/// Functions of one name in one file share a line: the longest stands for them.
fn largest(excess: &[Excess]) -> Vec<&Excess> {
    let mut by_item: BTreeMap<&str, &Excess> = BTreeMap::new();
    for item in excess {
        let entry = by_item.entry(&item.item).or_insert(item);
        if item.lines > entry.lines {
            *entry = item;
        }
    }
    by_item.into_values().collect()
}
