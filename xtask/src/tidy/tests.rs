//! Every rule of the gate rejects its fixture, and says where.

use std::path::PathBuf;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tidy").join(name)
}

/// `file:line` of each complaint, and a word of its message.
fn check_fixture(name: &str, wanted: &[(&str, usize, &str)]) {
    let complaints = check_tree(&fixture(name)).expect("a fixture can be read");
    let seen: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    assert_eq!(complaints.len(), wanted.len(), "{name}: {seen:#?}");
    for (complaint, (file, line, word)) in complaints.iter().zip(wanted) {
        assert_eq!((complaint.file.as_str(), complaint.line), (*file, *line), "{name}: {seen:#?}");
        assert!(complaint.message.contains(word), "{name}: `{word}` in {seen:#?}");
    }
}

#[test]
fn every_rule_rejects_its_fixture() {
    check_fixture("header", &[("src/main.rs", 1, "opens with")]);
    check_fixture("file_size", &[("src/lib.rs", 0, "601 lines")]);
    check_fixture("function_size", &[("src/lib.rs", 3, "72 lines")]);
    check_fixture(
        "ratchet",
        &[
            ("xtask/ratchet.txt", 2, "lower its figure to 72"),
            ("xtask/ratchet.txt", 3, "drop the line"),
            ("xtask/ratchet.txt", 4, "expected `LINES ITEM REASON`"),
        ],
    );
    check_fixture(
        "ignored",
        &[("src/tests.rs", 4, "ignore"), ("src/tests.rs", 8, "should_panic"), ("src/tests.rs", 10, "todo!")],
    );
    check_fixture("sleep", &[("tests/wait.rs", 7, "fixed sleep")]);
    check_fixture("safety", &[("src/lib.rs", 6, "SAFETY")]);
    check_fixture("links", &[("README.md", 4, "no such file"), ("README.md", 5, "no such heading")]);
    check_fixture("paths", &[("notes.txt", 1, "one machine only")]);
}

#[test]
fn a_dependency_has_a_reason_and_a_reason_a_dependency() {
    let metadata = Metadata::parse(
        r#"{"packages":[{"name":"p","manifest_path":"/r/p/Cargo.toml","dependencies":[
            {"name":"known","kind":null},{"name":"silent","kind":null},{"name":"new","kind":"dev"},{"name":"q","path":"/r/q"}]}]}"#,
    )
    .expect("well-formed");
    let complaints: Vec<String> =
        reasons::check(&fixture("reasons"), &metadata).iter().map(ToString::to_string).collect();
    let wanted = ["no line of reason for `new`", "no line of reason for `silent`", "`unused` is no longer used"];
    assert_eq!(complaints, wanted.map(|message| format!("docs/dependencies.md: {message}")));
}
