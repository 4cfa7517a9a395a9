//! Substitutions of RE2 in the syntax of `Regex::replace_all`.

use super::*;

#[test]
fn substitutions() {
    let cases = [
        (r"/v1/\1", Ok("/v1/${1}")),
        (r"\0x", Ok("${0}x")),
        (r"\10", Ok("${1}0")),
        (r"$1", Ok("$$1")),
        (r"a\\b", Ok(r"a\b")),
        (r"\3", Err(())),
        (r"\x", Err(())),
        (r"a\", Err(())),
    ];
    for (re2, wanted) in cases {
        let made = substitution(re2, 3);
        assert_eq!(made.as_deref().map_err(|_| ()), wanted, "{re2}");
    }
}
