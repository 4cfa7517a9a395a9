//! Both spellings, and each way to misspell.

use super::{hex, parse, parse_hex, show};

#[test]
fn escapes() {
    for (text, bytes) in [
        ("", &b""[..]),
        ("GET / HTTP/1.1\\r\\n\\r\\n", b"GET / HTTP/1.1\r\n\r\n"),
        ("\\x00\\xff\\t\\\\", b"\x00\xff\t\\"),
        ("é", "é".as_bytes()),
    ] {
        assert_eq!(parse(text).expect(text), bytes);
        assert_eq!(parse(&show(bytes)).expect(text), bytes);
        assert_eq!(parse_hex(&hex(bytes)).expect(text), bytes);
    }
    for text in ["\\", "\\q", "\\x", "\\x0", "\\xzz"] {
        assert!(parse(text).is_err(), "{text}");
    }
    for text in ["0", "0g", "0d0"] {
        assert!(parse_hex(text).is_err(), "{text}");
    }
}
