//! Quantiles and verdicts.

use std::time::Duration;

use serde_json::json;

use super::{Began, Fault, Stats, quantile_ms};

#[test]
fn quantiles() {
    let values: Vec<u32> = (1..=1_000).map(|ms| ms * 1_000).collect();
    for (quantile, ms) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0), (0.0, 1.0)] {
        assert_eq!(json!(quantile_ms(&values, quantile)), json!(ms));
    }
    assert_eq!(quantile_ms(&[], 0.5), None);
}

#[test]
fn one_bad_answer_spoils_the_run() {
    let mut stats = Stats::default();
    assert!(!stats.all_good(), "a run that sent nothing shows nothing");
    stats.sent = 2;
    stats.good(Began::now(), 200, Some("v1"));
    stats.bad(Began::now(), Fault::Reset, "reset".to_owned());
    assert!(!stats.all_good());
    let summary = stats.summary(Duration::from_secs(2));
    assert_eq!(summary["resets"], 1);
    assert_eq!(summary["per_peer"], json!({"v1": 1}));
    assert_eq!(summary["per_status"], json!({"200": 1}));
    assert_eq!(summary["failures"][0]["what"], "reset");
    assert_eq!(summary["rps"], 1.0);
}
