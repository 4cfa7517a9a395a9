//! The HTTP/2 conformance suite h2spec against a listener. It is a Go program, made by `make tools`; without it the test
//! says so and passes.

mod common;

use std::process::Command;

use common::Mesh;

/// Cases that fail, and why that is right. Empty: none does.
const KNOWN: &[(&str, &str)] = &[];

#[test]
fn conformance() {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/bin/h2spec");
    if !std::path::Path::new(tool).exists() {
        println!("h2spec is not installed (make tools): the suite was not run");
        return;
    }
    let mesh = Mesh::start(1);
    let output = Command::new(tool)
        .args(["-h", "127.0.0.1", "-o", "3", "-P", "/h1/echo", "-p", &mesh.port.to_string()])
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
    assert!(passed.contains("146 tests"), "the whole suite: {text}");
    let unknown: Vec<_> = failures.iter().filter(|line| !KNOWN.iter().any(|(known, _)| line.contains(known))).collect();
    assert!(unknown.is_empty(), "{unknown:#?}\n{text}");
    let mended: Vec<_> = KNOWN.iter().filter(|(known, _)| !failures.iter().any(|line| line.contains(known))).collect();
    assert!(mended.is_empty(), "passes now, take it off the list: {mended:?}");
}
