//! Shares and smoothness of the schedule.

use super::*;

fn picks(weights: &[u32], count: usize) -> Vec<usize> {
    let mut schedule = Schedule::new(weights.iter().copied().enumerate(), 0);
    (0..count).map(|_| schedule.pick(|_| 1).expect("there are hosts")).collect()
}

#[test]
fn a_round_has_each_host_as_often_as_its_weight() {
    for weights in [&[1, 2, 3][..], &[5, 1, 1], &[100, 1], &[7, 11, 13, 17]] {
        let round: u32 = weights.iter().sum();
        let picked = picks(weights, round as usize * 3);
        for (host, weight) in weights.iter().enumerate() {
            let count = picked.iter().filter(|picked| **picked == host).count();
            assert!(count.abs_diff(*weight as usize * 3) <= 1, "{weights:?}: host {host} was picked {count} times");
        }
    }
}

#[test]
fn picks_of_one_host_are_spread() {
    assert_eq!(picks(&[2, 1, 1], 9), [0, 1, 2, 0, 0, 1, 2, 0, 0]);
    assert_eq!(picks(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
    // At any moment a host is within two picks of its share.
    let weights = [9, 3, 2, 1];
    let mut counts = [0_u32; 4];
    for (n, host) in picks(&weights, 1500).into_iter().enumerate() {
        counts[host] += 1;
        for (host, weight) in weights.iter().enumerate() {
            let share = (n as f64 + 1.0) * f64::from(*weight) / 15.0;
            assert!((f64::from(counts[host]) - share).abs() < 2.0, "after {n}: {counts:?}");
        }
    }
}

#[test]
fn cost_delays_and_skip_moves_the_start() {
    let mut schedule = Schedule::new([(0, 1), (1, 1)].into_iter(), 1);
    assert_eq!(schedule.pick(|_| 3), Some(1));
    let next: Vec<_> = (0..3).filter_map(|_| schedule.pick(|_| 1)).collect();
    assert_eq!(next, [0, 0, 1]);
    assert_eq!(Schedule::new(std::iter::empty(), 0).pick(|_| 1), None);
}
