//! Rules for one Rust file, read as words of code (no parser): header, tests, `SAFETY`, sizes.

use crate::{
    complaint::Complaint,
    lex::{code_only, is_word, line_of, words},
};

/// Lines of a file.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// A file or function over its limit; [`super::ratchet`] decides whether that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excess {
    pub(super) file: String,
    pub(super) line: usize,
    /// `path` of a file, `path::function` of a function (the first of its name counts for all).
    pub(super) item: String,
    pub(super) lines: usize,
    pub(super) lines_max: usize,
}

/// Words that no code may hold, and why.
const BANNED: &[(&str, &str)] = &[
    ("#[ignore", "an ignored test is no test"),
    ("should_panic", "assert on the error instead of a panic"),
    ("todo!", "write it or leave it out"),
    ("unimplemented!", "write it or leave it out"),
];

pub(super) fn check(file: &str, text: &str) -> Vec<Complaint> {
    let code = code_only(text);
    let mut complaints = Vec::new();
    if !text.starts_with("//!") {
        complaints.push(Complaint::new(file, 1, "opens with `//!`: what it knows, what goes in and comes out"));
    }
    for (word, reason) in BANNED {
        let found = code.match_indices(word).filter(|(at, _)| *at == 0 || !is_word(code.as_bytes()[at - 1]));
        complaints.extend(found.map(|(at, _)| Complaint::new(file, line_of(&code, at), format!("`{word}`: {reason}"))));
    }
    if is_test(file) {
        complaints.extend(sleeps(file, text, &code));
    }
    complaints.extend(unproved(file, text, &code));
    complaints
}

/// Test code: `tests.rs`, or anything below a crate's `tests/`. The tools in `tests/peer` are programs, not tests.
fn is_test(file: &str) -> bool {
    let is_tool = file.starts_with("tests/peer/") && !file.ends_with("tests.rs");
    !is_tool && (file.ends_with("/tests.rs") || file.contains("/tests/") || file.starts_with("tests/"))
}

/// A test waits for a condition with a deadline; between two looks at it, it may sleep, and says so by `// poll:`.
fn sleeps(file: &str, text: &str, code: &str) -> Vec<Complaint> {
    let lines: Vec<&str> = text.lines().collect();
    let is_poll = |line: usize| {
        [line.checked_sub(2), Some(line - 1)].into_iter().flatten().any(|at| lines[at].contains("// poll:"))
    };
    let calls = ["sleep", "sleep_until"].into_iter().flat_map(|word| words(code, word));
    calls
        .filter(|at| code[*at..].split_once('(').is_some_and(|(name, _)| name.bytes().all(is_word)))
        .map(|at| line_of(code, at))
        .filter(|line| !is_poll(*line))
        .map(|line| {
            Complaint::new(
                file,
                line,
                "a fixed sleep in a test: wait for a condition with a deadline (its pause is marked `// poll:`)",
            )
        })
        .collect()
}

/// Each `unsafe` block or impl has its proof in the comment that ends right above it.
fn unproved(file: &str, text: &str, code: &str) -> Vec<Complaint> {
    let lines: Vec<&str> = text.lines().collect();
    words(code, "unsafe")
        .filter(|at| {
            let next = code[at + "unsafe".len()..].trim_start();
            next.starts_with('{') || next.starts_with("impl")
        })
        .map(|at| line_of(code, at))
        .filter(|line| !is_proved(&lines[..*line]))
        .map(|line| Complaint::new(file, line, "`unsafe` without the proof `// SAFETY:` right above it"))
        .collect()
}

/// `lines` ends with the line of the `unsafe`; the proof may stand on it, or above it in comments or in the same statement.
fn is_proved(lines: &[&str]) -> bool {
    let mut above = lines.iter().rev();
    if above.next().is_some_and(|line| line.contains("// SAFETY:")) {
        return true;
    }
    above
        .take_while(|line| line.trim_start().starts_with("//") || is_open_statement(line))
        .any(|line| line.contains("// SAFETY:"))
}

/// A line that the next one continues, such as `let n =`.
fn is_open_statement(line: &str) -> bool {
    let line = line.trim_end();
    line.ends_with('=') || line.ends_with('(') || line.ends_with("||") || line.ends_with("&&")
}

/// The file itself and each of its functions that is over the limit.
pub(super) fn sizes(file: &str, text: &str) -> Vec<Excess> {
    let code = code_only(text);
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(Excess { file: file.to_owned(), line: 0, item: file.to_owned(), lines, lines_max: FILE_LINES_MAX });
    }
    for function in functions(&code).filter(|function| function.lines > FUNCTION_LINES_MAX) {
        let item = format!("{file}::{}", function.name);
        found.push(Excess {
            file: file.to_owned(),
            line: function.line,
            item,
            lines: function.lines,
            lines_max: FUNCTION_LINES_MAX,
        });
    }
    found
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

/// The functions with a body.
fn functions(code: &str) -> impl Iterator<Item = Function<'_>> {
    words(code, "fn").filter_map(|at| {
        let rest = &code[at + 2..];
        let name_start = rest.len() - rest.trim_start().len();
        let name_len = rest[name_start..].bytes().take_while(|byte| is_word(*byte)).count();
        if name_len == 0 {
            return None; // a function's type: `fn(u8)`
        }
        let end = body_end(&code[at..])?;
        let lines = code[at..at + end].matches('\n').count() + 1;
        Some(Function { name: &rest[name_start..name_start + name_len], line: line_of(code, at), lines })
    })
}

/// Where the body of the function that starts `code` ends; `None` for a declaration without one.
fn body_end(code: &str) -> Option<usize> {
    let (mut round, mut curly) = (0usize, 0usize);
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round = round.saturating_sub(1),
            b';' if round == 0 && curly == 0 => return None,
            b'{' => curly += 1,
            b'}' => {
                curly = curly.checked_sub(1)?;
                if curly == 0 && round == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
