//! Go's syntax of durations.

use std::time::Duration as Span;

use super::Duration;

#[test]
fn texts() {
    let cases = [
        ("0", Some(Span::ZERO)),
        ("0s", Some(Span::ZERO)),
        ("+0", Some(Span::ZERO)),
        ("1s", Some(Span::from_secs(1))),
        ("1.5s", Some(Span::from_millis(1_500))),
        (".5s", Some(Span::from_millis(500))),
        ("1.s", Some(Span::from_secs(1))),
        ("300ms", Some(Span::from_millis(300))),
        ("10us", Some(Span::from_micros(10))),
        ("10µs", Some(Span::from_micros(10))),
        ("7ns", Some(Span::from_nanos(7))),
        ("1h30m", Some(Span::from_mins(90))),
        ("1m1.25s", Some(Span::from_millis(61_250))),
        ("0.000000001s", Some(Span::from_nanos(1))),
        ("0.0000000001s", Some(Span::ZERO)),
        ("0.3333333333333333333h", Some(Span::from_nanos(1_199_999_999_999))),
        ("87660000h", Some(Span::from_hours(87_660_000))),
        ("87660001h", None),
        ("99999999999999999999h", None),
        ("18446744073709551615h", None),
        ("", None),
        ("1", None),
        ("s", None),
        (".s", None),
        ("1.2.3s", None),
        ("-1s", None),
        ("1 s", None),
        ("1d", None),
        ("1sx", None),
        ("1s ", None),
        ("s1", None),
        ("+", None),
    ];
    for (text, expected) in cases {
        assert_eq!(Duration::parse(text).map(Duration::get), expected, "{text:?}");
    }
}
