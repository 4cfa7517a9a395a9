//! Many checks on one mesh: starting a mesh takes seconds, so those that do not disturb each other share one.
//!
//! Each check is named and runs to its end, whatever the others do; the suite fails when one has. `MIZZEN_CHECK=TEXT` runs
//! only those whose name contains the text.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use crate::Mesh;

/// A name that says what is shown, and the check.
pub type Check<'a> = (&'a str, &'a dyn Fn(&Mesh));

/// Runs the checks one after the other.
///
/// # Panics
/// At the end, when one of them has.
pub fn check_all(mesh: &Mesh, checks: &[Check<'_>]) {
    let only = std::env::var("MIZZEN_CHECK").unwrap_or_default();
    let mut failed = Vec::new();
    for (name, check) in checks.iter().filter(|(name, _)| name.contains(&only)) {
        let began = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| check(mesh))).is_ok();
        println!("  {} {name} ({:.1} s)", if passed { "ok    " } else { "FAILED" }, began.elapsed().as_secs_f64());
        if !passed {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
}
