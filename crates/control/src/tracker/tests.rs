//! From an edit to the last ACK, with clients that come, go and refuse.

use std::time::{Duration, Instant};

use mizzen_xds::Kind;
use mizzen_xds::server::Nack;

use super::{ClientId, Progress, Published, Tracker};

struct Bench {
    tracker: Tracker,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { tracker: Tracker::default(), start: Instant::now() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn join(&mut self, node: &str) -> ClientId {
        self.tracker.join(node.to_owned(), "ns".into())
    }

    fn edit(&mut self, generation: u64, ms: u64) {
        let published =
            Published { generation, files: vec!["a.yaml".into()], objects: vec!["VirtualService/ns/a".to_owned()] };
        let at = self.at(ms);
        self.tracker.publish(published, at, at);
    }

    fn applied(&mut self, id: ClientId, generation: u64, ms: u64) {
        let at = self.at(ms);
        self.tracker.applied(id, generation, at);
    }

    fn progress(&self, generation: u64) -> Option<(usize, usize, Option<f64>)> {
        self.tracker.progress(generation).map(|Progress { applied, total, ms, .. }| (applied, total, ms))
    }
}

#[test]
fn from_edit_to_last_ack() {
    let mut bench = Bench::new();
    let (a, b) = (bench.join("a"), bench.join("b"));
    bench.edit(1, 100);
    assert_eq!((bench.progress(1), bench.progress(2)), (Some((0, 2, None)), None));
    bench.applied(a, 1, 110);
    assert_eq!((bench.progress(1), bench.tracker.changes_since(0).1.len()), (Some((1, 2, None)), 0));
    bench.applied(b, 1, 121);
    assert_eq!(bench.progress(1), Some((2, 2, Some(21.0))));
    assert_eq!(bench.tracker.convergence_ms().collect::<Vec<_>>(), [21.0]);
    let (seq, changes) = bench.tracker.changes_since(0);
    assert_eq!((seq, changes[0].applied, changes[0].total, changes[0].ms), (1, 2, 2, Some(21.0)));
    assert!(bench.tracker.changes_since(1).1.is_empty());
}

#[test]
fn a_later_generation_brings_the_earlier_ones() {
    let mut bench = Bench::new();
    let a = bench.join("a");
    bench.edit(3, 0);
    bench.edit(5, 10);
    bench.applied(a, 5, 30);
    // 4 was skipped: whoever has 5 has it.
    assert_eq!((bench.progress(3), bench.progress(4)), (Some((1, 1, Some(30.0))), Some((1, 1, Some(20.0)))));
}

#[test]
fn who_leaves_is_not_waited_for_and_who_comes_is_not_counted() {
    let mut bench = Bench::new();
    let (a, b) = (bench.join("a"), bench.join("b"));
    bench.edit(1, 0);
    bench.join("late");
    bench.applied(a, 1, 5);
    let at = bench.at(7);
    bench.tracker.leave(b, at);
    assert_eq!(bench.progress(1), Some((1, 1, Some(7.0))));
    let shown = |bench: &Bench| {
        bench.tracker.clients().map(|client| (client.node.clone(), client.connected)).collect::<Vec<_>>()
    };
    assert_eq!(shown(&bench), [("a".into(), true), ("late".into(), true), ("b".into(), false)]);
    bench.join("b");
    assert_eq!(shown(&bench).last(), Some(&("b".into(), true)));
    let at = bench.at(70_000);
    bench.tracker.tick(at);
    assert_eq!((shown(&bench).len(), bench.tracker.connected()), (3, 3));
}

#[test]
fn a_refusal_is_told_late_and_shown_until_it_is_mended() {
    let mut bench = Bench::new();
    let a = bench.join("a");
    bench.edit(1, 0);
    let nack = Nack { kind: Kind::Listener, message: "no such filter".to_owned(), resources: Vec::new() };
    bench.tracker.refused(a, &nack);
    let error = |bench: &Bench| bench.tracker.clients().next().and_then(|client| client.last_error.clone());
    assert_eq!(error(&bench).as_deref(), Some("LDS: no such filter"));
    for (ms, told) in [(1999, 0), (2001, 1), (9000, 1)] {
        let at = bench.at(ms);
        bench.tracker.tick(at);
        assert_eq!(bench.tracker.changes_since(0).1.len(), told);
    }
    let change = bench.tracker.last_change().expect("one");
    assert_eq!((change.applied, change.total, change.ms), (0, 1, None));
    bench.edit(2, 9000);
    bench.applied(a, 2, 9010);
    assert_eq!((error(&bench), bench.tracker.changes_since(1).1.len()), (None, 1));
}

#[test]
fn nobody_is_there() {
    let mut bench = Bench::new();
    bench.edit(1, 0);
    assert_eq!((bench.progress(1), bench.tracker.convergence_ms().count()), (Some((0, 0, Some(0.0))), 0));
}
