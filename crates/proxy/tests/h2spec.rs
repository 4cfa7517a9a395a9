//! The HTTP/2 conformance suite h2spec (a Go program that `make test` sets up) against a listener.

mod common;

use std::process::Command;

use common::Mesh;

/// Cases that fail, and why that is right.
const KNOWN: &[(&str, &str)] = &[(
    "Sends invalid connection preface",
    "the port serves HTTP/1 too: bytes that are no preface are answered as HTTP/1, with 400 and a close",
)];

#[test]
fn conformance() {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/bin/h2spec");
    assert!(std::path::Path::new(tool).exists(), "no {tool}: `make test` sets it up (ci/setup)");
    let mesh = Mesh::start(1);
    let output = Command::new(tool)
        .args(["-h", "127.0.0.1", "-o", "3", "-P", "/h1/hello", "-p", &mesh.port.to_string()])
        .output()
        .expect("h2spec runs");
    let text = String::from_utf8_lossy(&output.stdout);
    // The summary repeats each failed case, indented, after a line "Failures:".
    let failures: Vec<&str> = text
        .split_once("Failures:")
        .map_or("", |(_, rest)| rest)
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with('×'))
        .collect();
    let passed = text.lines().rev().find(|line| line.contains("passed")).unwrap_or("no summary");
    println!("{passed}");
    assert!(passed.contains("145 tests"), "the whole suite: {text}");
    let unknown: Vec<_> = failures.iter().filter(|line| !KNOWN.iter().any(|(known, _)| line.contains(known))).collect();
    assert!(unknown.is_empty(), "{unknown:#?}\n{text}");
    let mended: Vec<_> = KNOWN.iter().filter(|(known, _)| !failures.iter().any(|line| line.contains(known))).collect();
    assert!(mended.is_empty(), "passes now, take it off the list: {mended:?}");
}
