//! Paths and their normal forms.

use mizzen_snapshot::http_manager::{EscapedSlashes, PathNormalization};

use super::normalised;

fn base() -> PathNormalization {
    PathNormalization { normalize: true, ..PathNormalization::default() }
}

#[test]
fn base_normalisation() {
    let cases = [
        ("/", Some("/")),
        ("/a/./b", Some("/a/b")),
        ("/a/../b", Some("/b")),
        ("/../../a", Some("/a")),
        ("/a/..", Some("/")),
        ("/a/.", Some("/a/")),
        ("/%61dmin", Some("/admin")),
        ("/a%2e%2e/b", Some("/a../b")),
        ("/a/%2e%2e/b", Some("/b")),
        ("/a\\..\\b", Some("/b")),
        ("/a%2Fb", Some("/a%2Fb")),
        ("/a//b", Some("/a//b")),
        ("/a%00", None),
        ("/a%zz", Some("/a%zz")),
        ("/a%", Some("/a%")),
    ];
    for (path, want) in cases {
        assert_eq!(normalised(path, base()).as_deref(), want, "{path}");
    }
}

#[test]
fn slashes() {
    let merge = PathNormalization { merge_slashes: true, ..base() };
    assert_eq!(normalised("///a//b/", merge).as_deref(), Some("/a/b/"));
    let unescape = PathNormalization { escaped_slashes: EscapedSlashes::Unescape, ..merge };
    assert_eq!(normalised("/a%2F%5c..%2fb", unescape).as_deref(), Some("/a/b"), "decoded, then dots, then slashes");
    let reject = PathNormalization { escaped_slashes: EscapedSlashes::Reject, ..base() };
    assert_eq!(normalised("/a%2fb", reject), None);
}

#[test]
fn every_escape_keeps_its_meaning() {
    for byte in 1..=255u8 {
        let path = format!("/x%{byte:02x}y");
        let out = normalised(&path, base()).expect("only %00 is refused");
        let same = out == path || out.as_bytes() == [b"/x", &[byte][..], b"y"].concat();
        assert!(same, "{path} became {out}");
    }
}
