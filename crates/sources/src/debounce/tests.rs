//! Instants in, looks out.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{Debounce, Look, Writing};

/// Events as `(ms, path, writing)`; the look comes at `due` ms.
fn check(events: &[(u64, &str, Writing)], due: u64) {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut debounce = Debounce::default();
    for (ms, path, writing) in events {
        assert_eq!(debounce.take(at(*ms)), None, "nothing is due before {events:?} are all in");
        debounce.event(at(*ms), Path::new(path), *writing);
    }
    assert_eq!(debounce.due(), Some(at(due)), "{events:?}");
    assert_eq!(debounce.take(at(due - 1)), None);
    let paths = events.iter().map(|(_, path, _)| (*path).into()).collect();
    assert_eq!(debounce.take(at(due)), Some(Look::At(paths)));
    assert_eq!((debounce.due(), debounce.take(at(due + 1_000))), (None, None), "a look forgets");
}

#[test]
fn ten_quiet_milliseconds_or_a_hundred() {
    use Writing::{Done, Going, Other};
    check(&[(0, "a", Other)], 10);
    check(&[(0, "a", Other), (9, "b", Other)], 19);
    check(&[(0, "a", Done), (5, "a", Done)], 15);
    let many: Vec<_> = (0..12).map(|n| (n * 9, "a", Other)).collect();
    check(&many, 100);
    check(&[(0, "a", Going)], 100);
    check(&[(0, "a", Going), (30, "a", Going)], 100);
    check(&[(0, "a", Going), (40, "a", Done)], 50);
    check(&[(0, "a", Going), (40, "b", Done)], 100);
    check(&[(0, "a", Going), (20, "a", Other)], 30);
    check(&[(0, "a", Done), (95, "a", Done)].map(|(ms, path, writing)| (ms / 10, path, writing)), 19);
}

#[test]
fn lost_events_mean_everywhere() {
    let start = Instant::now();
    let mut debounce = Debounce::default();
    debounce.event(start, Path::new("a"), Writing::Other);
    debounce.lost(start + Duration::from_millis(3));
    assert_eq!(debounce.take(start + Duration::from_millis(13)), Some(Look::Everywhere));
    assert_eq!(debounce.due(), None);
}
