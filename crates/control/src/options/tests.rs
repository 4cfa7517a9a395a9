//! Durations, and addresses that follow from one another.

use std::time::Duration;

use clap::Parser as _;

use super::{Options, parse_duration};

#[test]
fn durations() {
    for (text, seconds) in [("20s", 20), ("90m", 5400), ("24h", 86400), ("2160h", 7_776_000)] {
        assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for text in ["", "s", "20", "0s", "-1s", "1d", "2161h", "99999999999999999999h", "18446744073709551615h", "1µ"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn addresses_follow_listen() {
    let line =
        ["mizzend", "--config", "c", "--state", "s", "--listen", "10.244.0.1", "--monitoring-address", "[::1]:0"];
    let options = Options::try_parse_from(line).expect("valid");
    assert_eq!(
        (options.xds().to_string(), options.monitoring().to_string()),
        ("10.244.0.1:15012".into(), "[::1]:0".into())
    );
    assert_eq!((options.cert_ttl, options.allow_unenforced), (Duration::from_hours(24), false));
}
