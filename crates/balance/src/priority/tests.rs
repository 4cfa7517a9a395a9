//! Loads of priorities, as a table.

use super::*;

fn hosts(levels: &[(u32, usize, usize)]) -> Vec<Host> {
    let level = |(priority, healthy, total): &(u32, usize, usize)| {
        let (priority, healthy) = (*priority, *healthy);
        (0..*total).map(move |n| Host { weight: 1, healthy: n < healthy, priority })
    };
    levels.iter().flat_map(level).collect()
}

/// Priority, healthy hosts, all hosts.
type Levels = &'static [(u32, usize, usize)];
/// Priority and percentage.
type Loads = &'static [(u32, u32)];

#[test]
fn loads_by_health() {
    let cases: [(Levels, Loads); 12] = [
        (&[], &[]),
        (&[(0, 0, 3)], &[]),
        (&[(0, 1, 1)], &[(0, 100)]),
        (&[(0, 1, 1000)], &[(0, 100)]),
        // Half of the first priority keeps 70 % (Envoy's example).
        (&[(0, 5, 10), (1, 10, 10)], &[(0, 70), (1, 30)]),
        (&[(0, 72, 100), (1, 10, 10)], &[(0, 100)]),
        (&[(0, 0, 10), (1, 10, 10)], &[(1, 100)]),
        (&[(0, 25, 100), (1, 25, 100)], &[(0, 50), (1, 50)]),
        (&[(0, 5, 100), (1, 0, 10), (2, 10, 100)], &[(0, 34), (2, 66)]),
        (&[(0, 25, 100), (1, 50, 100), (2, 100, 100)], &[(0, 35), (1, 65)]),
        // A gap in the numbers is no level.
        (&[(3, 1, 1), (7, 1, 1)], &[(3, 100)]),
        // Priorities may come in any order.
        (&[(1, 10, 10), (0, 5, 10)], &[(0, 70), (1, 30)]),
    ];
    for (levels, wanted) in cases {
        assert_eq!(loads(&hosts(levels)), wanted, "{levels:?}");
    }
}
