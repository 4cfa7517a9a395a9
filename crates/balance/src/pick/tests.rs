//! Who is picked, how often: exact where it is exact, else within 5 σ of a seeded run.

use super::*;

/// xorshift64*.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

fn hosts(weights: &[u32]) -> Vec<Host> {
    weights.iter().map(|weight| Host { weight: *weight, healthy: true, priority: 0 }).collect()
}

fn count(picker: &mut Picker, hosts: usize, picks: u32) -> Vec<u32> {
    let mut random = random(7);
    let mut counts = vec![0; hosts];
    for _ in 0..picks {
        counts[picker.pick(|_| 0, |_| false, 0, &mut random).expect("a healthy host")] += 1;
    }
    counts
}

/// Each count is within 5 σ of a binomial of its share.
fn assert_shares(counts: &[u32], shares: &[f64]) {
    let total: f64 = counts.iter().copied().map(f64::from).sum();
    for (count, share) in counts.iter().zip(shares) {
        let sigma = (total * share * (1.0 - share)).sqrt();
        let off = (f64::from(*count) - total * share).abs();
        assert!(off <= 5.0 * sigma + 1e-9, "{counts:?} for {shares:?}: {off} is more than 5 × {sigma}");
    }
}

#[test]
fn nobody_is_picked_where_nobody_is_healthy() {
    let sick = Host { weight: 1, healthy: false, priority: 0 };
    for policy in [Policy::RoundRobin, Policy::LeastRequest, Policy::Random] {
        for hosts in [&[][..], &[sick; 3]] {
            let mut picker = Picker::new(policy, hosts, 1);
            assert_eq!(picker.pick(|_| 0, |_| false, 5, &mut random(1)), None);
        }
    }
}

#[test]
fn the_sick_are_passed_over() {
    let mut hosts = hosts(&[1, 1, 2, 2]);
    hosts[1].healthy = false;
    hosts[2].healthy = false;
    for policy in [Policy::RoundRobin, Policy::LeastRequest, Policy::Random] {
        let counts = count(&mut Picker::new(policy, &hosts, 0), 4, 300);
        assert_eq!((counts[1], counts[2]), (0, 0), "{policy:?}");
        assert!(counts[0] > 0 && counts[3] > counts[0], "{policy:?}: {counts:?}");
    }
}

#[test]
fn round_robin_rotates_from_its_start() {
    let third = u64::MAX / 3 + 1;
    for (start, wanted) in [(0, [0, 1, 2, 0]), (third, [1, 2, 0, 1]), (u64::MAX, [2, 0, 1, 2])] {
        let mut picker = Picker::new(Policy::RoundRobin, &hosts(&[4, 4, 4]), start);
        let picked = [(); 4].map(|()| picker.pick(|_| 0, |_| false, 0, &mut || 0));
        assert_eq!(picked, wanted.map(Some));
    }
    assert_eq!(count(&mut Picker::new(Policy::RoundRobin, &hosts(&[1, 2, 3]), 0), 3, 600), [100, 200, 300]);
}

#[test]
fn random_keeps_to_the_weights() {
    let counts = count(&mut Picker::new(Policy::Random, &hosts(&[1, 1, 1, 1]), 0), 4, 100_000);
    assert_shares(&counts, &[0.25; 4]);
    let counts = count(&mut Picker::new(Policy::Random, &hosts(&[1, 2, 0, 5]), 0), 4, 100_000);
    // A weight of 0 counts as 1.
    assert_shares(&counts, &[1.0 / 9.0, 2.0 / 9.0, 1.0 / 9.0, 5.0 / 9.0]);
}

#[test]
fn least_request_takes_the_less_busy_of_two() {
    let mut random = random(3);
    let mut two = Picker::new(Policy::LeastRequest, &hosts(&[1, 1]), 0);
    for _ in 0..1000 {
        assert_eq!(two.pick(|host| [5, 4][host], |_| false, 0, &mut random), Some(1));
    }
    // Of n hosts the one with rank r (0 is the busiest) wins r of the n·(n−1)/2 pairs.
    let mut four = Picker::new(Policy::LeastRequest, &hosts(&[1; 4]), 0);
    let mut counts = [0; 4];
    for _ in 0..100_000 {
        counts[four.pick(|host| 3 - host as u32, |_| false, 0, &mut random).expect("a healthy host")] += 1;
    }
    assert_shares(&counts, &[0.0, 1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0]);
    // Equally busy hosts get equal shares.
    let counts = count(&mut Picker::new(Policy::LeastRequest, &hosts(&[3; 5]), 0), 5, 100_000);
    assert_shares(&counts, &[0.2; 5]);
}

#[test]
fn least_request_weighs_what_is_under_way() {
    // Nothing under way: in proportion to the weights.
    let counts = count(&mut Picker::new(Policy::LeastRequest, &hosts(&[1, 3]), 0), 2, 4000);
    assert!(counts[0].abs_diff(1000) <= 1, "{counts:?}");
    // 3 / (2 + 1) = 1 / (0 + 1)
    let mut picker = Picker::new(Policy::LeastRequest, &hosts(&[1, 3]), 0);
    let mut counts = [0_u32; 2];
    for _ in 0..4000 {
        counts[picker.pick(|host| [0, 2][host], |_| false, 0, &mut || 0).expect("a healthy host")] += 1;
    }
    assert!(counts[0].abs_diff(2000) <= 2, "{counts:?}");
}

#[test]
fn a_priority_gets_its_load() {
    let mut hosts = hosts(&[1; 4]);
    hosts[1].healthy = false;
    hosts[2].priority = 1;
    hosts[3].priority = 1;
    for policy in [Policy::RoundRobin, Policy::LeastRequest, Policy::Random] {
        let counts = count(&mut Picker::new(policy, &hosts, 0), 4, 100_000);
        assert_shares(&[counts[0], counts[1], counts[2] + counts[3]], &[0.7, 0.0, 0.3]);
    }
}

#[test]
fn hosts_already_tried_are_avoided_while_attempts_last() {
    let mut random = random(5);
    for policy in [Policy::RoundRobin, Policy::LeastRequest, Policy::Random] {
        let mut picker = Picker::new(policy, &hosts(&[1, 1, 1]), 0);
        for _ in 0..1000 {
            let picked = picker.pick(|_| 0, |host| host != 1, 200, &mut random);
            assert_eq!(picked, Some(1), "{policy:?}");
            assert!(picker.pick(|_| 0, |_| true, 3, &mut random).is_some(), "{policy:?}: the last one is used");
        }
    }
}
