//! What counts as code.

use super::*;

#[test]
fn comments_and_literals_become_blanks() {
    let cases = [
        ("a // b\nc", "a     \nc"),
        ("a /* x /* y */ z */ b", "a                   b"),
        (r#"f("}\"{") + 1"#, "f(      ) + 1"),
        ("r#\"a\"b\"# c", "         c"),
        ("r#type", "r#type"),
        ("br\"x\\\" y", "       y"),
        ("'{' 'a: x", "    'a: x"),
        ("'\\'' z", "     z"),
        ("'ä' z", "     z"),
        ("for_str\"s\"", "for_str   "),
    ];
    for (source, want) in cases {
        assert_eq!(code_only(source), want, "{source}");
    }
}

#[test]
fn words_stand_alone() {
    assert_eq!(words("unsafe unsafely un_unsafe unsafe{", "unsafe").collect::<Vec<_>>(), [0, 26]);
}
