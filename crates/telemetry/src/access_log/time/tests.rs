//! Dates around leap days and centuries, and the supported conversions.

use std::time::{Duration, UNIX_EPOCH};

use super::TimeFormat;

fn format(format: &str, seconds: u64, nanos: u32) -> String {
    let mut out = Vec::new();
    let compiled = TimeFormat::compile(format).expect("a supported format");
    compiled.write(UNIX_EPOCH + Duration::new(seconds, nanos), &mut out);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn known_dates() {
    for (seconds, expected) in [
        (0, "1970-01-01 001 Thu"),
        (951_782_399, "2000-02-28 059 Mon"),
        (951_782_400, "2000-02-29 060 Tue"),
        (951_868_800, "2000-03-01 061 Wed"),
        (978_220_800, "2000-12-31 366 Sun"),
        (1_709_164_800, "2024-02-29 060 Thu"),
        (1_740_700_800, "2025-02-28 059 Fri"),
        (1_740_787_200, "2025-03-01 060 Sat"),
        (4_107_542_400, "2100-03-01 060 Mon"),
        (253_402_300_799, "9999-12-31 365 Fri"),
    ] {
        assert_eq!(format("%F %j %a", seconds, 0), expected, "{seconds}");
    }
}

#[test]
fn conversions() {
    let (seconds, nanos) = (1_481_818_059, 7_008_009);
    for (spelled, expected) in [
        ("", "2016-12-15T16:07:39.007Z"),
        ("%Y/%m/%dT%H:%M:%S%z %s", "2016/12/15T16:07:39+0000 1481818059"),
        ("%s.%3f", "1481818059.007"),
        ("%s.%6f", "1481818059.007008"),
        ("%s.%9f|%f", "1481818059.007008009|007008009"),
        ("%T %R %E6S %Ez", "16:07:39 16:07 39.007008 +00:00"),
        ("%e %b %h %B %A %Z %%", "15 Dec Dec December Thursday UTC %"),
        ("plain", "plain"),
    ] {
        assert_eq!(format(spelled, seconds, nanos), expected, "{spelled}");
    }
}

#[test]
fn before_the_epoch_is_the_epoch() {
    let mut out = Vec::new();
    TimeFormat::compile("%F").expect("supported").write(UNIX_EPOCH - Duration::from_secs(5), &mut out);
    assert_eq!(out, b"1970-01-01");
}

#[test]
fn unknown_conversions_are_named() {
    for (spelled, named) in [("%Q", "%Q"), ("%", "%"), ("%5", "%5"), ("%E0S", "%E"), ("%é", "%é")] {
        assert_eq!(TimeFormat::compile(spelled), Err(named.to_owned()), "{spelled}");
    }
}
