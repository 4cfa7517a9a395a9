//! Readings of `/proc`, from texts.

use std::collections::HashMap;

use rustix::process::Pid;

use super::{descendants, stats};
use crate::spec::Stats;

#[test]
fn resources_are_read_whatever_the_program_is_called() {
    let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n";
    let stat = "12 (a b) c) S 1 12 12 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 100 0 0";
    assert_eq!(stats(status, stat, 100), Some(Stats { rss_kb: 1024, rss_peak_kb: 2048, cpu_s: 3.0, threads: 3 }));
    assert_eq!(stats("Threads:\t1\n", stat, 100).map(|stats| stats.rss_kb), Some(0), "a process that is ending");
    assert_eq!(stats(status, "nonsense", 100), None);
}

#[test]
fn descendants_are_found_at_every_depth() {
    let pid = |raw| Pid::from_raw(raw).expect("not 0");
    let parents: HashMap<_, _> =
        [(2, 1), (3, 2), (4, 3), (5, 4), (6, 1), (7, 2)].map(|(child, parent)| (pid(child), pid(parent))).into();
    let mut found: Vec<_> = descendants(&parents, pid(2)).into_iter().map(|pid| pid.as_raw_nonzero().get()).collect();
    found.sort_unstable();
    assert_eq!(found, [3, 4, 5, 7]);
    assert!(descendants(&parents, pid(9)).is_empty());
}
