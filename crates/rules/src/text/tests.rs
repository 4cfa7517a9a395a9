//! String conditions, as a table.

use super::*;

#[test]
fn conditions() {
    let regex = |pattern| TextMatch::regex(pattern).expect("a valid pattern");
    let exact = |value: &str, ignore_case| TextMatch::Exact { value: value.into(), ignore_case };
    let prefix = |value: &str, ignore_case| TextMatch::Prefix { value: value.into(), ignore_case };
    let suffix = |value: &str, ignore_case| TextMatch::Suffix { value: value.into(), ignore_case };
    let contains = |value: &str, ignore_case| TextMatch::Contains { value: value.into(), ignore_case };
    let cases: [(TextMatch, &[u8], bool); 26] = [
        (exact("v1", false), b"v1", true),
        (exact("v1", false), b"V1", false),
        (exact("v1", true), b"V1", true),
        (exact("v1", true), b"v12", false),
        (exact("", false), b"", true),
        (prefix("ab", false), b"abc", true),
        (prefix("ab", false), b"a", false),
        (prefix("ab", false), b"Abc", false),
        (prefix("ab", true), b"ABC", true),
        (suffix("bc", false), b"abc", true),
        (suffix("bc", false), b"c", false),
        (suffix("bc", true), b"aBC", true),
        (contains("b", false), b"abc", true),
        (contains("B", false), b"abc", false),
        (contains("B", true), b"abc", true),
        (contains("", false), b"", true),
        (contains("abcd", false), b"abc", false),
        (regex("v[0-9]+"), b"v12", true),
        (regex("v[0-9]+"), b"v12x", false),
        (regex("v[0-9]+"), b"xv12", false),
        (regex("a|b"), b"ab", false),
        (regex("a|b"), b"b", true),
        (regex("a$"), b"a\n", false),
        (regex("(?i)abc"), b"ABC", true),
        (regex(".*"), b"\xff", false),
        (prefix("a", false), b"a\xff", true),
    ];
    for (condition, value, wanted) in cases {
        assert_eq!(condition.matches(value), wanted, "{condition:?} on {:?}", value.escape_ascii().to_string());
    }
}

#[test]
fn a_pattern_is_valid_by_itself_and_small() {
    for pattern in ["(", "a)|(b", "a{1000}{1000}{1000}", "(?=a)"] {
        let error = TextMatch::regex(pattern).expect_err("a pattern that must be refused");
        assert_eq!(&*error.pattern, pattern);
    }
}
